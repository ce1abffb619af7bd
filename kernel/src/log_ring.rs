//! The kernel's log: records of text in a ring of bytes that the console reads.
//!
//! When nobody reads, the oldest records make room and are counted, so that the end of a story, which is
//! where the cause of a failure stands, is never what is lost.

use alloc::{collections::VecDeque, string::String};
use core::fmt::Write;

/// Bytes of text that one record can have; longer ones are cut.
pub const RECORD_BYTES_MAX: usize = 640;

/// Records waiting for the console.
pub struct LogRing {
    records: VecDeque<String>,
    bytes: usize,
    bytes_max: usize,
    lost: u64,
}

impl LogRing {
    /// A ring that holds up to `bytes_max` bytes of records.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            bytes_max,
            lost: 0,
        }
    }

    /// Adds a record: `time_ns level role text`, one line whatever the text contains.
    pub fn push(&mut self, time_ns: u64, level: u64, role: &str, text: &str) {
        let mut record = String::new();
        // Writing to a string cannot fail.
        let _ = write!(record, "{time_ns} {level} {role} ");
        for character in text.trim_end().chars() {
            if record.len() >= RECORD_BYTES_MAX - 4 {
                break;
            }
            record.push(if character.is_control() {
                ' '
            } else {
                character
            });
        }
        record.push('\n');
        while self.bytes + record.len() > self.bytes_max {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            self.lost += 1;
        }
        self.bytes += record.len();
        self.records.push_back(record);
    }

    /// Moves whole records into `into`; returns the bytes written. If records were lost, a record
    /// that says how many comes first.
    pub fn pop(&mut self, into: &mut [u8]) -> usize {
        if self.lost > 0 {
            let lost = core::mem::take(&mut self.lost);
            let mut record = String::new();
            let _ = writeln!(
                record,
                "0 2 kernel {lost} log records were lost before this one"
            );
            self.bytes += record.len();
            self.records.push_front(record);
        }
        let mut used = 0;
        while let Some(record) = self.records.front() {
            let Some(target) = into.get_mut(used..used + record.len()) else {
                break;
            };
            target.copy_from_slice(record.as_bytes());
            used += record.len();
            self.bytes -= record.len();
            self.records.pop_front();
        }
        used
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_whole_and_in_order() {
        let mut ring = LogRing::new(1_000);
        ring.push(1, 3, "cache", "one\ntwo\r\n");
        ring.push(2, 4, "cache", "three");
        let mut buffer = [0; 30];
        let used = ring.pop(&mut buffer);
        assert_eq!(&buffer[..used], b"1 3 cache one two\n");
        let used = ring.pop(&mut buffer);
        assert_eq!(&buffer[..used], b"2 4 cache three\n");
        assert!(ring.is_empty());
    }

    #[test]
    fn the_newest_records_survive_and_the_loss_is_told() {
        let mut ring = LogRing::new(100);
        (0..50).for_each(|i| ring.push(i, 3, "x", "0123456789"));
        let mut buffer = [0; 4096];
        let used = ring.pop(&mut buffer);
        let text = core::str::from_utf8(&buffer[..used]).unwrap();
        assert!(text.starts_with("0 2 kernel "), "{text}");
        assert!(text.ends_with("49 3 x 0123456789\n"), "{text}");
        assert!(text.len() < 200);
    }
}
