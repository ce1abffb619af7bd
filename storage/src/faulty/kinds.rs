//! What the filter knows of the types of blocks: from the structures on the disk, and from what is
//! written past it.
//!
//! The static areas follow from the root block. Of the data area only what is *not* data is noted: so
//! a disk of any size takes little memory. Inodes and indirect blocks say which of their blocks are
//! directories, links, the mapping, or indirect blocks; an indirect block that was not known as one
//! is to be read, which the one who owns the disk does ([`Kinds::wanted`]).

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{
    kind::{Kind, POINTER_BYTES, Pointer, guess, u64_at},
    layout::{Layout, ROOTS},
};
use crate::BLOCK_BYTES;

/// Most blocks that are noted; the types of others are guessed when they are written.
const NOTED_MAX: usize = 1 << 18;
/// Most blocks that wait to be read.
const WANTED_MAX: usize = 1 << 12;

const INODE_BYTES: usize = 512;
const INODE_POINTERS: usize = 128;
const DIRECT: usize = 20;
const MODE_TYPE: u64 = 0o170_000;
const MODE_DIRECTORY: u64 = 0o040_000;
const MODE_LINK: u64 = 0o120_000;
/// The physical file that the mapping is in.
const MAPPING_FILE: u64 = 1;

/// What is known of a block of the data area, or to be read of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A block of a static tree of the inode table, so many levels above the inodes.
    Table(u32),
    /// An indirect block.
    Indirect {
        /// Levels of indirect blocks from here on, itself included.
        height: u32,
        /// What it leads to.
        leaf: Kind,
    },
    /// One by its content, of which no pointer has said yet what it is.
    Guessed(Kind),
    /// The contents of a file of this type.
    Leaf(Kind),
}

/// The types of a disk's blocks.
#[derive(Default)]
pub struct Kinds {
    layout: Option<Layout>,
    noted: HashMap<u64, Node>,
    wanted: Vec<(u64, Node)>,
}

impl Kinds {
    /// The type of a block, by its place.
    pub fn of(&self, block: u64) -> Kind {
        let Some(layout) = &self.layout else {
            return if ROOTS.contains(&block) {
                Kind::Root
            } else {
                Kind::Data
            };
        };
        layout
            .fixed(block)
            .unwrap_or_else(|| match self.noted.get(&block) {
                None | Some(Node::Table(_)) => Kind::Data,
                Some(Node::Indirect { .. }) => Kind::Indirect,
                Some(Node::Guessed(kind) | Node::Leaf(kind)) => *kind,
            })
    }

    /// A block is written: its type, by its place and content. What the block says of others is
    /// noted.
    pub fn written(&mut self, block: u64, content: &[u8], device_blocks: u64) -> Kind {
        if ROOTS.contains(&block) {
            if let Some(layout) = Layout::read(content, device_blocks) {
                self.rooted(layout);
            }
            return Kind::Root;
        }
        let Some(layout) = &self.layout else {
            return Kind::Data;
        };
        match layout.fixed(block) {
            Some(Kind::Inode) => self.read(block, Node::Table(0), content),
            Some(_) => {}
            None => self.data_written(block, content),
        }
        self.of(block)
    }

    /// A root block is, or becomes, the newest. That of another volume makes all that was known void.
    pub fn rooted(&mut self, layout: Layout) {
        let same = |old: &Layout| old.volume == layout.volume && old.data == layout.data;
        if !self.layout.as_ref().is_some_and(same) {
            self.noted.clear();
            self.wanted.clear();
        }
        self.layout = Some(layout);
    }

    /// The blocks that are to be read and given to [`Kinds::read`], at most so many; none are left
    /// when this gives none.
    pub fn wanted(&mut self, most: usize) -> Vec<(u64, Node)> {
        let keep = self.wanted.len().saturating_sub(most);
        self.wanted.split_off(keep)
    }

    /// Asks for the top of the inode table's tree.
    pub fn want_tops(&mut self, root: &[u8]) {
        let Some(layout) = &self.layout else { return };
        let node = Node::Table(layout.inode_levels - 1);
        self.pointers(node, Layout::inode_tops(root));
    }

    /// The content of a block that is such a node, whatever it says.
    pub fn read(&mut self, block: u64, node: Node, content: &[u8]) {
        if content.len() != BLOCK_BYTES {
            return;
        }
        match node {
            Node::Table(0) => {
                let Some(layout) = &self.layout else { return };
                let first = layout.first_inode(block);
                for (number, inode) in (first..).zip(content.chunks_exact(INODE_BYTES)) {
                    self.inode(number, inode);
                }
            }
            Node::Table(level) => self.pointers(Node::Table(level - 1), content),
            Node::Indirect { height: 1, leaf } => self.pointers(Node::Leaf(leaf), content),
            Node::Indirect { height, leaf } => {
                let height = height - 1;
                self.pointers(Node::Indirect { height, leaf }, content);
            }
            Node::Guessed(_) | Node::Leaf(_) => {}
        }
    }

    fn inode(&mut self, number: u64, inode: &[u8]) {
        // State 1: in use.
        if inode[64] != 1 {
            return;
        }
        let leaf = match u64_at(inode, 0) & MODE_TYPE {
            _ if number == MAPPING_FILE => Kind::Mapping,
            MODE_DIRECTORY => Kind::Directory,
            MODE_LINK => Kind::Link,
            _ => Kind::Data,
        };
        let pointers = &inode[INODE_POINTERS..];
        let (direct, indirect) = pointers.split_at(DIRECT * POINTER_BYTES);
        self.pointers(Node::Leaf(leaf), direct);
        for (height, pointer) in (1..).zip(indirect.chunks_exact(POINTER_BYTES)) {
            self.pointers(Node::Indirect { height, leaf }, pointer);
        }
    }

    /// Pointers that lead to such nodes.
    fn pointers(&mut self, node: Node, pointers: &[u8]) {
        let Some(layout) = &self.layout else { return };
        let twin_offset = layout.twin_offset;
        let blocks = match node {
            Node::Table(_) => layout.areas(),
            _ => layout.data.clone(),
        };
        for bytes in pointers.chunks_exact(POINTER_BYTES) {
            let Ok(Some(pointer)) = Pointer::read(bytes, &blocks) else {
                continue;
            };
            let place = pointer.place(twin_offset);
            let known = self.noted.get(&place) == Some(&node);
            if !matches!(node, Node::Table(_)) {
                self.note(pointer.block, node);
                if pointer.pair {
                    self.note(pointer.block + twin_offset, node);
                }
            }
            let leads_on = match node {
                Node::Table(_) => true,
                // Of data below a single level there is nothing to be learned.
                Node::Indirect { height, leaf } => height > 1 || leaf != Kind::Data,
                Node::Guessed(_) | Node::Leaf(_) => false,
            };
            if leads_on && !known && self.wanted.len() < WANTED_MAX {
                self.wanted.push((place, node));
            }
        }
    }

    fn note(&mut self, block: u64, node: Node) {
        if node == Node::Leaf(Kind::Data) {
            self.noted.remove(&block);
        } else if self.noted.len() < NOTED_MAX || self.noted.contains_key(&block) {
            self.noted.insert(block, node);
        }
    }

    /// A block of the data area is written. What it looks like counts where nothing is known, and
    /// where it contradicts what is.
    fn data_written(&mut self, block: u64, content: &[u8]) {
        if content.len() != BLOCK_BYTES {
            return;
        }
        let Some(layout) = &self.layout else { return };
        let guessed = guess(content, &layout.data);
        let known = self.noted.get(&block).copied();
        match (known, guessed) {
            (Some(node @ Node::Indirect { .. }), Some(Kind::Indirect)) => {
                self.read(block, node, content);
            }
            (Some(Node::Leaf(kind)), Some(guessed)) if kind == guessed => {}
            // A link's target looks like data.
            (Some(Node::Leaf(Kind::Link)), None) => {}
            (_, Some(kind)) => self.note(block, Node::Guessed(kind)),
            (Some(_), None) => {
                self.noted.remove(&block);
            }
            (None, None) => {}
        }
    }
}
