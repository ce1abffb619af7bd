//! What a guest's disks were asked for, as QEMU counts it: the same on any host, however busy.

use std::iter::Sum;
use std::ops::Sub;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Guest;

/// Requests and bytes of all disks, since power-on or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskWork {
    /// Requests that read.
    pub reads: u64,
    /// Requests that wrote.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl DiskWork {
    /// From what QEMU says of one disk.
    fn of(statistics: &Value) -> Option<Self> {
        let number = |name: &str| statistics[name].as_u64();
        Some(Self {
            reads: number("rd_operations")?,
            writes: number("wr_operations")?,
            flushes: number("flush_operations")?,
            bytes_read: number("rd_bytes")?,
            bytes_written: number("wr_bytes")?,
        })
    }
}

impl Sum for DiskWork {
    fn sum<I: Iterator<Item = Self>>(disks: I) -> Self {
        disks.fold(Self::default(), |sum, disk| Self {
            reads: sum.reads + disk.reads,
            writes: sum.writes + disk.writes,
            flushes: sum.flushes + disk.flushes,
            bytes_read: sum.bytes_read + disk.bytes_read,
            bytes_written: sum.bytes_written + disk.bytes_written,
        })
    }
}

impl Sub for DiskWork {
    type Output = Self;

    /// What came after `before`.
    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(before.reads),
            writes: self.writes.saturating_sub(before.writes),
            flushes: self.flushes.saturating_sub(before.flushes),
            bytes_read: self.bytes_read.saturating_sub(before.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(before.bytes_written),
        }
    }
}

impl Guest {
    /// What all disks together were asked for since power-on.
    ///
    /// # Errors
    /// If QEMU does not say.
    pub fn disk_work(&mut self) -> Result<DiskWork> {
        let told = self.monitor().execute("query-blockstats", &json!({}))?;
        let disks = told.as_array().context("QEMU lists no disks")?;
        let work: Option<DiskWork> = disks.iter().map(|it| DiskWork::of(&it["stats"])).sum();
        work.context("QEMU does not say what its disks were asked for")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_two_looks_is_their_difference() {
        let look = |reads: u64| {
            DiskWork::of(&json!({
                "rd_operations": reads, "wr_operations": 2, "flush_operations": 3,
                "rd_bytes": 4096 * reads, "wr_bytes": 5, "rd_total_time_ns": 6,
            }))
            .expect("statistics")
        };
        let both: DiskWork = [look(7), look(8)].into_iter().sum();
        assert_eq!((both.reads, both.writes, both.flushes), (15, 4, 6));
        let between = both - look(8);
        assert_eq!((between.reads, between.bytes_read), (7, 7 * 4096));
        assert_eq!(DiskWork::of(&json!({ "rd_operations": 1 })), None);
    }
}
