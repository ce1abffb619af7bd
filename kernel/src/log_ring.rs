//! The kernel's log: records of text in a ring of bytes that the console reads.
//!
//! When nobody reads, the oldest records make room and are counted, so that the end of a story, which is
//! where the cause of a failure stands, is never what is lost.

use alloc::{collections::VecDeque, string::String};
use core::fmt::{self, Write};

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
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            bytes_max,
            lost: 0,
        }
    }

    /// Adds a record: `time_ns level role text`, one line whatever the text contains. Returns it.
    pub fn push(&mut self, time_ns: u64, level: u64, role: &str, text: &str) -> &str {
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
        self.records.back().map_or("", String::as_str)
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

    /// Moves all records to where people read them. Stops where writing fails.
    pub fn write_rest(&mut self, into: &mut impl Write) -> fmt::Result {
        if self.lost > 0 {
            writeln!(into, "({} log records were lost)", self.lost)?;
            self.lost = 0;
        }
        while let Some(record) = self.records.pop_front() {
            self.bytes -= record.len();
            write_line(into, &record)?;
        }
        Ok(())
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Writes a record as people read it; one of level 0 is for programs, and left out.
pub fn write_line(into: &mut impl Write, record: &str) -> fmt::Result {
    let mut parts = record.trim_end().splitn(4, ' ');
    let mut part = || parts.next().unwrap_or("");
    let (time_ns, level, role, text) = (part(), part(), part(), part());
    if level == "0" {
        return Ok(());
    }
    let ms = time_ns.parse().unwrap_or(0_u64) / 1_000_000;
    writeln!(into, "[{:>5}.{:03}] {role}: {text}", ms / 1000, ms % 1000)
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
        for i in 0..50 {
            ring.push(i, 3, "x", "0123456789");
        }
        let mut buffer = [0; 4096];
        let used = ring.pop(&mut buffer);
        let text = core::str::from_utf8(&buffer[..used]).unwrap();
        assert!(text.starts_with("0 2 kernel "), "{text}");
        assert!(text.ends_with("49 3 x 0123456789\n"), "{text}");
        assert!(text.len() < 200);
    }

    #[test]
    fn what_nobody_read_is_written_for_people_as_far_as_that_goes() {
        let mut ring = LogRing::new(110);
        ring.push(0, 3, "x", "makes room for the others, which are to be seen");
        assert_eq!(
            ring.push(61_234_567_890, 1, "naming", "it\nbroke\u{1b}[0m"),
            "61234567890 1 naming it broke [0m\n"
        );
        ring.push(61_234_567_891, 0, "manager", r#"{"event":"death"}"#);
        ring.push(61_300_000_000, 4, "manager", "");
        let mut text = String::new();
        ring.write_rest(&mut text).expect("a string takes it");
        let expected = "(1 log records were lost)\n\
            [   61.234] naming: it broke [0m\n[   61.300] manager: \n";
        assert_eq!(text, expected);
        assert!(ring.is_empty());
        assert_eq!(ring.bytes, 0);

        ring.push(1, 3, "a", "b");
        ring.push(2, 3, "c", "d");
        let mut full = heapless::String::<22>::new();
        assert!(
            ring.write_rest(&mut full).is_err(),
            "it would wait for ever"
        );
    }
}
