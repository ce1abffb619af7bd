//! What `bench` and `verify` are told.

use alloc::{format, string::String};

use workload::{
    appends,
    postmark::{PRESETS, Parameters},
};

use crate::{arguments::Arguments, values};

/// The keys of PostMark, as in `docs/postmark.md`.
pub const KEYS: &[&str] = &[
    "files",
    "transactions",
    "size",
    "read",
    "write",
    "buffered",
    "bias_read",
    "bias_create",
    "subdirectories",
    "seed",
    "location",
    "sync",
    "keep",
];

/// The keys of `bench fsync`.
pub const APPENDS_KEYS: &[&str] = &[
    "count", "writes", "size", "files", "with", "seed", "location", "keep",
];

/// The keys of all benchmarks.
pub const ALL_KEYS: &[&str] = &[
    "files",
    "transactions",
    "size",
    "read",
    "write",
    "buffered",
    "bias_read",
    "bias_create",
    "subdirectories",
    "seed",
    "location",
    "sync",
    "keep",
    "count",
    "writes",
    "with",
];

fn size_32(text: &str) -> Result<u32, &'static str> {
    values::size(text)?
        .try_into()
        .map_err(|_| "a size below 4G")
}

fn bias(text: &str) -> Result<Option<u8>, &'static str> {
    match text {
        "off" => Ok(None),
        text => match values::number(text) {
            Ok(tenths @ 0..=10) => Ok(Some(tenths as u8)),
            _ => Err("0 to 10 or off"),
        },
    }
}

/// The parameters of the preset, which is `default` if none is named, with the pairs applied.
pub fn parameters(preset: Option<&str>, arguments: &Arguments) -> Result<Parameters, String> {
    arguments.check_keys(KEYS)?;
    let preset = preset.unwrap_or("default");
    let mut parameters = Parameters::preset(preset).ok_or_else(|| {
        let mut names = String::new();
        for (place, preset) in PRESETS.iter().enumerate() {
            names.push_str(if place == 0 { "" } else { ", " });
            names.push_str(preset.name);
        }
        format!("`{preset}`: expected one of {names}")
    })?;
    let set = |to: &mut u32, key, parse: fn(&str) -> Result<u32, &'static str>| {
        arguments
            .parsed(key, parse)
            .map(|value| *to = value.unwrap_or(*to))
    };
    set(&mut parameters.files, "files", values::number_32)?;
    set(
        &mut parameters.transactions,
        "transactions",
        values::number_32,
    )?;
    set(&mut parameters.read_block, "read", size_32)?;
    set(&mut parameters.write_block, "write", size_32)?;
    set(
        &mut parameters.subdirectories,
        "subdirectories",
        values::number_32,
    )?;
    set(&mut parameters.seed, "seed", values::number_32)?;
    if let Some((min, max)) = arguments.parsed("size", values::size_range)? {
        let fit = |size: u64| u32::try_from(size).map_err(|_| "size: expected MIN-MAX, 1 to 64M");
        (parameters.size_min, parameters.size_max) = (fit(min)?, fit(max)?);
    }
    parameters.bias_read = arguments
        .parsed("bias_read", bias)?
        .unwrap_or(parameters.bias_read);
    parameters.bias_create = arguments
        .parsed("bias_create", bias)?
        .unwrap_or(parameters.bias_create);
    for (to, key) in [
        (&mut parameters.buffered, "buffered"),
        (&mut parameters.sync, "sync"),
        (&mut parameters.keep, "keep"),
    ] {
        *to = arguments.parsed(key, values::switch)?.unwrap_or(*to);
    }
    if let Some(location) = arguments.value("location") {
        parameters.location = location.trim_end_matches('/').into();
    }
    parameters.check()?;
    Ok(parameters)
}

/// What `bench fsync` is told.
pub fn appends(arguments: &Arguments) -> Result<appends::Parameters, String> {
    arguments.check_keys(APPENDS_KEYS)?;
    let mut parameters = appends::Parameters::default();
    for (to, key) in [
        (&mut parameters.count, "count"),
        (&mut parameters.writes, "writes"),
        (&mut parameters.files, "files"),
        (&mut parameters.seed, "seed"),
    ] {
        *to = arguments.parsed(key, values::number_32)?.unwrap_or(*to);
    }
    if let Some(size) = arguments.parsed("size", size_32)? {
        parameters.size = size;
    }
    let with = |text: &str| match text {
        "fsync" => Ok(appends::With::Fsync),
        "sync" => Ok(appends::With::Sync),
        _ => Err("fsync or sync"),
    };
    if let Some(with) = arguments.parsed("with", with)? {
        parameters.with = with;
    }
    if let Some(keep) = arguments.parsed("keep", values::switch)? {
        parameters.keep = keep;
    }
    if let Some(location) = arguments.value("location") {
        parameters.location = location.trim_end_matches('/').into();
    }
    parameters.check()?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::arguments::Takes;

    fn parse(line: &str) -> Result<Parameters, String> {
        let words: Vec<_> = line.split_whitespace().map(ToString::to_string).collect();
        let arguments = Takes::words(0, 1).keys(KEYS).parse(&words)?;
        parameters(arguments.word(0), &arguments)
    }

    #[test]
    fn every_key_is_applied_to_the_preset() {
        let line = "loris files=7 transactions=8 size=1k-2k read=3k write=5 buffered=false \
                    bias_read=9 bias_create=off subdirectories=4 seed=6 location=/x/ sync=off \
                    keep=yes";
        let expected = Parameters {
            location: "/x".into(),
            files: 7,
            transactions: 8,
            size_min: 1024,
            size_max: 2048,
            read_block: 3072,
            write_block: 5,
            buffered: false,
            bias_read: Some(9),
            bias_create: None,
            subdirectories: 4,
            seed: 6,
            sync: false,
            keep: true,
        };
        assert_eq!(parse(line), Ok(expected));
        assert_eq!(parse(""), Ok(Parameters::default()));
        assert_eq!(line.matches('=').count(), KEYS.len(), "every key is tested");
    }

    fn parse_appends(line: &str) -> Result<appends::Parameters, String> {
        let words: Vec<_> = line.split_whitespace().map(ToString::to_string).collect();
        appends(&Takes::words(0, 0).keys(ALL_KEYS).parse(&words)?)
    }

    #[test]
    fn each_benchmark_takes_its_own_keys_and_no_others() {
        let line = "count=7 writes=8 size=1k files=3 with=sync seed=6 location=/x/ keep=yes";
        let expected = appends::Parameters {
            count: 7,
            writes: 8,
            size: 1024,
            files: 3,
            with: appends::With::Sync,
            seed: 6,
            location: "/x".into(),
            keep: true,
        };
        assert_eq!(parse_appends(line), Ok(expected));
        assert_eq!(line.matches('=').count(), APPENDS_KEYS.len());
        for (line, part) in [
            ("transactions=8", "transactions="),
            ("with=hope", "fsync or sync"),
            ("size=8k-9k", "size="),
            ("count=0", "count"),
        ] {
            let message = parse_appends(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
        for key in ALL_KEYS {
            assert!(KEYS.contains(key) || APPENDS_KEYS.contains(key), "{key}");
        }
        for key in KEYS.iter().chain(APPENDS_KEYS) {
            assert!(ALL_KEYS.contains(key), "{key}");
        }
        let words = ["count=3".to_string()];
        let arguments = Takes::words(0, 0).keys(ALL_KEYS).parse(&words);
        let told = parameters(None, &arguments.expect("a key")).expect_err("not PostMark's");
        assert!(told.contains("count="), "{told}");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("lorris", "default, loris, loris-tenth"),
            ("files=x", "files=x"),
            ("files=0", "files"),
            ("size=9k-8k", "size=9k-8k"),
            ("bias_read=11", "0 to 10"),
            ("location=/", "location"),
            ("file=3", "file="),
        ] {
            let message = parse(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
