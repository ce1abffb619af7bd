//! Random operations: what a program might do next.

use storage::vfs::{Kind, OpenFlags};

use crate::{model::Model, random::Random};

/// A path, shown as text.
#[derive(Clone)]
pub struct Path(pub Vec<u8>);

impl std::ops::Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Something that a program does.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `open`.
    Open(Path, OpenFlags, u32),
    /// `close` of a handle of the model.
    Close(u32),
    /// `pread`, or `read` without an offset.
    Read(u32, Option<u64>, usize),
    /// `pwrite`, or `write` without an offset: so many bytes made from the number.
    Write(u32, Option<u64>, usize, u64),
    /// `ftruncate`.
    Truncate(u32, u64),
    /// `fstat`.
    Fstat(u32),
    /// `stat`, or `lstat`.
    Stat(Path, bool),
    /// `mkdir`.
    Mkdir(Path, u32),
    /// `rmdir`.
    Rmdir(Path),
    /// `unlink`.
    Unlink(Path),
    /// `rename`.
    Rename(Path, Path),
    /// `link`.
    Link(Path, Path),
    /// `symlink`: target, path.
    Symlink(Path, Path),
    /// `readlink`.
    Readlink(Path),
    /// `chmod`.
    Chmod(Path, u32),
    /// `chown`.
    Chown(Path, u32, u32),
    /// `utimes`: the time of change of the data.
    Utimes(Path, u64),
    /// `opendir`, `readdir` to the end, `closedir`.
    Readdir(Path),
}

/// Most handles open at a time.
const HANDLES_MAX: usize = 12;

/// Where writes end, at most: some blocks of an indirect block.
const FILE_BYTES: u64 = 300_000;

fn name(random: &mut Random) -> &'static [u8] {
    const NAMES: [&[u8]; 8] = [
        b"a",
        b"b",
        b"c",
        b"file",
        b"data.bin",
        b"x",
        b"a rather long name",
        b"\xff\xfe",
    ];
    random.pick(&NAMES)
}

const FOLDERS: [&[u8]; 4] = [b"d", b"e", b"c", b"a"];

fn folder(random: &mut Random) -> Path {
    Path([b"/".as_slice(), random.pick(&FOLDERS)].concat())
}

/// A path of one to three names, most of them of directories there are.
fn path(random: &mut Random) -> Path {
    let mut path = Vec::new();
    for _ in 0..random.below(3) {
        if random.one_in(20) {
            path.extend_from_slice(random.pick(&[&b"/."[..], b"/..", b"//"]));
        }
        path.push(b'/');
        path.extend_from_slice(random.pick(&FOLDERS));
    }
    path.push(b'/');
    let last = if random.one_in(3) {
        random.pick(&FOLDERS)
    } else {
        name(random)
    };
    path.extend_from_slice(last);
    Path(if random.one_in(8) {
        path.split_off(1)
    } else {
        path
    })
}

fn target(random: &mut Random) -> Path {
    match random.below(3) {
        0 => Path([b"../".as_slice(), name(random)].concat()),
        1 => Path(name(random).to_vec()),
        _ => path(random),
    }
}

fn flags(random: &mut Random) -> OpenFlags {
    let (read, write, create) = (OpenFlags::READ, OpenFlags::WRITE, OpenFlags::CREATE);
    let both = read | write;
    let all = [
        read,
        both,
        both | create,
        both | create,
        both | create,
        both | create | OpenFlags::EXCLUSIVE,
        both | create | OpenFlags::TRUNCATE,
        write | create | OpenFlags::APPEND,
        write | OpenFlags::TRUNCATE,
        read | OpenFlags::DIRECTORY,
        read | OpenFlags::NO_FOLLOW,
    ];
    random.pick(&all)
}

/// Offsets and lengths at, before and behind the boundaries of blocks.
fn position(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(FILE_BYTES),
        1 => random.below(FILE_BYTES / 4096) * 4096,
        2 => (random.below(FILE_BYTES / 4096) * 4096).saturating_sub(random.below(3)),
        _ => random.below(9000),
    }
}

fn length(random: &mut Random) -> usize {
    (match random.below(4) {
        0 => 1 + random.below(100),
        1 => 4096 * (1 + random.below(4)),
        2 => 1 + random.below(60_000),
        _ => 1 + random.below(9000),
    }) as usize
}

impl Operation {
    /// The same below a directory; `None` if a path of it, or the target of a link, leads out of there.
    fn below(self, top: &[u8]) -> Option<Self> {
        let inside = |path: &Path| !path.windows(2).any(|two| two == b"..");
        let at = |path: Path| inside(&path).then(|| Path([top, b"/", &path[..]].concat()));
        Some(match self {
            Self::Open(path, flags, mode) => Self::Open(at(path)?, flags, mode),
            Self::Stat(path, follow) => Self::Stat(at(path)?, follow),
            Self::Mkdir(path, mode) => Self::Mkdir(at(path)?, mode),
            Self::Rmdir(path) => Self::Rmdir(at(path)?),
            Self::Unlink(path) => Self::Unlink(at(path)?),
            Self::Rename(from, to) => Self::Rename(at(from)?, at(to)?),
            Self::Link(from, to) => Self::Link(at(from)?, at(to)?),
            Self::Symlink(target, path) => {
                let stays = inside(&target) && !target.starts_with(b"/");
                Self::Symlink(stays.then_some(target)?, at(path)?)
            }
            Self::Readlink(path) => Self::Readlink(at(path)?),
            Self::Chmod(path, mode) => Self::Chmod(at(path)?, mode),
            Self::Chown(path, uid, gid) => Self::Chown(at(path)?, uid, gid),
            Self::Utimes(path, time) => Self::Utimes(at(path)?, time),
            Self::Readdir(path) => Self::Readdir(at(path)?),
            of_a_handle => of_a_handle,
        })
    }
}

/// The next operation that a program might do.
pub fn random_operation(random: &mut Random, model: &Model) -> Operation {
    random_operation_in(random, model, b"/")
}

/// As [`random_operation`], by a program that never looks out of its directory, `top`.
pub fn random_operation_below(random: &mut Random, model: &Model, top: &[u8]) -> Operation {
    loop {
        if let Some(operation) = random_operation_in(random, model, top).below(top) {
            return operation;
        }
    }
}

fn random_operation_in(random: &mut Random, model: &Model, top: &[u8]) -> Operation {
    let handles = model.handles();
    if handles.len() >= HANDLES_MAX {
        return Operation::Close(random.pick(&handles));
    }
    let offset = |random: &mut Random| (!random.one_in(3)).then(|| position(random));
    // A tree to work in, files to work on, and then mostly that.
    let folders = model.readdir(top).map_or(0, |names| {
        let is_folder = |node: u64| model.node(node).kind() == Kind::Directory;
        names.iter().filter(|(_, node)| is_folder(*node)).count()
    });
    if folders < 3 && random.one_in(2) {
        return Operation::Mkdir(folder(random), 0o755);
    }
    if handles.len() < 4 && random.one_in(2) {
        return Operation::Open(path(random), flags(random), 0o644);
    }
    if !handles.is_empty() && random.below(100) < 60 {
        let handle = random.pick(&handles);
        return match random.below(20) {
            0 => Operation::Close(handle),
            1..11 => Operation::Write(handle, offset(random), length(random), random.number()),
            11..16 => Operation::Read(handle, offset(random), length(random)),
            16..18 => Operation::Truncate(handle, position(random)),
            _ => Operation::Fstat(handle),
        };
    }
    match random.below(30) {
        0..9 => Operation::Open(path(random), flags(random), random.number() as u32 & 0o777),
        9..12 => Operation::Mkdir(path(random), random.number() as u32 & 0o777),
        12 => Operation::Rmdir(path(random)),
        13..16 => Operation::Unlink(path(random)),
        16..19 => Operation::Rename(path(random), path(random)),
        19..21 => Operation::Link(path(random), path(random)),
        21 | 22 => Operation::Symlink(target(random), path(random)),
        23 => Operation::Readlink(path(random)),
        24 => Operation::Chmod(path(random), random.number() as u32 & 0o7777),
        25 => Operation::Chown(path(random), random.below(9) as u32, random.below(9) as u32),
        26 => Operation::Utimes(path(random), random.below(1 << 60)),
        27 | 28 => Operation::Stat(path(random), random.one_in(2)),
        _ => Operation::Readdir(path(random)),
    }
}

/// The bytes of a write: no two blocks alike.
#[must_use]
pub fn contents(number: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(number);
    let words = std::iter::repeat_with(|| random.number().to_le_bytes());
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}
