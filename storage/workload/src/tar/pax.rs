//! Pax extended headers: records `LENGTH KEYWORD=VALUE\n`, the length counting itself.

use alloc::{format, vec::Vec};

/// What extended headers say of the next member; where they are silent, its own header holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) modified_ns: Option<u64>,
}

impl Extension {
    /// Adds what the data of an extended header say; nothing if they are malformed.
    pub(super) fn parse(&mut self, mut data: &[u8]) -> Option<()> {
        while !data.is_empty() {
            let space = data.iter().position(|&byte| byte == b' ')?;
            let len = usize::try_from(decimal(&data[..space])?).ok()?;
            let record = data.get(space + 1..len)?;
            let (&last, record) = record.split_last()?;
            if last != b'\n' {
                return None;
            }
            let equals = record.iter().position(|&byte| byte == b'=')?;
            self.set(&record[..equals], &record[equals + 1..])?;
            data = &data[len..];
        }
        Some(())
    }

    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Option<()> {
        match keyword {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.modified_ns = Some(time_ns(value)?),
            _ => {}
        }
        Some(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// `SECONDS` or `SECONDS.FRACTION`; times before 1970 become zero, as nothing here can hold them.
fn time_ns(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'-') {
        return Some(0);
    }
    let point = text
        .iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(text.len());
    let mut ns = decimal(&text[..point])?.checked_mul(1_000_000_000)?;
    let mut digit_ns = 100_000_000;
    for &digit in text.get(point + 1..).unwrap_or_default() {
        if !digit.is_ascii_digit() {
            return None;
        }
        ns = ns.checked_add(u64::from(digit - b'0') * digit_ns)?;
        digit_ns /= 10;
    }
    Some(ns)
}

/// Appends a record.
pub(super) fn push(data: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = 1 + keyword.len() + 1 + value.len() + 1;
    // The length counts its own digits, which may make it a digit longer.
    let mut len = rest + 1;
    while format!("{len}").len() + rest != len {
        len += 1;
    }
    data.extend_from_slice(format!("{len} {keyword}=").as_bytes());
    data.extend_from_slice(value);
    data.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: &[u8]) -> Option<Extension> {
        let mut extension = Extension::default();
        extension.parse(data).map(|()| extension)
    }

    #[test]
    fn what_is_pushed_is_parsed() {
        for len in 0..1100 {
            let path = alloc::vec![b'p'; len];
            let mut data = Vec::new();
            push(&mut data, "path", &path);
            push(&mut data, "comment", b"x=y\n");
            push(&mut data, "size", b"123");
            let extension = parse(&data).expect("well-formed");
            assert_eq!((extension.path, extension.size), (Some(path), Some(123)));
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        let ns = |text: &str| time_ns(text.as_bytes());
        assert_eq!(ns("1700000000.123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(ns("5.5"), Some(5_500_000_000));
        assert_eq!(ns("1.12345678999"), Some(1_123_456_789));
        assert_eq!(ns("-3.2"), Some(0));
        assert_eq!(ns("99999999999999"), None);
        assert_eq!(ns("1.x"), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            &b"x path=a\n"[..],
            b"9999999999999999999999 path=a\n",
            b"100 path=a\n",
            b"0 path=a\n",
            b"3 path=a\n",
            b"9 path=ab",
            b"7 patha\n",
            b"10 size=-1\n",
            b" path=a\n",
            b"11",
        ] {
            assert_eq!(parse(data), None, "{:?}", core::str::from_utf8(data));
        }
    }
}
