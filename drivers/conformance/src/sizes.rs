//! Every size and alignment, and segments of odd shapes.

use alloc::{vec, vec::Vec};

use storage::block::{BlockDevice, SECTOR_BYTES};

use crate::{
    Checked, Suite,
    buffer::{SEGMENTS_MAX, Scatter},
};

impl<D: BlockDevice> Suite<'_, D> {
    /// Every length up to the bound, at every place modulo eight blocks, from and into memory at
    /// changing offsets; with the blocks before and behind, which must stay as they were.
    pub async fn every_size_and_alignment(&mut self) -> Checked {
        let block = self.block_bytes();
        let alignment = u64::from(self.geometry.alignment_sectors);
        for blocks in 1..=self.options.blocks_max {
            for place in 1..=8 {
                let bytes = blocks as usize * block;
                if bytes + 2 * block > self.geometry.transfer_bytes_max as usize
                    || (place + blocks + 1) * alignment > self.model.sectors()
                {
                    continue;
                }
                let offset = (blocks * 8 + place) as usize % 17;
                self.write(place * alignment, &[(offset, bytes)]).await?;
                let around = bytes + 2 * block;
                self.read((place - 1) * alignment, &[(16 - offset, around)])
                    .await?;
            }
        }
        Ok(())
    }

    /// Doubling lengths up to the longest request, and the longest itself.
    pub async fn large_sizes(&mut self) -> Checked {
        let window = self.model.sectors() as usize * SECTOR_BYTES;
        let longest = (self.geometry.transfer_bytes_max as usize).min(window);
        let longest = longest - longest % self.block_bytes();
        let mut bytes = self.block_bytes();
        loop {
            self.write(0, &[(7, bytes)]).await?;
            self.read(0, &[(0, bytes)]).await?;
            if bytes == longest {
                return Ok(());
            }
            bytes = (2 * bytes).min(longest);
        }
    }

    /// The last blocks of the device, which no off-by-one may reach or miss.
    pub async fn last_blocks(&mut self) -> Checked {
        let alignment = u64::from(self.geometry.alignment_sectors);
        let block = self.block_bytes();
        let first = self.geometry.sectors - 2 * alignment;
        if first < self.model.sectors() {
            // The window ends there too, and the model knows these blocks.
            return self.write(first, &[(0, 2 * block)]).await;
        }
        let tail = Scatter::pattern(&[(1, 2 * block)], &mut self.random);
        let result = self.device.write(first, tail.source()).await;
        self.expect("write of the last two blocks", &result, &Ok(()))?;
        for (sector, skip, len) in [
            (first, 0, 2 * block),
            (first, 0, block),
            (first + alignment, block, block),
        ] {
            let mut found = Scatter::pattern(&[(9, len)], &mut self.random);
            let result = self.device.read(sector, found.sink()).await;
            self.expect("read of the last blocks", &result, &Ok(()))?;
            self.check(
                found.bytes() == tail.bytes()[skip..skip + len] && found.guards_hold(),
                "the last blocks read as written",
            )?;
        }
        Ok(())
    }

    /// Segments that end anywhere: single bytes, just off a sector or a page, and random ones.
    pub async fn odd_segments(&mut self) -> Checked {
        let block = self.block_bytes();
        let mut shapes: Vec<Vec<(usize, usize)>> = vec![
            vec![(0, 1), (0, block - 1)],
            vec![(0, block - 1), (1, 1)],
            vec![(5, 13), (3, block - 30), (1, 17)],
            vec![(4095 - 32, 2), (0, 2 * block - 2)],
            vec![(0, block), (4000, block), (1, block), (2, block)],
            vec![(0, block / 2), (0, block), (0, block / 2)],
            (0..SEGMENTS_MAX - 1)
                .map(|_| (0, 1))
                .chain([(0, block + 1 - SEGMENTS_MAX)])
                .collect(),
            (0..SEGMENTS_MAX).map(|index| (index % 5, block)).collect(),
        ];
        for _ in 0..self.options.rounds {
            shapes.push(self.random_shape(4 * block));
        }
        let longest = self.geometry.transfer_bytes_max as usize;
        for shape in shapes {
            let bytes: usize = shape.iter().map(|&(_, len)| len).sum();
            if bytes > longest || bytes > self.model.sectors() as usize * SECTOR_BYTES {
                continue;
            }
            self.write(0, &shape).await?;
            self.read(0, &[(0, bytes)]).await?;
            self.write(0, &[(0, bytes)]).await?;
            self.read(0, &shape).await?;
        }
        Ok(())
    }

    /// Cuts `bytes` at random places.
    fn random_shape(&mut self, bytes: usize) -> Vec<(usize, usize)> {
        let mut shape = Vec::new();
        let mut rest = bytes;
        while rest > 0 && shape.len() < SEGMENTS_MAX - 1 {
            let len = 1 + self.random.below(rest as u64) as usize;
            shape.push((self.random.below(64) as usize, len));
            rest -= len;
        }
        if rest > 0 {
            shape.push((0, rest));
        }
        shape
    }
}
