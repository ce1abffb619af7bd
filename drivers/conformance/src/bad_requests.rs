//! Requests that a device must refuse, and that must leave no trace.

use alloc::{format, string::String, vec::Vec};

use storage::{
    Error,
    block::{BlockDevice, SECTOR_BYTES},
};

use crate::{Checked, Suite, buffer::Scatter};

/// A request for data that must be refused.
struct Bad {
    what: String,
    sector: u64,
    bytes: usize,
}

impl<D: BlockDevice> Suite<'_, D> {
    fn bad(&self) -> Vec<Bad> {
        let block = self.block_bytes();
        let end = self.geometry.sectors;
        let alignment = u64::from(self.geometry.alignment_sectors);
        let longest = self.geometry.transfer_bytes_max as usize;
        let mut bad = Vec::new();
        let mut add = |what: &str, sector, bytes| {
            bad.push(Bad {
                what: format!("{what} ({bytes} bytes at {sector})"),
                sector,
                bytes,
            });
        };
        add("nothing", 0, 0);
        add("nothing at the end", end, 0);
        add("one byte", 0, 1);
        add("one byte less than a block", 0, block - 1);
        add("one byte more than a block", 0, block + 1);
        add("behind the end", end, block);
        add("across the end", end - alignment, 2 * block);
        add("far behind the end", end + (1 << 40), block);
        add("the last sector there can be", u64::MAX, block);
        add("a range that wraps", u64::MAX - alignment + 1, 2 * block);
        add(
            "a byte offset that wraps",
            u64::MAX / SECTOR_BYTES as u64 + 1,
            block,
        );
        add("longer than allowed", 0, longest + block);
        if alignment > 1 {
            add("part of a block", 0, SECTOR_BYTES);
            add("a block and a part", 0, block + SECTOR_BYTES);
            add("a block off its place", 1, block);
        }
        bad
    }

    pub async fn bad_requests(&mut self) -> Checked {
        for bad in self.bad() {
            let mut scatter = Scatter::pattern(&[(3, bad.bytes)], &mut self.random);
            let result = self.device.read(bad.sector, scatter.sink()).await;
            let refused = Err(Error::BadArgument);
            self.expect(&format!("read of {}", bad.what), &result, &refused)?;
            self.check(scatter.is_unchanged(), "a refused read writes nothing")?;
            let result = self.device.write(bad.sector, scatter.source()).await;
            self.refused(&format!("write of {}", bad.what), &result)?;
            if bad.bytes.is_multiple_of(SECTOR_BYTES)
                && bad.bytes <= self.geometry.transfer_bytes_max as usize
            {
                let sectors = (bad.bytes / SECTOR_BYTES) as u64;
                let result = self.device.discard(bad.sector, sectors).await;
                self.refused(&format!("discard of {}", bad.what), &result)?;
                let result = self.device.write_zeroes(bad.sector, sectors).await;
                self.refused(&format!("write-zeroes of {}", bad.what), &result)?;
            }
        }
        let wraps = self.device.write_zeroes(8, u64::MAX - 7).await;
        self.refused("write-zeroes of a range that wraps to zero", &wraps)?;
        let wraps = self.device.discard(8, u64::MAX - 7).await;
        self.refused("discard of a range that wraps to zero", &wraps)?;
        self.not_offered().await
    }

    /// A read-only device may refuse a bad write for either reason.
    fn refused(&mut self, what: &str, result: &storage::Result<()>) -> Checked {
        if self.geometry.read_only && *result == Err(Error::ReadOnly) {
            return self.expect(what, result, &Err(Error::ReadOnly));
        }
        self.expect(what, result, &Err(Error::BadArgument))
    }

    /// What a device does not offer it refuses, rather than to do nothing.
    async fn not_offered(&mut self) -> Checked {
        let alignment = u64::from(self.geometry.alignment_sectors);
        if self.geometry.read_only {
            let scatter = Scatter::pattern(&[(0, self.block_bytes())], &mut self.random);
            let result = self.device.write(0, scatter.source()).await;
            self.expect(
                "write to a read-only device",
                &result,
                &Err(Error::ReadOnly),
            )?;
            let result = self.device.discard(0, alignment).await;
            self.expect(
                "discard on a read-only device",
                &result,
                &Err(Error::ReadOnly),
            )?;
            let result = self.device.write_zeroes(0, alignment).await;
            return self.expect("write-zeroes on one", &result, &Err(Error::ReadOnly));
        }
        if !self.geometry.discard {
            let result = self.device.discard(0, alignment).await;
            self.expect(
                "discard that is not offered",
                &result,
                &Err(Error::BadArgument),
            )?;
        }
        if !self.geometry.write_zeroes {
            let result = self.device.write_zeroes(0, alignment).await;
            self.expect(
                "write-zeroes that is not offered",
                &result,
                &Err(Error::BadArgument),
            )?;
        }
        Ok(())
    }
}
