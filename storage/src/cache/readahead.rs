//! Read-ahead: a file read in order is fetched in ever larger pieces.

/// Pages fetched beyond what is asked for, the first time.
const FIRST: u64 = 4;

/// What reads of one file have been like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadAhead {
    /// Where the last read ended, bytes. A file's first read at its start counts as in order.
    next: u64,
    /// Pages to fetch beyond what is asked for.
    window: u64,
}

impl ReadAhead {
    /// A read of these bytes begins. Whether it goes on where the last one ended.
    pub fn read(&mut self, offset: u64, len: u64) -> bool {
        let goes_on = offset == self.next;
        if !goes_on {
            self.window = 0;
        } else if self.window == 0 {
            self.window = FIRST;
        }
        self.next = offset + len;
        goes_on
    }

    /// Pages to fetch, of which `wanted` are asked for: at most `max`. The window doubles.
    pub fn extend(&mut self, wanted: u64, max: u64) -> u64 {
        let count = (wanted + self.window).min(max);
        self.window = (self.window * 2).min(max);
        count.max(wanted)
    }
}
