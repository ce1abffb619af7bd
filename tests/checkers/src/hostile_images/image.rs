//! A disk as the document describes it, to be changed with all its checksums.

use std::{collections::HashSet, rc::Rc};

use storage::block::{SECTOR_BYTES, ram::RamDisk};

use crate::format::{
    BLOCK_BYTES, Block, Child, Kind, Pointer, ROOT_PLACES, Root, RootPlace, children, seal, tops,
    u64_at,
};

const SECTORS: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// The physical file with the mapping, and what an entry of it has.
const MAPPING: u64 = 1;
const ENTRY_BYTES: u64 = 64;
const ENTRY_COPIES: usize = 16;

/// A block that the newest checkpoint refers to.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Where it is.
    pub place: u64,
    /// What it is.
    pub kind: Kind,
    /// The node that points to it; none: the root.
    pub parent: Option<usize>,
    /// Where in that.
    pub at: usize,
}

/// A disk, and what was found on it.
pub struct Image {
    /// The disk.
    pub disk: Rc<RamDisk>,
    /// Its newest checkpoint.
    pub root: Box<Root>,
    /// All blocks of it, parents first.
    pub nodes: Vec<Node>,
    /// Blocks that no longer say what they said.
    pub touched: HashSet<u64>,
}

impl Image {
    /// Walks a sound disk.
    #[must_use]
    pub fn new(disk: Rc<RamDisk>) -> Self {
        let at = |place: u64| match Root::read(&block(&disk, place), place) {
            RootPlace::Root(root) => Some(root),
            _ => None,
        };
        let newest = ROOT_PLACES
            .into_iter()
            .filter_map(at)
            .max_by_key(|root| root.timestamp);
        let root = newest.expect("a volume");
        let mut nodes: Vec<Node> = Vec::new();
        let add = |nodes: &mut Vec<Node>, found: Vec<Child>, parent| {
            for Child { kind, at, pointer } in found {
                let place = pointer.map(|Pointer { place, .. }| place);
                nodes.extend(place.map(|place| Node {
                    place,
                    kind,
                    parent,
                    at,
                }));
            }
        };
        add(&mut nodes, tops(&root), None);
        let mut next = 0;
        while let Some(node) = nodes.get(next).copied() {
            let found = children(node.kind, &block(&disk, node.place), &root.layout);
            add(&mut nodes, found, Some(next));
            next += 1;
        }
        Self {
            disk,
            root,
            nodes,
            touched: HashSet::new(),
        }
    }

    /// A block.
    #[must_use]
    pub fn block(&self, place: u64) -> Block {
        block(&self.disk, place)
    }

    /// Changes a block and nothing else.
    pub fn damage(&mut self, place: u64, change: impl FnOnce(&mut Block)) {
        let mut bytes = self.block(place);
        change(&mut bytes);
        self.disk.poke(place * SECTORS, &bytes);
        self.touched.insert(place);
    }

    /// Changes a block of the checkpoint, and every checksum above it.
    pub fn forge(&mut self, node: usize, change: impl FnOnce(&mut Block)) {
        let Node {
            place, parent, at, ..
        } = self.nodes[node];
        self.damage(place, change);
        let (mut sum, mut above) = (self.root.algorithm.of(&self.block(place)), (parent, at));
        while let (Some(parent), at) = above {
            let node = self.nodes[parent];
            let mut bytes = self.block(node.place);
            bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            self.disk.poke(node.place * SECTORS, &bytes);
            sum = self.root.algorithm.of(&bytes);
            above = (node.parent, node.at);
        }
        let at = above.1;
        self.forge_root(|root| root[at..at + 8].copy_from_slice(&sum.to_le_bytes()));
    }

    /// Changes the root block, and its own checksum.
    pub fn forge_root(&mut self, change: impl FnOnce(&mut Block)) {
        change(&mut self.root.block);
        seal(&mut self.root.block, self.root.algorithm);
        let place = self.root_place();
        self.disk.poke(place * SECTORS, &self.root.block[..]);
    }

    /// Where the newest root block is.
    #[must_use]
    pub fn root_place(&self) -> u64 {
        ROOT_PLACES[(self.root.timestamp % 2) as usize]
    }

    /// The nodes of this kind.
    pub fn of(&self, wanted: impl Fn(Kind) -> bool) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| wanted(self.nodes[node].kind))
            .collect()
    }

    /// The physical file of a logical one; none if the mapping has none.
    #[must_use]
    pub fn physical(&self, logical: u64) -> Option<u64> {
        let byte = logical * ENTRY_BYTES;
        let wanted = Kind::Data(MAPPING, byte / BLOCK_BYTES as u64);
        let node = self.of(|kind| kind == wanted).first().copied()?;
        let within = (byte % BLOCK_BYTES as u64) as usize;
        // All stores of these volumes are made alike, so every copy has the same number.
        Some(u64_at(
            &self.block(self.nodes[node].place),
            within + ENTRY_COPIES,
        ))
    }

    /// All blocks that reading a logical file needs, but for the static trees and the root.
    #[must_use]
    pub fn needs(&self, logical: u64) -> HashSet<u64> {
        let of = |file: u64| {
            self.nodes.iter().filter(move |node| match node.kind {
                Kind::Data(owner, _) | Kind::Indirect(owner, ..) => owner == file,
                Kind::Static(area, 0, index) => {
                    area == crate::format::Area::InodeTable && index == file / 8
                }
                Kind::Static(..) => false,
            })
        };
        let physical = self.physical(logical).unwrap_or(0);
        let nodes = of(MAPPING).chain(of(physical));
        nodes.map(|node| node.place).collect()
    }
}

fn block(disk: &RamDisk, place: u64) -> Block {
    let bytes = disk.peek(place * SECTORS, BLOCK_BYTES);
    bytes.try_into().expect("peek returns what it is asked for")
}
