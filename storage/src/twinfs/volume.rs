//! The state of a loaded volume, and the two rules of its metadata tree: how a node is found, and
//! how a change is marked.
//!
//! Everything here is synchronous. A step over the tree that needs a block which is not in memory
//! returns [`Stop::Miss`] *before it has changed anything that must not stay*; the caller reads the
//! block and runs the step again (see `fetch`). So a step that changes pointers either happens whole
//! or not at all, no lock is held while a block is read, and a device error cannot leave half of it.

use alloc::{boxed::Box, collections::BTreeSet, rc::Rc, vec::Vec};

use super::{
    Overwrite,
    allocator::Allocator,
    cache::{Block, Cache, Kind, Node, Parent, Rank, STATIC_RANK, Slot},
    layout::{INODES_PER_BLOCK, Layout, TOP_POINTERS_MAX, Tree},
    overwrites::Overwrites,
    pointer::{POINTER_BYTES, POINTERS_PER_BLOCK, Pointer},
    record::Base,
    root::Root,
};
use crate::{
    BLOCK_BYTES, Error,
    file::{Attributes, FileNumber, ResyncRange},
};

/// Why a step did not happen.
#[derive(Debug)]
pub enum Stop {
    /// A block is not in memory: read it and run the step again.
    Miss(Miss),
    /// The step did a bounded part of its work: run it again.
    Again,
    /// It failed.
    Fail(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fail(error)
    }
}

/// What a step gives.
pub type Step<T> = core::result::Result<T, Stop>;

/// A block to be read.
#[derive(Clone, Copy, Debug)]
pub struct Miss {
    /// What points to it.
    pub parent: Parent,
    /// Block number of the parent, so that a slot used again is noticed.
    pub parent_key: u64,
    /// The pointer.
    pub pointer: Pointer,
    /// What will be in it.
    pub kind: Kind,
    /// Its height.
    pub rank: Rank,
}

/// Consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// Blocks of the data area to be freed as soon as their bitmap is at hand.
#[derive(Clone, Copy, Debug)]
pub struct Freed {
    /// The blocks.
    pub run: Run,
    /// Not to be used again before the next checkpoint.
    pub hold: bool,
}

/// Blocks that calls in flight overwrite in place; their pointers still have the old checksums.
pub type Overwriting = Vec<Run>;

/// A loaded volume.
pub struct Volume {
    /// The checkpoint that is loaded or was taken last. Its tops are those of now: they change as
    /// blocks do, and become part of a checkpoint when the root is written.
    pub root: Root,
    /// The root block of the checkpoint.
    pub root_block: Box<Block>,
    /// It is at its own place, and not only its copy is there.
    pub at_home: bool,
    /// The checkpoint before, as long as it can be loaded.
    pub previous: Option<crate::file::Checkpoint>,
    /// Blocks may be written: nobody can go back any more (see `epoch`).
    pub writing: bool,
    /// The metadata in memory.
    pub cache: Cache,
    /// The data area's blocks.
    pub blocks: Allocator,
    /// The inodes.
    pub inodes: Allocator,
    /// Counts checkpoints and loads; a node of this epoch was modified since.
    pub epoch: u64,
    /// What is to be freed, at the latest before the next checkpoint.
    pub pending: Vec<Freed>,
    /// Bitmap blocks that the call whose step this is has found corrupt, by left twin. It takes nothing from
    /// what they cover, and gives nothing back to it. See `fetch`.
    pub lost: BTreeSet<u64>,
    /// See [`Overwriting`].
    pub overwriting: Overwriting,
    /// What becomes of data that the last checkpoint has and that are written anew.
    pub overwrite: Overwrite,
    /// What the log blocks since the last checkpoint say that they belong to.
    pub base: Base,
    /// Blocks of the last checkpoint that were overwritten in place since.
    pub overwrites: Overwrites,
    /// Those of them that a crash may have left differing between stores, in order.
    pub resync_ranges: Vec<ResyncRange>,
    /// The volume in memory can no longer become a checkpoint: nothing but `load` changes anything
    /// any more.
    pub failed: bool,
}

impl Volume {
    /// The volume as a checkpoint has it.
    pub fn new(root: Root, cache_blocks: usize) -> Self {
        let root_block = Box::new(root.encode());
        let mut volume = Self {
            at_home: true,
            previous: None,
            writing: false,
            cache: Cache::new(cache_blocks),
            blocks: Allocator::new(root.layout.data_blocks(), root.blocks_free),
            inodes: Allocator::new(root.layout.inodes, root.inodes_free),
            epoch: 1,
            pending: Vec::new(),
            lost: BTreeSet::new(),
            overwriting: Vec::new(),
            overwrite: Overwrite::default(),
            base: root.base(&root_block),
            root_block,
            overwrites: Overwrites::default(),
            resync_ranges: Vec::new(),
            failed: false,
            root,
        };
        volume.clear_top_bits();
        volume
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.root.layout
    }

    /// Blocks between the twins of a pair.
    pub fn twin_offset(&self) -> u64 {
        self.root.layout.twin_offset
    }

    /// Whether it is the right one, of the twin beside this one; without twins there is only the left.
    pub fn other_twin(&self, right: bool) -> bool {
        !right && self.layout().has_twins()
    }

    /// Begins the time after a checkpoint: nothing is modified, nothing overwritten.
    pub fn begin_epoch(&mut self, root_block: Box<Block>) {
        self.epoch += 1;
        self.base = self.root.base(&root_block);
        (self.root_block, self.at_home) = (root_block, true);
        self.overwrites = Overwrites::default();
        self.resync_ranges = Vec::new();
        self.clear_top_bits();
        self.blocks.release_held();
        self.inodes.release_held();
    }

    fn clear_top_bits(&mut self) {
        for top in &mut self.root.tops {
            top.modified = false;
        }
    }

    /// Whether the node was modified since the last checkpoint.
    pub fn is_modified(&self, slot: Slot) -> bool {
        self.cache.node(slot).epoch == self.epoch
    }

    /// The pointer that leads to a node.
    pub fn parent_pointer(&self, parent: Parent) -> crate::Result<Pointer> {
        match parent {
            Parent::Root(index) => Ok(self.root.tops[index]),
            Parent::Node(slot, offset) => Pointer::at(&*self.cache.node(slot).content, offset),
        }
    }

    /// Changes the pointer that leads to a node. Its parent must be marked as modified.
    pub fn set_parent_pointer(&mut self, parent: Parent, pointer: Pointer) {
        match parent {
            Parent::Root(index) => self.root.tops[index] = pointer,
            Parent::Node(slot, offset) => {
                let node = self.cache.node_mut(slot);
                pointer.put(&mut *Rc::make_mut(&mut node.content), offset);
                node.dirty = true;
            }
        }
    }

    /// The contents of a node, to be changed: marks it and all above it as modified, each switching
    /// to its other twin if this is its first modification since the last checkpoint.
    pub fn modify(&mut self, slot: Slot) -> &mut Block {
        if !self.is_modified(slot) {
            // From the node up to the first that is modified, then down again: a parent's bits are
            // cleared before its child's is set.
            let mut chain: heapless::Vec<Slot, { super::cache::RANKS }> = heapless::Vec::new();
            let mut at = slot;
            while !self.is_modified(at) {
                chain.push(at).expect("ranks rise along the chain");
                match self.cache.node(at).parent {
                    Parent::Root(_) => break,
                    Parent::Node(parent, _) => at = parent,
                }
            }
            for at in chain.into_iter().rev() {
                self.switch_twin(at);
            }
        }
        let node = self.cache.node_mut(slot);
        node.dirty = true;
        Rc::make_mut(&mut node.content)
    }

    fn switch_twin(&mut self, slot: Slot) {
        let (parent, key) = (self.cache.node(slot).parent, self.cache.node(slot).key);
        let old = self.parent_pointer(parent).unwrap_or_default();
        let mut pointer = Pointer::new_pair(key);
        if !old.is_null() {
            pointer.right = self.other_twin(old.right);
        }
        self.set_parent_pointer(parent, pointer);
        let epoch = self.epoch;
        let node = self.cache.node_mut(slot);
        node.epoch = epoch;
        node.dirty = true;
        node.clear_modified_bits();
    }

    /// The node behind a pointer of a node or of the root. A null pointer must have been dealt with.
    pub fn child(
        &mut self,
        parent: Parent,
        pointer: Pointer,
        kind: Kind,
        rank: Rank,
    ) -> Step<Slot> {
        if let Some(slot) = self.cache.find(pointer.block) {
            // A hostile volume may use one block in two places.
            if self.cache.node(slot).parent != parent {
                return Err(Error::Corrupt.into());
            }
            return Ok(slot);
        }
        let parent_key = match parent {
            Parent::Root(_) => 0,
            Parent::Node(slot, _) => self.cache.node(slot).key,
        };
        Err(Stop::Miss(Miss {
            parent,
            parent_key,
            pointer,
            kind,
            rank,
        }))
    }

    /// Puts a block that was read into the cache, unless something has changed meanwhile.
    pub fn arrived(&mut self, miss: &Miss, content: Rc<Block>) {
        if !self.is_current(miss) {
            return;
        }
        let mut node = Node::new(
            miss.pointer.block,
            content,
            miss.parent,
            miss.kind,
            miss.rank,
        );
        let parent_modified = match miss.parent {
            Parent::Root(_) => true,
            Parent::Node(parent, _) => self.is_modified(parent),
        };
        // As the pointer is now: while the block was being read, the parent may have been modified
        // for the first time since the checkpoint, and then the bit that was seen is an old one.
        let now = self.parent_pointer(miss.parent);
        if parent_modified && now.is_ok_and(|now| now.modified) {
            node.epoch = self.epoch;
        }
        self.cache.insert(node);
    }

    /// Whether the block is still missing and still what it was.
    pub fn is_current(&mut self, miss: &Miss) -> bool {
        if self.cache.find(miss.pointer.block).is_some() {
            return false;
        }
        let parent_is_there = match miss.parent {
            Parent::Root(_) => true,
            Parent::Node(slot, _) => self
                .cache
                .get(slot)
                .is_some_and(|node| node.key == miss.parent_key),
        };
        parent_is_there
            && self.parent_pointer(miss.parent).is_ok_and(|now| {
                (now.block, now.right, now.checksum)
                    == (
                        miss.pointer.block,
                        miss.pointer.right,
                        miss.pointer.checksum,
                    )
            })
    }

    /// The node of block `index` of a static area. One that was never written is made of zeros.
    pub fn static_node(&mut self, tree: Tree, index: u64) -> Step<Slot> {
        let levels = self.root.layout.levels(tree).len();
        // Up to the first level that is in memory, then down.
        let mut height = 0;
        let mut found = None;
        while height < levels {
            found = self.cache.find(self.static_key(tree, height, index));
            if found.is_some() {
                break;
            }
            height += 1;
        }
        let mut slot = found;
        while height > 0 || slot.is_none() {
            let child = if slot.is_some() {
                height - 1
            } else {
                levels - 1
            };
            let at = static_index(index, child);
            let parent = match slot {
                None => Parent::Root(tree.index() * TOP_POINTERS_MAX as usize + at as usize),
                Some(slot) => Parent::Node(slot, at as usize % POINTERS_PER_BLOCK * POINTER_BYTES),
            };
            slot = Some(self.static_child(tree, child, index, parent)?);
            height = child;
        }
        slot.ok_or(Stop::Fail(Error::Corrupt))
    }

    /// The node of block `index` if it is in memory.
    pub fn static_node_if_cached(&mut self, tree: Tree, index: u64) -> Option<Slot> {
        let key = self.static_key(tree, 0, index);
        self.cache.find(key)
    }

    /// Whether this call has found block `index` of a bitmap corrupt.
    pub fn is_lost(&self, tree: Tree, index: u64) -> bool {
        !self.lost.is_empty() && self.lost.contains(&self.static_key(tree, 0, index))
    }

    fn static_key(&self, tree: Tree, height: usize, index: u64) -> u64 {
        let level = self.root.layout.levels(tree)[height];
        self.root
            .layout
            .left_twin(level, static_index(index, height))
    }

    fn static_child(
        &mut self,
        tree: Tree,
        height: usize,
        index: u64,
        parent: Parent,
    ) -> Step<Slot> {
        let key = self.static_key(tree, height, index);
        let pointer = self.parent_pointer(parent)?;
        let kind = match (height, tree) {
            (0, Tree::InodeTable) => Kind::Inodes,
            (0, _) => Kind::Bitmap,
            _ => Kind::Pointers,
        };
        let rank = STATIC_RANK + height as Rank;
        if pointer.is_null() {
            let content = Rc::new([0; BLOCK_BYTES]);
            return Ok(self
                .cache
                .insert(Node::new(key, content, parent, kind, rank)));
        }
        if pointer.block != key || !pointer.protected {
            return Err(Error::Corrupt.into());
        }
        self.child(parent, pointer, kind, rank)
    }

    /// The node that holds an inode, and the inode's offset in it.
    pub fn inode_node(&mut self, file: FileNumber) -> Step<(Slot, usize)> {
        if file.0 == 0 || file.0 >= self.root.layout.inodes {
            return Err(Error::NotFound.into());
        }
        let slot = self.static_node(Tree::InodeTable, file.0 / INODES_PER_BLOCK)?;
        Ok((
            slot,
            (file.0 % INODES_PER_BLOCK) as usize * super::layout::INODE_BYTES,
        ))
    }

    /// The attributes of a file, with the place of its inode.
    pub fn inode(&mut self, file: FileNumber) -> Step<(Slot, usize, Attributes)> {
        let (slot, offset) = self.inode_node(file)?;
        let bytes = &self.cache.node(slot).content[offset..offset + super::layout::INODE_BYTES];
        let attributes = super::inode::decode(bytes)?.ok_or(Error::NotFound)?;
        if attributes.size > super::file_tree::FILE_BYTES_MAX {
            return Err(Error::Corrupt.into());
        }
        Ok((slot, offset, attributes))
    }

    /// Changes the attributes of a file.
    pub fn set_inode(&mut self, slot: Slot, offset: usize, attributes: &Attributes) {
        let content = self.modify(slot);
        let bytes = &mut content[offset..offset + super::layout::INODE_BYTES];
        super::inode::encode(attributes, bytes);
    }
}

fn static_index(index: u64, height: usize) -> u64 {
    index / (POINTERS_PER_BLOCK as u64).pow(height as u32)
}

#[cfg(test)]
mod tests;
