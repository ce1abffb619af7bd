//! A tree made up from a seed: every size at which something could go wrong, names of all kinds.

use super::{Content, Tree};

/// Sizes in bytes at the edges of blocks, pages and pointers.
const EDGES: [usize; 12] = [
    0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 65_535, 65_536, 1_048_577,
];

/// The largest file, but for the edges.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Files in a folder.
const FOLDER_FILES: u64 = 40;

/// A small generator of pseudo-random numbers (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// The sequence of this seed.
    fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next number.
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next number below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// So many bytes.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// A tree with at least `bytes` in its files.
#[must_use]
pub fn made_up(seed: u64, bytes: u64) -> Tree {
    let mut random = Random::new(seed);
    let mut tree = Tree::default();
    let (mut total, mut number) = (0, 0);
    while total < bytes || number < EDGES.len() as u64 {
        let size = size(number, bytes - total.min(bytes), &mut random);
        let bytes = random.bytes(size);
        total += size as u64;
        let path = path(number, &mut random);
        tree.insert(
            &path,
            Content::File {
                bytes,
                executable: random.below(8) == 0,
            },
        );
        if random.below(10) == 0 {
            let target = format!("file-{number}");
            tree.insert(
                &[&path, b".link".as_slice()].concat(),
                Content::Link(target.into()),
            );
        }
        number += 1;
    }
    tree.insert(b"an empty folder", Content::Directory);
    tree
}

fn size(number: u64, left: u64, random: &mut Random) -> usize {
    if let Some(edge) = EDGES.get(number as usize) {
        return *edge;
    }
    // Most files are small, most bytes are in large ones.
    let most = if random.below(10) == 0 {
        FILE_BYTES_MAX
    } else {
        32 << 10
    };
    random.below(most.min(left).max(1)) as usize + 1
}

fn path(number: u64, random: &mut Random) -> Vec<u8> {
    let folder = number / FOLDER_FILES;
    let name = match random.below(20) {
        0 => format!("file with spaces and 'quotes' {number}"),
        1 => format!("Фichier-漢字-{number}"),
        2 => format!("{}-{number}", "long-name".repeat(20)),
        3 => format!("deep/{}/file-{number}", ["er"; 8].join("/")),
        _ => format!("file-{number}"),
    };
    format!("folder-{folder}/{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_tree_and_another_another() {
        let tree = made_up(1, 3 << 20);
        assert_eq!(tree, made_up(1, 3 << 20));
        assert_ne!(tree, made_up(2, 3 << 20));
        let (files, bytes) = tree.size();
        assert!(
            files > 40 && (3 << 20..6 << 20).contains(&bytes),
            "{files} files, {bytes} bytes"
        );
        let longest = tree
            .entries()
            .flat_map(|(path, _)| path.split(|byte| *byte == b'/'));
        assert!(
            longest
                .map(<[u8]>::len)
                .max()
                .is_some_and(|longest| longest <= 255)
        );
    }
}
