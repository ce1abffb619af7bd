//! A file of the fake: its attributes and the blocks that are not holes.

use std::collections::BTreeMap;

use storage::{BLOCK_BYTES, file::Attributes};

/// A file: its attributes and the blocks that are not holes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct File {
    pub attributes: Attributes,
    pub blocks: BTreeMap<u64, Vec<u8>>,
}

impl File {
    /// Bytes from `offset` on, up to the end.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let len = self
            .attributes
            .size
            .saturating_sub(offset)
            .min(into.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let step = (BLOCK_BYTES - within).min(len - done);
            let target = &mut into[done..done + step];
            match self.blocks.get(&(at / BLOCK_BYTES as u64)) {
                Some(block) => target.copy_from_slice(&block[within..within + step]),
                None => target.fill(0),
            }
            done += step;
        }
        len
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let step = (BLOCK_BYTES - within).min(data.len() - done);
            let block = self.blocks.entry(at / BLOCK_BYTES as u64);
            let block = block.or_insert_with(|| vec![0; BLOCK_BYTES]);
            block[within..within + step].copy_from_slice(&data[done..done + step]);
            done += step;
        }
        self.attributes.size = self.attributes.size.max(offset + data.len() as u64);
    }

    pub fn truncate(&mut self, size: u64) {
        let block_bytes = BLOCK_BYTES as u64;
        self.blocks.retain(|&block, _| block * block_bytes < size);
        if let Some(last) = self.blocks.get_mut(&(size / block_bytes)) {
            last[(size % block_bytes) as usize..].fill(0);
        }
        self.attributes.size = size;
    }

    /// All bytes of a small file.
    pub fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.attributes.size as usize];
        self.read(0, &mut bytes);
        bytes
    }
}
