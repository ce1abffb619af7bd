//! What a crash may leave of files whose blocks are overwritten in place: an oracle that knows every
//! content that each block had since the checkpoint.
//!
//! Names, attributes and sizes are the checkpoint's. A block that the checkpoint has is as it was then, or
//! as it was at any time since, up to the file's size then. As soon as a file was cut before a
//! block, the block's place is no longer its own, and later contents went elsewhere; so they may if it was
//! cut within the block. What is elsewhere when the machine stops is nobody's: so a block that is lost is
//! looked for only where its contents as of the checkpoint have been ([`is_in_place`]).

use std::{collections::BTreeMap, rc::Rc};

use storage::{
    Error,
    block::{
        SECTOR_BYTES,
        ram::{Event, History, RamDisk},
    },
    buffer::{Sink, Source},
    vfs::{FileSystem, OpenFlags},
};

use crate::model::{Body, Model};

const BLOCK: usize = 4096;

/// The contents of all blocks since a checkpoint.
#[derive(Clone)]
pub struct Overwrites {
    files: BTreeMap<u64, File>,
}

#[derive(Clone)]
struct File {
    last: Rc<Vec<u8>>,
    /// Blocks that were never cut off.
    blocks: usize,
    /// By block, each content that it had.
    versions: BTreeMap<usize, Vec<Rc<Vec<u8>>>>,
}

/// A block of a file, zeros behind its end.
fn block(bytes: &[u8], index: usize) -> Vec<u8> {
    let start = (index * BLOCK).min(bytes.len());
    let mut block = bytes[start..(start + BLOCK).min(bytes.len())].to_vec();
    block.resize(BLOCK, 0);
    block
}

impl Overwrites {
    /// Nothing is overwritten yet.
    #[must_use]
    pub fn since(checkpoint: &Model) -> Self {
        let file = |(node, bytes): (u64, &Rc<Vec<u8>>)| {
            let file = File {
                last: bytes.clone(),
                blocks: bytes.len().div_ceil(BLOCK),
                versions: BTreeMap::new(),
            };
            (node, file)
        };
        Self {
            files: checkpoint.files().map(file).collect(),
        }
    }

    /// Takes in what one operation has changed.
    pub fn note(&mut self, now: &Model) {
        let now: BTreeMap<u64, &Rc<Vec<u8>>> = now.files().collect();
        for (node, file) in &mut self.files {
            // Of a file that was deleted since, the checkpoint has what was overwritten before.
            let Some(&bytes) = now.get(node) else {
                continue;
            };
            if Rc::ptr_eq(bytes, &file.last) {
                continue;
            }
            file.blocks = file.blocks.min(bytes.len().div_ceil(BLOCK));
            for index in 0..file.blocks {
                let content = block(bytes, index);
                if content != block(&file.last, index) {
                    let versions = file.versions.entry(index).or_default();
                    versions.push(Rc::new(content));
                }
            }
            file.last = bytes.clone();
        }
    }

    /// Compares the files of a system that came back from a crash with what may be in them, and makes
    /// the model, which is the checkpoint's, what they are. A block may be lost if `is_there`, which is given
    /// its contents as of the checkpoint and since, says of none of these that a disk has it whole; it is
    /// written anew on both. Returns how many blocks were newer than the checkpoint, and how many lost.
    pub async fn settle<F: FileSystem>(
        &self,
        system: &F,
        model: &mut Model,
        is_there: impl Fn(&[u8], &[u8]) -> bool,
        what: &str,
    ) -> (u64, u64) {
        let (mut newer, mut lost) = (0, 0);
        for (path, node) in model.paths() {
            let Body::File(bytes) = model.node(node).body.clone() else {
                continue;
            };
            let at = format!("{what}: {}", path.escape_ascii());
            let descriptor = system.open(&path, OpenFlags::READ, 0).await;
            let descriptor = descriptor.unwrap_or_else(|error| panic!("{at}: {error}"));
            let mut found = (*bytes).clone();
            for (index, part) in found.chunks_mut(BLOCK).enumerate() {
                let as_before = part.to_vec();
                let offset = (index * BLOCK) as u64;
                let mut bytes = vec![0xee; part.len()];
                let read = system
                    .read(descriptor, Some(offset), Sink::local(&mut bytes))
                    .await;
                let overwritten = self.files.get(&node).and_then(|it| it.versions.get(&index));
                match read {
                    Ok(len) => assert_eq!(len, part.len(), "{at}, block {index}"),
                    Err(Error::Corrupt) => {
                        let before = block(&as_before, 0);
                        let whole = is_there(&before, &before)
                            || overwritten
                                .is_none_or(|all| all.iter().any(|it| is_there(&before, it)));
                        assert!(!whole, "{at}, block {index}: lost, though a disk has it");
                        write_anew(system, model, &path, offset, &as_before).await;
                        lost += 1;
                        continue;
                    }
                    Err(error) => panic!("{at}, block {index}: {error}"),
                }
                if bytes != as_before {
                    let allowed = overwritten.is_some_and(|versions| {
                        versions.iter().any(|it| it[..bytes.len()] == bytes[..])
                    });
                    assert!(allowed, "{at}, block {index}: contents it never had");
                    newer += 1;
                    part.copy_from_slice(&bytes);
                }
            }
            system.close(descriptor).await.unwrap();
            model.replace_contents(node, found);
        }
        (newer, lost)
    }
}

/// Whether a disk holds `block` in a place that held `before` at some time of its history.
#[must_use]
pub fn is_in_place(disk: &RamDisk, history: &History, before: &[u8], block: &[u8]) -> bool {
    const SECTORS: u64 = (BLOCK / SECTOR_BYTES) as u64;
    let holds = |sector: u64| disk.peek(sector, BLOCK) == block;
    let at_first = history.crash(0, |_, _| false);
    let mut places = (0..disk.sectors()).step_by(SECTORS as usize);
    places.any(|at| at_first.peek(at, BLOCK) == before && holds(at))
        || history.events().iter().any(|event| {
            let Event::Write { sector, data } = event else {
                return false;
            };
            let places = (*sector..).step_by(SECTORS as usize);
            let mut blocks = places.zip(data.chunks_exact(BLOCK));
            blocks.any(|(at, written)| written == before && holds(at))
        })
}

/// Writes to a file of both, so that they agree about its times, too.
async fn write_anew<F: FileSystem>(
    system: &F,
    model: &mut Model,
    path: &[u8],
    offset: u64,
    data: &[u8],
) {
    let descriptor = system.open(path, OpenFlags::WRITE, 0).await.unwrap();
    let write = system.write(descriptor, Some(offset), Source::local(data));
    assert_eq!(write.await, Ok(data.len()));
    system.close(descriptor).await.unwrap();
    let handle = model.open(path, OpenFlags::WRITE, 0).unwrap();
    model.write(handle, Some(offset), data).unwrap();
    model.close(handle);
}
