//! The calls that workloads are made of, on a small tree with a few names.
//!
//! ```text
//!   /a      9,000 bytes: three blocks          /c      not there
//!   /d/b    3,000 bytes: one                   /d/c    not there
//!   /e      an empty directory                 /d/f    not there, a directory if made
//! ```

use std::fmt;

use storage::{
    Result,
    buffer::Source,
    vfs::{Descriptor, FileSystem, OpenFlags},
};
use tests::{model::Model, random::Random};

/// A call that changes state, or makes it durable. Paths are without the leading slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Makes an empty file.
    Create(&'static str),
    /// Makes a file of 5,000 bytes.
    Write(&'static str),
    /// Writes over the middle half of a file.
    Overwrite(&'static str),
    /// Writes 3,000 bytes at its end.
    Append(&'static str),
    /// Cuts it to half its length.
    Halve(&'static str),
    /// Cuts it to nothing.
    Empty(&'static str),
    /// Renames, over what is there.
    Rename(&'static str, &'static str),
    /// Gives it another name.
    Link(&'static str, &'static str),
    /// Removes a name.
    Unlink(&'static str),
    /// Makes a directory.
    Mkdir(&'static str),
    /// Removes one.
    Rmdir(&'static str),
    /// `sync`.
    Sync,
    /// `fsync`.
    Fsync(&'static str),
}

use Call::{
    Append, Create, Empty, Fsync, Halve, Link, Mkdir, Overwrite, Rename, Rmdir, Sync, Unlink, Write,
};

/// All calls of workloads.
pub const CALLS: [Call; 31] = [
    Create("c"),
    Create("d/c"),
    Write("c"),
    Write("d/c"),
    Overwrite("a"),
    Overwrite("d/b"),
    Append("a"),
    Append("d/b"),
    Append("c"),
    Halve("a"),
    Empty("a"),
    Empty("d/b"),
    Rename("a", "c"),
    Rename("a", "d/b"),
    Rename("d/b", "a"),
    Rename("d/b", "d/c"),
    Rename("c", "a"),
    Rename("d", "e"),
    Rename("e", "d/f"),
    Link("a", "c"),
    Link("a", "d/c"),
    Link("d/b", "c"),
    Unlink("a"),
    Unlink("d/b"),
    Unlink("c"),
    Mkdir("d/f"),
    Rmdir("e"),
    Rmdir("d/f"),
    Sync,
    Fsync("a"),
    Fsync("d/b"),
];

/// What makes the tree: file or directory, and how many bytes.
const TREE: [(&str, Option<usize>); 4] = [
    ("a", Some(9000)),
    ("d", None),
    ("d/b", Some(3000)),
    ("e", None),
];

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Create(path) => write!(f, "create:{path}"),
            Write(path) => write!(f, "write:{path}"),
            Overwrite(path) => write!(f, "overwrite:{path}"),
            Append(path) => write!(f, "append:{path}"),
            Halve(path) => write!(f, "halve:{path}"),
            Empty(path) => write!(f, "empty:{path}"),
            Rename(from, to) => write!(f, "rename:{from}:{to}"),
            Link(from, to) => write!(f, "link:{from}:{to}"),
            Unlink(path) => write!(f, "unlink:{path}"),
            Mkdir(path) => write!(f, "mkdir:{path}"),
            Rmdir(path) => write!(f, "rmdir:{path}"),
            Sync => f.write_str("sync"),
            Fsync(path) => write!(f, "fsync:{path}"),
        }
    }
}

/// So many bytes that no other call writes; `salt` tells calls apart.
fn contents(salt: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(salt);
    let words = std::iter::repeat_with(|| random.number().to_le_bytes());
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

const WRITE: OpenFlags = OpenFlags::WRITE;
const NEW: OpenFlags = WRITE.union(OpenFlags::CREATE).union(OpenFlags::EXCLUSIVE);
const APPEND: OpenFlags = WRITE.union(OpenFlags::APPEND);

/// What a call does to an open file.
enum Deed {
    Nothing,
    Write { offset: Option<u64>, len: usize },
    Cut(usize),
}

impl Call {
    /// Whether it makes everything before it durable.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Sync | Fsync(_))
    }

    /// As opening a file and doing something to it; `size` is how long the file is.
    fn deed(self, size: usize) -> Option<(&'static str, OpenFlags, Deed)> {
        let write = |offset, len| Deed::Write { offset, len };
        Some(match self {
            Create(path) => (path, NEW, Deed::Nothing),
            Write(path) => (path, NEW, write(None, 5000)),
            Overwrite(path) => (path, WRITE, write(Some(size as u64 / 4), size / 2)),
            Append(path) => (path, APPEND, write(None, 3000)),
            Halve(path) => (path, WRITE, Deed::Cut(size / 2)),
            Empty(path) => (path, WRITE, Deed::Cut(0)),
            _ => return None,
        })
    }

    /// How long the file is that is written to.
    fn size(self, model: &Model) -> usize {
        let (Overwrite(path) | Halve(path)) = self else {
            return 0;
        };
        let node = model.stat(path.as_bytes(), true).map(|it| model.node(it));
        node.ok().and_then(|node| node.size()).unwrap_or(0) as usize
    }

    /// Carries it out on the model. An error, or `Ok(false)`, if it would change nothing.
    pub fn model(self, model: &mut Model, salt: u64) -> Result<bool> {
        let size = self.size(model);
        if let Some((path, flags, deed)) = self.deed(size) {
            let handle = model.open(path.as_bytes(), flags, 0o644)?;
            let (done, changes) = match deed {
                Deed::Nothing => (Ok(()), true),
                Deed::Write { offset, len } => {
                    let data = contents(salt, len);
                    let write = |model: &mut Model| model.write(handle, offset, &data).map(drop);
                    if len == 0 {
                        (Ok(()), false)
                    } else {
                        (write(model), true)
                    }
                }
                Deed::Cut(to) => (model.truncate(handle, to), to < size || self == Empty(path)),
            };
            model.close(handle);
            return done.map(|()| changes);
        }
        match self {
            Rename(from, to) => {
                let same = model.stat(from.as_bytes(), false)?
                    == model.stat(to.as_bytes(), false).unwrap_or(0);
                model.rename(from.as_bytes(), to.as_bytes())?;
                return Ok(!same);
            }
            Link(from, to) => model.link(from.as_bytes(), to.as_bytes())?,
            Unlink(path) => model.unlink(path.as_bytes())?,
            Mkdir(path) => model.mkdir(path.as_bytes(), 0o755)?,
            Rmdir(path) => model.rmdir(path.as_bytes())?,
            Fsync(path) => drop(model.stat(path.as_bytes(), true)?),
            _ => {}
        }
        Ok(true)
    }

    /// Carries it out on the stack. `model` is as before the call.
    pub async fn system<F: FileSystem>(self, system: &F, model: &Model, salt: u64) -> Result<()> {
        if let Some((path, flags, deed)) = self.deed(self.size(model)) {
            let descriptor = system.open(path.as_bytes(), flags, 0o644).await?;
            match deed {
                Deed::Nothing => {}
                Deed::Write { offset, len } => {
                    write_all(system, descriptor, offset, &contents(salt, len)).await?;
                }
                Deed::Cut(to) => system.truncate(descriptor, to as u64).await?,
            }
            return system.close(descriptor).await;
        }
        match self {
            Rename(from, to) => system.rename(from.as_bytes(), to.as_bytes()).await,
            Link(from, to) => system.link(from.as_bytes(), to.as_bytes()).await,
            Unlink(path) => system.unlink(path.as_bytes()).await,
            Mkdir(path) => system.mkdir(path.as_bytes(), 0o755).await,
            Rmdir(path) => system.rmdir(path.as_bytes()).await,
            Fsync(path) => {
                let descriptor = system.open(path.as_bytes(), OpenFlags::READ, 0).await?;
                system.fsync(descriptor).await?;
                system.close(descriptor).await
            }
            _ => system.sync().await.map(drop),
        }
    }
}

async fn write_all<F: FileSystem>(
    system: &F,
    descriptor: Descriptor,
    offset: Option<u64>,
    data: &[u8],
) -> Result<()> {
    let written = system
        .write(descriptor, offset, Source::local(data))
        .await?;
    assert_eq!(written, data.len(), "a short write on a disk with room");
    Ok(())
}

/// Makes a file of `len` bytes, on both.
pub async fn new_file<F: FileSystem>(system: &F, model: &mut Model, path: &str, len: usize) {
    let data = contents(len as u64, len);
    let handle = model.open(path.as_bytes(), NEW, 0o644).expect("a new name");
    model.write(handle, None, &data).expect("a file");
    model.close(handle);
    let make = async {
        let descriptor = system.open(path.as_bytes(), NEW, 0o644).await?;
        write_all(system, descriptor, None, &data).await?;
        system.close(descriptor).await
    };
    let made = make.await;
    made.unwrap_or_else(|error| panic!("{path} cannot be made: {error}"));
}

/// Makes the tree, on both.
pub async fn make_tree<F: FileSystem>(system: &F, model: &mut Model) {
    for (path, len) in TREE {
        match len {
            Some(len) => new_file(system, model, path, len).await,
            None => {
                model.mkdir(path.as_bytes(), 0o755).expect("a new name");
                let made = system.mkdir(path.as_bytes(), 0o755).await;
                made.unwrap_or_else(|error| panic!("{path} cannot be made: {error}"));
            }
        }
    }
}
