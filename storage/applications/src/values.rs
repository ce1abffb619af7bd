//! What users write for sizes, durations and switches. An error says what was expected.

/// A whole number.
pub fn number(text: &str) -> Result<u64, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }.ok_or("a whole number")
}

/// A whole number of 32 bits.
pub fn number_32(text: &str) -> Result<u32, &'static str> {
    number(text)?
        .try_into()
        .map_err(|_| "a whole number below 4294967296")
}

/// An octal number, such as permissions.
pub fn octal(text: &str) -> Result<u32, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if digits {
        u32::from_str_radix(text, 8).ok()
    } else {
        None
    }
    .ok_or("an octal number")
}

/// Bytes: `4096`, `4k`, `10M`, `1G`, `1T`, powers of 1024; `KiB` and the like are the same.
pub fn size(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "a size such as 4096, 4k or 10M";
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "m" | "M" | "MiB" => 20,
        "g" | "G" | "GiB" => 30,
        "t" | "T" | "TiB" => 40,
        _ => return Err(EXPECTED),
    };
    number(digits)
        .ok()
        .and_then(|value| value.checked_mul(1 << shift))
        .ok_or(EXPECTED)
}

/// Nanoseconds: `200ms`, `5s`, `10us`, `2m`.
pub fn duration_ns(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "a duration such as 200ms or 5s";
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit_ns = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        _ => return Err(EXPECTED),
    };
    number(digits)
        .ok()
        .and_then(|value| value.checked_mul(unit_ns))
        .ok_or(EXPECTED)
}

/// `true`, `yes` and `on`, or `false`, `no` and `off`.
pub fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err("true or false"),
    }
}

/// `MIN-MAX`, or one size for both.
pub fn size_range(text: &str) -> Result<(u64, u64), &'static str> {
    const EXPECTED: &str = "a range of sizes such as 4k-28k";
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    match (size(min), size(max)) {
        (Ok(min), Ok(max)) if min <= max => Ok((min, max)),
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("10M"), Ok(10 << 20));
        assert_eq!(size("16TiB"), Ok(16 << 40));
        for bad in [
            "",
            "k",
            "4x",
            "-1",
            "1.5k",
            "99999999999999999999",
            "16777216T",
            "4 k",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(size_range("4k-28k"), Ok((4096, 28672)));
        assert_eq!(size_range("3000"), Ok((3000, 3000)));
        assert!(size_range("2-1").is_err());
        assert!(size_range("1-").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration_ns("200ms"), Ok(200_000_000));
        assert_eq!(duration_ns("5s"), Ok(5_000_000_000));
        for bad in ["", "5", "ms", "5h", "-5s", "99999999999999999s"] {
            assert!(duration_ns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        assert!(number("18446744073709551616").is_err());
        assert!(number("+1").is_err());
        assert_eq!(octal("0644"), Ok(0o644));
        assert!(octal("888").is_err());
        assert_eq!((switch("on"), switch("no")), (Ok(true), Ok(false)));
        assert!(switch("maybe").is_err());
    }
}
