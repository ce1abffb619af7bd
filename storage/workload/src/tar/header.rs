//! The header record.
//!
//! ```text
//!   0 name 100 │ 100 mode 8 │ 108 uid 8 │ 116 gid 8 │ 124 size 12 │ 136 mtime 12 │ 148 checksum 8
//! 156 type 1   │ 157 link name 100 │ 257 magic 6, version 2 │ 265 user 32 │ 297 group 32
//! 329 device major 8, minor 8 │ 345 prefix 155 │ 500 unused 12
//! ```
//!
//! Numbers are octal text, ended by a space or a zero byte; GNU tar writes those that do not fit in
//! base 256, with the top bit of the first byte set.

use core::ops::Range;

use super::RECORD_BYTES;

pub(super) type Record = [u8; RECORD_BYTES];

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const PREFIX: Range<usize> = 345..500;

pub(super) const POSIX_MAGIC: &[u8; 8] = b"ustar\x0000";

/// A field of text, up to its first zero byte.
pub(super) fn text(record: &Record, field: Range<usize>) -> &[u8] {
    let bytes = &record[field];
    let len = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    &bytes[..len]
}

/// A field that is a number; an empty one is zero. Nothing if it is malformed or negative.
pub(super) fn number(record: &Record, field: Range<usize>) -> Option<u64> {
    let bytes = &record[field];
    if bytes[0] & 0x80 != 0 {
        return base_256(bytes);
    }
    let digits = bytes.iter().skip_while(|&&byte| byte == b' ');
    let mut value = 0_u64;
    let mut ended = false;
    for &byte in digits {
        match byte {
            b' ' | 0 => ended = true,
            b'0'..=b'7' if !ended => {
                value = value.checked_mul(8)?.checked_add(u64::from(byte - b'0'))?;
            }
            _ => return None,
        }
    }
    Some(value)
}

fn base_256(bytes: &[u8]) -> Option<u64> {
    // 0x80 begins a positive number, 0xff a negative one.
    let mut value = u64::from(bytes[0] & 0x7f);
    if bytes[0] == 0xff {
        return None;
    }
    for &byte in &bytes[1..] {
        value = value.checked_mul(256)?.checked_add(u64::from(byte))?;
    }
    Some(value)
}

/// Writes a number into a field; `false`, with the field left zero, if it does not fit.
pub(super) fn set_number(record: &mut Record, field: Range<usize>, value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value < 1 << (3 * digits).min(63);
    let value = if fits { value } else { 0 };
    for (place, byte) in record[field.start..field.start + digits]
        .iter_mut()
        .enumerate()
    {
        *byte = b'0' + (value >> (3 * (digits - 1 - place)) & 7) as u8;
    }
    record[field.end - 1] = 0;
    fits
}

/// Puts text into a field, which it must fit.
pub(super) fn set_text(record: &mut Record, field: Range<usize>, text: &[u8]) {
    record[field.start..field.start + text.len()].copy_from_slice(text);
}

/// The sum of the bytes, the checksum itself counting as spaces; of bytes as unsigned numbers, and
/// as signed ones, which some old programs took.
fn sums(record: &Record) -> (u64, i64) {
    let byte = |(index, &byte)| {
        if CHECKSUM.contains(&index) {
            b' '
        } else {
            byte
        }
    };
    let unsigned = record.iter().enumerate().map(byte).map(u64::from).sum();
    let signed = record
        .iter()
        .enumerate()
        .map(byte)
        .map(|byte| i64::from(byte as i8))
        .sum();
    (unsigned, signed)
}

/// Whether the checksum fits.
pub(super) fn is_header(record: &Record) -> bool {
    let (unsigned, signed) = sums(record);
    number(record, CHECKSUM)
        .is_some_and(|sum| sum == unsigned || i64::try_from(sum).is_ok_and(|sum| sum == signed))
}

/// Computes and writes the checksum.
pub(super) fn seal(record: &mut Record) {
    let (sum, _) = sums(record);
    set_number(record, CHECKSUM.start..CHECKSUM.end - 1, sum);
    record[CHECKSUM.end - 1] = b' ';
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: Range<usize>, bytes: &[u8]) -> Record {
        let mut record = [0; RECORD_BYTES];
        set_text(&mut record, field, bytes);
        record
    }

    #[test]
    fn numbers_are_read_in_all_their_forms() {
        for (bytes, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"", Some(0)),
            (b"12345678", None),
            (b"0x1", None),
            (b"12 3", None),
            (b"\x80\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(&with(MODE, bytes), MODE), value, "{bytes:?}");
        }
        let big = b"\x80\0\0\x01\0\0\0\0\0\0\0\0";
        assert_eq!(number(&with(SIZE, big), SIZE), None, "more than 64 bits");
    }

    #[test]
    fn numbers_that_do_not_fit_are_told() {
        let mut record = [0; RECORD_BYTES];
        assert!(set_number(&mut record, SIZE, 0o77_777_777_777));
        assert_eq!(number(&record, SIZE), Some(0o77_777_777_777));
        assert!(!set_number(&mut record, SIZE, 0o100_000_000_000));
        assert_eq!(number(&record, SIZE), Some(0));
    }

    #[test]
    fn a_changed_byte_is_no_header() {
        let mut record = with(NAME, b"name");
        seal(&mut record);
        assert!(is_header(&record));
        record[300] ^= 1;
        assert!(!is_header(&record));
        assert!(!is_header(&[0; RECORD_BYTES]));
    }
}
