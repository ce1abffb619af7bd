//! The tree that one program knows to be there, after each of its operations.
//!
//! States are kept, as a crash of the machine leads back to an earlier one: they share what has not
//! changed.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::contents;
use super::operation::Operation;
use crate::tree::{Content, Tree, checksum};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file, by its number: several names may have the same.
    File(u32),
    /// A symbolic link, and where it points.
    Link(String),
}

/// Names below the program's directory, and what is in the files.
#[derive(Clone, Debug, Default)]
pub struct State {
    names: BTreeMap<String, Node>,
    files: BTreeMap<u32, Rc<Vec<u8>>>,
    files_ever: u32,
}

impl State {
    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.names.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// What a name stands for.
    pub fn find(&self, name: &str) -> Option<&Node> {
        self.names.get(name)
    }

    /// What is in a file.
    pub fn content(&self, file: u32) -> Option<&Rc<Vec<u8>>> {
        self.files.get(&file)
    }

    /// What is in the file of this name.
    pub fn content_of(&self, name: &str) -> Option<&Rc<Vec<u8>>> {
        match self.find(name)? {
            Node::File(file) => self.content(*file),
            Node::Directory | Node::Link(_) => None,
        }
    }

    /// What `sha256` must say of a file.
    pub fn hash_of(&self, name: &str) -> Option<String> {
        let digest = Sha256::digest(self.content_of(name)?.as_slice());
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether nothing is in a directory.
    pub fn is_empty(&self, directory: &str) -> bool {
        let below = format!("{directory}/");
        !self.names.keys().any(|name| name.starts_with(&below))
    }

    /// The states that the operation leads through, the last of them its result: between them the
    /// machine may stop, for the console does it in several calls.
    pub fn after(&self, operation: &Operation) -> Vec<Self> {
        let mut state = self.clone();
        let mut states = Vec::new();
        match operation {
            Operation::Fill {
                path,
                offset,
                length,
                seed,
            } => {
                if !state.names.contains_key(path) {
                    state.make_file(path);
                    states.push(state.clone());
                }
                let data = contents::bytes(*seed, *offset, *length);
                state.change(path, |bytes| {
                    bytes.resize(bytes.len().max(offset + length), 0);
                    bytes[*offset..offset + length].copy_from_slice(&data);
                });
            }
            Operation::Truncate { path, size } => {
                state.change(path, |bytes| bytes.resize(*size, 0));
            }
            Operation::MakeDirectory { path } => {
                state.names.insert(path.clone(), Node::Directory);
            }
            Operation::Symlink { target, path } => {
                state.names.insert(path.clone(), Node::Link(target.clone()));
            }
            Operation::Link { from, to } => {
                if let Some(node) = state.names.get(from).cloned() {
                    state.names.insert(to.clone(), node);
                }
            }
            Operation::Rename { from, to } => state.rename(from, to),
            Operation::Remove { path } | Operation::RemoveDirectory { path } => {
                state.names.remove(path);
                state.forget_nameless();
            }
            Operation::Read { .. } | Operation::Sync => {}
        }
        states.push(state);
        states
    }

    fn make_file(&mut self, path: &str) {
        self.files.insert(self.files_ever, Rc::default());
        self.names
            .insert(path.to_owned(), Node::File(self.files_ever));
        self.files_ever += 1;
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Node::File(file)) = self.names.get(path)
            && let Some(bytes) = self.files.get_mut(file)
        {
            change(Rc::make_mut(bytes));
        }
    }

    /// Files and links, over other files and links. Two names of one file stay as they are.
    fn rename(&mut self, from: &str, to: &str) {
        let node = self.names.get(from).cloned();
        let same_file = matches!(node, Some(Node::File(_))) && node.as_ref() == self.names.get(to);
        if let (Some(node), false) = (node, same_file) {
            self.names.remove(from);
            self.names.insert(to.to_owned(), node);
            self.forget_nameless();
        }
    }

    fn forget_nameless(&mut self) {
        let named = |file: &u32| self.names.values().any(|node| *node == Node::File(*file));
        let kept: BTreeMap<_, _> = self
            .files
            .iter()
            .filter(|(file, _)| named(file))
            .map(|(file, bytes)| (*file, bytes.clone()))
            .collect();
        self.files = kept;
    }

    /// What `sha256` must say of the directory.
    pub fn checksum(&self) -> String {
        let mut tree = Tree::default();
        for (name, node) in &self.names {
            let content = match node {
                Node::Directory => Content::Directory,
                Node::Link(target) => Content::Link(target.clone().into_bytes()),
                Node::File(file) => Content::File {
                    bytes: self.files.get(file).map_or_else(Vec::new, |it| it.to_vec()),
                    executable: false,
                },
            };
            tree.insert(name.as_bytes(), content);
        }
        checksum(&tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(path: &str, offset: usize, length: usize, seed: u32) -> Operation {
        Operation::Fill {
            path: path.into(),
            offset,
            length,
            seed,
        }
    }

    fn last(state: &State, operation: Operation) -> State {
        state.after(&operation).pop().expect("a result")
    }

    #[test]
    fn a_write_into_a_new_file_leads_through_an_empty_one() {
        let states = State::default().after(&fill("a", 4, 8, 1));
        assert_eq!(states.len(), 2);
        assert_eq!(states[0].content_of("a").expect("a file").len(), 0);
        let written = states[1].content_of("a").expect("a file");
        assert_eq!(written[..4], [0; 4], "a hole");
        assert_eq!(written[4..], contents::bytes(1, 4, 8));
        assert_eq!(states[1].after(&fill("a", 0, 1, 2)).len(), 1);
    }

    #[test]
    fn two_names_of_a_file_change_together_and_a_rename_between_them_does_nothing() {
        let state = last(&State::default(), fill("a", 0, 10, 1));
        let (from, to) = ("a".to_owned(), "b".to_owned());
        let state = last(&state, Operation::Link { from, to });
        let state = last(&state, fill("b", 0, 10, 2));
        assert_eq!(state.content_of("a"), state.content_of("b"));
        let (from, to) = ("a".to_owned(), "b".to_owned());
        let state = last(&state, Operation::Rename { from, to });
        assert_eq!(state.names().count(), 2);
        let state = last(&state, Operation::Remove { path: "a".into() });
        assert!(state.content_of("b").is_some());
        let state = last(&state, Operation::Remove { path: "b".into() });
        assert!(state.files.is_empty());
    }

    #[test]
    fn the_checksum_shows_every_difference() {
        let state = last(&State::default(), fill("d", 0, 10, 1));
        let others = [
            last(&state, fill("d", 9, 1, 2)),
            last(
                &state,
                Operation::Truncate {
                    path: "d".into(),
                    size: 9,
                },
            ),
            last(&state, Operation::MakeDirectory { path: "e".into() }),
            last(&State::default(), fill("e", 0, 10, 1)),
        ];
        for other in others {
            assert_ne!(state.checksum(), other.checksum());
        }
    }
}
