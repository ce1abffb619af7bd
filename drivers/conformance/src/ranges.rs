//! Write-zeroes and discard, where they are offered.

use storage::block::BlockDevice;

use crate::{Checked, Suite};

/// Ranges to try, in blocks: first, count.
const RANGES: [(u64, u64); 6] = [(4, 1), (5, 2), (3, 8), (0, 1), (0, 16), (7, 25)];

impl<D: BlockDevice> Suite<'_, D> {
    /// Zeroed blocks read as zeros, and their neighbours as before.
    pub async fn zeroes(&mut self) -> Checked {
        if !self.geometry.write_zeroes {
            return Ok(());
        }
        let alignment = u64::from(self.geometry.alignment_sectors);
        for (first, count) in RANGES {
            self.write(0, &[(0, 32 * self.block_bytes())]).await?;
            let (sector, sectors) = (first * alignment, count * alignment);
            let result = self.device.write_zeroes(sector, sectors).await;
            self.expect("write-zeroes", &result, &Ok(()))?;
            self.model.zero(sector, sectors);
            self.read(0, &[(0, 32 * self.block_bytes())]).await?;
        }
        let sectors = self.model.sectors();
        let result = self.device.write_zeroes(0, sectors).await;
        self.expect("write-zeroes of the whole window", &result, &Ok(()))?;
        self.model.zero(0, sectors);
        self.compare_window().await?;
        self.fill_window().await
    }

    /// Discarded blocks may read as anything; their neighbours read as before, and what is written
    /// to them afterwards is there.
    pub async fn discards(&mut self) -> Checked {
        if !self.geometry.discard {
            return Ok(());
        }
        let alignment = u64::from(self.geometry.alignment_sectors);
        for (first, count) in RANGES {
            self.write(0, &[(0, 32 * self.block_bytes())]).await?;
            let (sector, sectors) = (first * alignment, count * alignment);
            let result = self.device.discard(sector, sectors).await;
            self.expect("discard", &result, &Ok(()))?;
            self.model.forget(sector, sectors);
            self.read(0, &[(0, 32 * self.block_bytes())]).await?;
            self.write(sector, &[(1, count as usize * self.block_bytes())])
                .await?;
            self.read(0, &[(0, 32 * self.block_bytes())]).await?;
        }
        let sectors = self.model.sectors();
        let result = self.device.discard(0, sectors).await;
        self.expect("discard of the whole window", &result, &Ok(()))?;
        self.model.forget(0, sectors);
        self.fill_window().await
    }
}
