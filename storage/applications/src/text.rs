//! How things are shown: tables, sizes, durations, times, permissions.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use storage::vfs::Kind;

/// Rows of cells, as lines in which columns stand below each other. Cells of columns in `right`
/// (numbers) are set to the right.
#[must_use]
pub fn table(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            if right.contains(&column) {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        line.trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

/// Bytes in the largest unit that keeps the number above one, with a digit below ten: `1.5 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (63 - (count | 1).leading_zeros() as usize) / 10;
    let shift = 10 * unit;
    let whole = count >> shift;
    if unit > 0 && whole < 10 {
        let tenth = ((u128::from(count) * 10) >> shift) % 10;
        return format!("{whole}.{tenth} {}", UNITS[unit]);
    }
    format!("{whole} {}", UNITS[unit])
}

/// A duration with three digits: `1.25 s`, `17.3 ms`, `850 us`, `12 ns`.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let whole = ns / unit;
    let part = ns % unit * 100 / unit;
    match whole {
        0..10 => format!("{whole}.{part:02} {name}"),
        10..100 => format!("{whole}.{} {name}", part / 10),
        _ => format!("{whole} {name}"),
    }
}

/// Time since boot, as log lines have it: `  12.345678`.
#[must_use]
pub fn stamp(ns: u64) -> String {
    format!("{:>5}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// A count with commas: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds since the Unix epoch as UTC: `2026-11-21 09:30:00`.
#[must_use]
pub fn date(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counting years from March makes the leap day the last of its year; 719,468 days lie between
    // 1 March 0000 and the epoch, 146,097 in 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Type and permissions as `ls -l` shows them: `drwxr-xr-x`.
#[must_use]
pub fn mode(mode: u32) -> String {
    let mut text = String::from(match Kind::of_mode(mode) {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Link => 'l',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A name or any text, with what a terminal would act on made visible.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["name", "size"], ["ä", "12345"], ["long name", "1"]];
        let rows: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect())
            .collect();
        let lines = table(&rows, &[1]);
        assert_eq!(
            lines,
            ["name        size", "ä          12345", "long name      1"]
        );
        assert!(table(&[], &[]).is_empty());
    }

    #[test]
    fn amounts_are_short_and_right() {
        for (ns, text) in [
            (12, "12 ns"),
            (1_500, "1.50 us"),
            (17_350_000, "17.3 ms"),
            (850_000_000, "850 ms"),
            (61_250_000_000, "61.2 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!((count(0), count(999)), ("0".into(), "999".into()));
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(stamp(12_345_678_901), "   12.345678");
    }

    /// The expected texts are what `date -u -d @SECONDS` prints.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_709_164_800, "2024-02-29 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds * 1_000_000_000), text);
        }
        assert_eq!(date(u64::MAX).len(), 19);
    }

    #[test]
    fn permissions_look_as_in_ls() {
        assert_eq!(mode(0o040_755), "drwxr-xr-x");
        assert_eq!(mode(0o100_640), "-rw-r-----");
        assert_eq!(mode(0o121_777), "lrwxrwxrwt");
        assert_eq!(mode(0o104_611), "-rwS--x--x");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
