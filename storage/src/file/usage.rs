//! What is counted: how full a volume is, what the cache has done.

use serde::{Deserialize, Serialize};

/// How full a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Blocks of [`crate::BLOCK_BYTES`] in all that files can have.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Files that there can be.
    pub files: u64,
    /// Files that can still be created.
    pub files_free: u64,
    /// File stores in the volume; of a store asked by itself, one.
    pub stores: u32,
    /// File stores at work now; fewer than `stores` is a degraded volume.
    pub stores_present: u32,
}

/// What the cache has done since its instance began, for whoever measures. Everything only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Pages read that were in the cache.
    pub hits: u64,
    /// Pages read or modified that had to be fetched from below.
    pub misses: u64,
    /// Bytes copied from and to callers.
    pub bytes_copied: u64,
    /// Calls of any kind to the layer below.
    pub calls_below: u64,
    /// Those of `calls_below` that read data.
    pub reads_below: u64,
    /// Those of `calls_below` that wrote data.
    pub writes_below: u64,
    /// Checksums computed, one a block.
    pub checksums: u64,
    /// Bytes that they were computed of.
    pub bytes_checksummed: u64,
    /// Checkpoints made.
    pub syncs: u64,
    /// Pages copied because a write left a part of them standing.
    pub pages_copied: u64,
    /// Most pages that the roll-forward log ever had.
    pub log_pages_max: u64,
}

impl Work {
    /// The counters by name, but for the maximum, of which no difference can be taken.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("cache_hits", self.hits),
            ("cache_misses", self.misses),
            ("cache_bytes_copied", self.bytes_copied),
            ("cache_calls_below", self.calls_below),
            ("cache_reads_below", self.reads_below),
            ("cache_writes_below", self.writes_below),
            ("checksums", self.checksums),
            ("bytes_checksummed", self.bytes_checksummed),
            ("syncs", self.syncs),
            ("cache_pages_copied", self.pages_copied),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;

    #[test]
    fn what_a_cache_did_in_an_age_fits_a_message() {
        let work = Work {
            hits: u64::MAX,
            misses: u64::MAX,
            bytes_copied: u64::MAX,
            calls_below: u64::MAX,
            reads_below: u64::MAX,
            writes_below: u64::MAX,
            checksums: u64::MAX,
            bytes_checksummed: u64::MAX,
            syncs: u64::MAX,
            pages_copied: u64::MAX,
            log_pages_max: u64::MAX,
        };
        let message = crate::transport::encode(&Ok::<_, crate::Error>(work)).unwrap();
        let found: Result<Work> = crate::transport::decode(&message).unwrap();
        assert_eq!(found, Ok(work));
    }
}
