//! What the cache has done, in numbers.

/// Counters since the cache was made, and a few sizes as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Pages read that were in the cache.
    pub hits: u64,
    /// Pages read or modified that had to be fetched from below.
    pub misses: u64,
    /// Pages fetched from below, read-ahead included.
    pub pages_fetched: u64,
    /// Read calls that brought them.
    pub reads_below: u64,
    /// Pages given up to make room.
    pub evictions: u64,
    /// Pages written down.
    pub pages_written: u64,
    /// Write calls that took them down.
    pub writes_below: u64,
    /// Calls of any kind to the layer below.
    pub calls_below: u64,
    /// Checksums computed.
    pub checksums: u64,
    /// Bytes copied from and to callers.
    pub bytes_copied: u64,
    /// Pages copied because a write left a part of them standing.
    pub copies_on_write: u64,
    /// Checkpoints made.
    pub syncs: u64,
    /// Recoveries from a crash below, or from the cache's own death.
    pub recoveries: u64,
    /// Those of `recoveries` that cleared the log, because a checkpoint was complete.
    pub recoveries_cleared: u64,
    /// Deaths in the middle of attaching again.
    pub recoveries_broken_off: u64,
    /// Crashes that came before what the last one had undone was below again.
    pub recoveries_overtaken: u64,
    /// Calls that made, deleted or cut files again that a crash had undone.
    pub redo_calls: u64,
    /// From the notice of the last crash until calls went on, nanoseconds.
    pub recovery_ns_last: u64,
    /// The longest such time, nanoseconds.
    pub recovery_ns_max: u64,
    /// From the notice of the last crash until all that it had undone was below again, nanoseconds.
    pub below_again_ns_last: u64,
    /// Pages in the cache now, those kept by the log alone not counted.
    pub pages: u64,
    /// Pages newer than below now.
    pub dirty_pages: u64,
    /// Pages in the roll-forward log now.
    pub log_pages: u64,
    /// Those of `log_pages` that are out of the cache and kept by the log alone.
    pub log_pages_kept: u64,
    /// Most pages in the roll-forward log ever.
    pub log_pages_max: u64,
    /// Files with a record in the roll-forward log now.
    pub log_files: u64,
    /// Files known now.
    pub files: u64,
}
