//! The metadata cache: nodes of the metadata tree in memory, found by block number.
//!
//! A node's parent is in the cache as long as the node is, so that a change can be marked upwards and
//! a checksum be put where it belongs without reading anything. Only nodes without children are
//! evicted, by the clock algorithm. The bound is soft: what one synchronous step needs it gets, and
//! the next step that must wait anyway makes room first (see `fetch`).

use alloc::{rc::Rc, vec::Vec};

use hashbrown::HashMap;

use super::pointer::{POINTER_BYTES, POINTERS_PER_BLOCK, Pointer};
use super::{
    inode::{INODE_POINTERS, POINTERS_OFFSET},
    layout::INODE_BYTES,
};
use crate::BLOCK_BYTES;

/// The contents of a block.
pub type Block = [u8; BLOCK_BYTES];

/// A place in the cache. Valid as long as the node there has children, or nothing is awaited.
pub type Slot = usize;

/// Which pointer leads to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// A pointer of the root block, by number.
    Root(usize),
    /// The pointer at this byte offset of another node.
    Node(Slot, usize),
}

/// What a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bits.
    Bitmap,
    /// Inodes.
    Inodes,
    /// Pointers: an upper level of a static tree, or an indirect block.
    Pointers,
}

/// Height of a node: every child has a lower one. Indirect blocks have 0 to 3, level *k* of a static
/// tree has `STATIC_RANK + k`.
pub type Rank = u8;
/// Height of the blocks of the static areas.
pub const STATIC_RANK: Rank = 4;
/// Heights that there can be.
pub const RANKS: usize = STATIC_RANK as usize + super::layout::LEVELS_MAX;

/// A block of metadata in memory.
pub struct Node {
    /// Block number of its left twin.
    pub key: u64,
    /// The newest contents. Shared while they are being written.
    pub content: Rc<Block>,
    /// What points to it.
    pub parent: Parent,
    /// What is in it.
    pub kind: Kind,
    /// Its height.
    pub rank: Rank,
    /// It was modified since the last checkpoint if this is the volume's epoch.
    pub epoch: u64,
    /// The contents differ from the twin that counts.
    pub dirty: bool,
    /// A write of it is in flight.
    pub writing: bool,
    children: u32,
    referenced: bool,
}

impl Node {
    /// A node that nobody has modified.
    pub fn new(key: u64, content: Rc<Block>, parent: Parent, kind: Kind, rank: Rank) -> Self {
        Self {
            key,
            content,
            parent,
            kind,
            rank,
            epoch: 0,
            dirty: false,
            writing: false,
            children: 0,
            referenced: true,
        }
    }

    /// Clears the modified bit in every pointer of the block.
    pub fn clear_modified_bits(&mut self) {
        let content = Rc::make_mut(&mut self.content);
        match self.kind {
            Kind::Bitmap => {}
            Kind::Pointers => {
                for index in 0..POINTERS_PER_BLOCK {
                    Pointer::clear_modified(content, index * POINTER_BYTES);
                }
            }
            Kind::Inodes => {
                for inode in content.chunks_exact_mut(INODE_BYTES) {
                    for index in 0..INODE_POINTERS {
                        let offset = POINTERS_OFFSET + index * POINTER_BYTES;
                        Pointer::clear_modified(inode, offset);
                    }
                }
            }
        }
    }
}

/// The nodes in memory.
pub struct Cache {
    nodes: Vec<Option<Node>>,
    empty: Vec<Slot>,
    by_key: HashMap<u64, Slot>,
    hand: Slot,
    bound: usize,
}

/// Fewest nodes that the bound may be set to: several calls at once must not evict each other's.
pub const BOUND_MIN: usize = 256;

impl Cache {
    /// An empty cache for `bound` nodes, at least [`BOUND_MIN`].
    pub fn new(bound: usize) -> Self {
        Self {
            nodes: Vec::new(),
            empty: Vec::new(),
            by_key: HashMap::new(),
            hand: 0,
            bound: bound.max(BOUND_MIN),
        }
    }

    /// Whether there are more nodes than there should be.
    pub fn is_full(&self) -> bool {
        self.by_key.len() >= self.bound
    }

    /// The node of this block.
    pub fn find(&mut self, key: u64) -> Option<Slot> {
        let slot = *self.by_key.get(&key)?;
        if let Some(node) = &mut self.nodes[slot] {
            node.referenced = true;
        }
        Some(slot)
    }

    /// The node at a slot that is known to be taken.
    pub fn node(&self, slot: Slot) -> &Node {
        self.nodes[slot]
            .as_ref()
            .expect("a slot in use holds a node")
    }

    /// As [`Cache::node`], to change it.
    pub fn node_mut(&mut self, slot: Slot) -> &mut Node {
        self.nodes[slot]
            .as_mut()
            .expect("a slot in use holds a node")
    }

    /// The node at a slot that was in use some time ago.
    pub fn get(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot)?.as_ref()
    }

    /// Adds a node whose block is not in the cache.
    pub fn insert(&mut self, node: Node) -> Slot {
        if let Parent::Node(parent, _) = node.parent {
            self.node_mut(parent).children += 1;
        }
        let key = node.key;
        let slot = match self.empty.pop() {
            Some(slot) => {
                self.nodes[slot] = Some(node);
                slot
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        };
        self.by_key.insert(key, slot);
        slot
    }

    /// Takes a node without children out.
    pub fn remove(&mut self, slot: Slot) {
        debug_assert_eq!(self.node(slot).children, 0);
        if let Some(node) = self.nodes[slot].take() {
            self.by_key.remove(&node.key);
            self.empty.push(slot);
            if let Parent::Node(parent, _) = node.parent {
                self.node_mut(parent).children -= 1;
            }
        }
    }

    /// Whether nodes point to this one as their parent.
    pub fn has_children(&self, slot: Slot) -> bool {
        self.node(slot).children > 0
    }

    /// Drops one clean node, but for `kept`, that has not been used since the hand last passed; false if
    /// two rounds found none.
    pub fn evict_clean(&mut self, kept: Option<Slot>) -> bool {
        let victim = self.sweep(2, |slot, node| !node.dirty && Some(slot) != kept);
        victim.is_some_and(|slot| {
            self.remove(slot);
            true
        })
    }

    /// A dirty node to write out, one that has not been used since the hand last passed.
    pub fn next_dirty(&mut self) -> Option<Slot> {
        self.sweep(2, |_, node| node.dirty)
    }

    fn sweep(&mut self, rounds: usize, wanted: impl Fn(Slot, &Node) -> bool) -> Option<Slot> {
        for _ in 0..rounds * self.nodes.len() {
            self.hand = (self.hand + 1) % self.nodes.len();
            let Some(node) = &mut self.nodes[self.hand] else {
                continue;
            };
            if node.children > 0 || node.writing || !wanted(self.hand, node) {
                continue;
            }
            if !core::mem::take(&mut node.referenced) {
                return Some(self.hand);
            }
        }
        None
    }

    /// The slots of all dirty nodes.
    pub fn dirty(&self) -> impl Iterator<Item = Slot> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(slot, node)| node.as_ref().is_some_and(|node| node.dirty).then_some(slot))
    }
}
