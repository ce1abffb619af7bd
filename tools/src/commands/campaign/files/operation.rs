//! What a program does next, chosen at random among what is possible: a command of the console.

use super::state::{Node, State};
use crate::commands::campaign::random::Random;

/// Most entries of a program's directory.
const ENTRIES_MAX: usize = 24;

/// Most bytes of a file.
const FILE_BYTES_MAX: usize = 192 << 10;

/// Most bytes that are written at once: what the console writes in one call.
const FILL_BYTES_MAX: usize = 64 << 10;

/// Names in a directory.
const NAMES: u64 = 12;

/// A command; paths are relative to the program's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes known contents, making the file if there is none.
    Fill {
        path: String,
        offset: usize,
        length: usize,
        seed: u32,
    },
    /// Cuts or extends a file.
    Truncate { path: String, size: usize },
    /// Makes a directory.
    MakeDirectory { path: String },
    /// Removes an empty directory.
    RemoveDirectory { path: String },
    /// Removes a name of a file or a link.
    Remove { path: String },
    /// Renames a file or a link, over another or not.
    Rename { from: String, to: String },
    /// Gives a file another name.
    Link { from: String, to: String },
    /// Makes a symbolic link.
    Symlink { target: String, path: String },
    /// Hashes a file.
    Read { path: String },
    /// Makes everything durable.
    Sync,
}

impl Operation {
    /// The next operation of a program.
    pub fn choose(random: &mut Random, state: &State) -> Self {
        let known = Known::of(state);
        for _ in 0..32 {
            if let Some(operation) = known.try_one(random, state) {
                return operation;
            }
        }
        Self::Sync
    }

    /// What to type, for a program whose directory is `top`.
    pub fn command(&self, top: &str) -> String {
        match self {
            Self::Fill {
                path,
                offset,
                length,
                seed,
            } => format!("fill {top}/{path} {length} at={offset} seed={seed}"),
            Self::Truncate { path, size } => format!("truncate {top}/{path} {size}"),
            Self::MakeDirectory { path } => format!("mkdir {top}/{path}"),
            Self::RemoveDirectory { path } => format!("rmdir {top}/{path}"),
            Self::Remove { path } => format!("rm {top}/{path}"),
            Self::Rename { from, to } => format!("mv {top}/{from} {top}/{to}"),
            Self::Link { from, to } => format!("ln {top}/{from} {top}/{to}"),
            Self::Symlink { target, path } => format!("ln -s {target} {top}/{path}"),
            Self::Read { path } => format!("sha256 {top}/{path}"),
            Self::Sync => "sync".into(),
        }
    }
}

/// What there is, by kind.
struct Known {
    files: Vec<String>,
    directories: Vec<String>,
    leaves: Vec<String>,
}

impl Known {
    fn of(state: &State) -> Self {
        let mut known = Self {
            files: Vec::new(),
            directories: vec![String::new()],
            leaves: Vec::new(),
        };
        for (name, node) in state.names() {
            match node {
                Node::Directory => known.directories.push(name.to_owned()),
                Node::File(_) => known.files.push(name.to_owned()),
                Node::Link(_) => {}
            }
            if !matches!(node, Node::Directory) {
                known.leaves.push(name.to_owned());
            }
        }
        known
    }

    /// A name that is free, or of a file or a link.
    fn place(&self, random: &mut Random, state: &State) -> Option<String> {
        let directory = random.pick(&self.directories);
        let name = format!("f{}", random.below(NAMES));
        let path = match directory.as_str() {
            "" => name,
            directory => format!("{directory}/{name}"),
        };
        let has_room = state.names().count() < ENTRIES_MAX || state.find(&path).is_some();
        (has_room && state.find(&path) != Some(&Node::Directory)).then_some(path)
    }

    fn free_place(&self, random: &mut Random, state: &State) -> Option<String> {
        self.place(random, state)
            .filter(|path| state.find(path).is_none())
    }

    fn try_one(&self, random: &mut Random, state: &State) -> Option<Operation> {
        let file = |random: &mut Random| some(random, &self.files);
        let operation = match random.below(100) {
            0..30 => {
                let path = self.place(random, state)?;
                let old = state.content_of(&path).map_or(0, |bytes| bytes.len());
                if matches!(state.find(&path), Some(Node::Link(_))) {
                    return None;
                }
                fill(random, path, old)
            }
            30..55 => {
                let path = file(random)?;
                let old = state.content_of(&path).map_or(0, |bytes| bytes.len());
                fill(random, path, old)
            }
            55..60 => Operation::Truncate {
                path: file(random)?,
                size: random.below(FILE_BYTES_MAX as u64 / 2) as usize,
            },
            60..66 => {
                let parent = random.pick(&self.directories);
                let free = self.free_place(random, state)?;
                let name = free.rsplit('/').next().unwrap_or_default();
                let path = match parent.as_str() {
                    "" => format!("d{name}"),
                    parent if parent.contains('/') => return None,
                    parent => format!("{parent}/d{name}"),
                };
                if state.find(&path).is_some() {
                    return None;
                }
                Operation::MakeDirectory { path }
            }
            66..69 => {
                let path = some(random, &self.directories[1..])?;
                if !state.is_empty(&path) {
                    return None;
                }
                Operation::RemoveDirectory { path }
            }
            69..77 => Operation::Remove {
                path: some(random, &self.leaves)?,
            },
            77..85 => Operation::Rename {
                from: some(random, &self.leaves)?,
                to: self.place(random, state)?,
            },
            85..88 => Operation::Link {
                from: file(random)?,
                to: self.free_place(random, state)?,
            },
            88..90 => Operation::Symlink {
                target: format!("../f{}", random.below(NAMES)),
                path: self.free_place(random, state)?,
            },
            90..98 => Operation::Read {
                path: file(random)?,
            },
            _ => Operation::Sync,
        };
        Some(operation)
    }
}

fn some(random: &mut Random, from: &[String]) -> Option<String> {
    (!from.is_empty()).then(|| random.pick(from).clone())
}

/// A write: over what is there, behind it, or leaving a hole.
fn fill(random: &mut Random, path: String, old: usize) -> Operation {
    let length = random.scaled(1, FILL_BYTES_MAX as u64) as usize;
    let offset = match random.below(4) {
        0 => 0,
        1 => old,
        2 => random.below(old as u64 + 1) as usize,
        _ => random.below(old as u64 + (16 << 10)) as usize,
    };
    Operation::Fill {
        path,
        offset: offset.min(FILE_BYTES_MAX - length),
        length,
        seed: random.below(1 << 32) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_comes_up_and_changes_only_what_is_there() {
        let mut random = Random::new(1, 0);
        let mut state = State::default();
        let mut seen = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..5000 {
            let operation = Operation::choose(&mut random, &state);
            let command = operation.command("/e");
            let word = command.split(' ').next().unwrap_or_default().to_owned();
            *seen.entry(word).or_default() += 1;
            let exists = |path: &String| state.find(path).is_some();
            match &operation {
                Operation::Truncate { path, .. }
                | Operation::Remove { path }
                | Operation::RemoveDirectory { path }
                | Operation::Read { path } => assert!(exists(path), "{command}"),
                Operation::Rename { from, .. } => assert!(exists(from), "{command}"),
                Operation::Link { from, to } => assert!(exists(from) && !exists(to), "{command}"),
                Operation::MakeDirectory { path } | Operation::Symlink { path, .. } => {
                    assert!(!exists(path), "{command}");
                }
                Operation::Fill { .. } | Operation::Sync => {}
            }
            state = state.after(&operation).pop().expect("a result");
            assert!(state.names().count() <= ENTRIES_MAX + 1);
        }
        let words = [
            "fill", "truncate", "mkdir", "rmdir", "rm", "mv", "ln", "sha256", "sync",
        ];
        for word in words {
            assert!(
                seen.get(word).is_some_and(|count| *count > 20),
                "{word}: {seen:?}"
            );
        }
    }
}
