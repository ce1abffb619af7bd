//! What PostMark is told: the parameters of the original's `set` commands, their defaults, presets.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Most files that a run may keep at a time; the table of files takes 16 bytes for each twice.
pub const FILES_MAX: u32 = 200_000;
/// Most transactions of a run.
pub const TRANSACTIONS_MAX: u32 = 100_000_000;
/// Largest file, bytes.
pub const SIZE_MAX: u32 = 64 << 20;
/// Largest block of one read or write, bytes.
pub const BLOCK_MAX: u32 = 256 << 10;
/// Most subdirectories.
pub const SUBDIRECTORIES_MAX: u32 = 10_000;
/// Longest location, bytes.
pub const LOCATION_BYTES_MAX: usize = 255;

/// The parameters of a run; field by field what the original calls `set …`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// `location`: the directory to work in; created if it is missing.
    pub location: String,
    /// `number`: how many files there are at the start.
    pub files: u32,
    /// `transactions`.
    pub transactions: u32,
    /// `size`: the smallest file at its creation, bytes.
    pub size_min: u32,
    /// `size`: the bound of sizes, which appends may reach and creations not, bytes.
    pub size_max: u32,
    /// `read`: bytes in one read.
    pub read_block: u32,
    /// `write`: bytes in one write.
    pub write_block: u32,
    /// `buffering`: reads and writes go through a buffer of [`BUFFER_BYTES`], as through the C
    /// library's, so that smaller blocks are gathered into calls of that size.
    pub buffered: bool,
    /// `bias read`: tenths of transactions that read rather than append; `None` for neither.
    pub bias_read: Option<u8>,
    /// `bias create`: tenths of transactions that create rather than delete; `None` for neither.
    pub bias_create: Option<u8>,
    /// `subdirectories`: files are spread over so many; with fewer than two there are none.
    pub subdirectories: u32,
    /// `seed` of the random numbers, and of every file's content.
    pub seed: u32,
    /// Whether there is a `sync` between the creations and the transactions, as in the Loris
    /// paper's runs (section V); not in the original.
    pub sync: bool,
    /// Leave the files where they are after the transactions, so that they can be verified later;
    /// not in the original.
    pub keep: bool,
}

/// Bytes of the buffer that `buffered` stands for: what the C library takes on ext4.
pub const BUFFER_BYTES: u32 = 4096;

/// A named set of parameters.
pub struct Preset {
    /// What the user types.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    make: fn() -> Parameters,
}

/// The presets there are.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "default",
        summary: "PostMark's own defaults: 500 files, 500 transactions, 500 to 10,000 bytes",
        make: Parameters::default,
    },
    Preset {
        name: "loris",
        summary: "the Loris paper's: 40,000 files, 80,000 transactions, 4 to 28 KiB",
        make: || loris(40_000),
    },
    Preset {
        name: "loris-tenth",
        summary: "a tenth of it: 4,000 files, 8,000 transactions",
        make: || loris(4_000),
    },
    Preset {
        name: "loris-hundredth",
        summary: "a hundredth of it: 400 files, 800 transactions",
        make: || loris(400),
    },
];

fn loris(files: u32) -> Parameters {
    Parameters {
        files,
        transactions: 2 * files,
        size_min: 4 << 10,
        size_max: 28 << 10,
        read_block: 4 << 10,
        write_block: 4 << 10,
        subdirectories: 10,
        sync: true,
        ..Parameters::default()
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            location: "/postmark".into(),
            files: 500,
            transactions: 500,
            size_min: 500,
            size_max: 10_000,
            read_block: 512,
            write_block: 512,
            buffered: true,
            bias_read: Some(5),
            bias_create: Some(5),
            subdirectories: 0,
            seed: 42,
            sync: false,
            keep: false,
        }
    }
}

impl Parameters {
    /// The parameters of a preset.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS
            .iter()
            .find(|preset| preset.name == name)
            .map(|preset| (preset.make)())
    }

    /// Checks every bound; says in a line what was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (
                (1..=FILES_MAX).contains(&self.files),
                "files: expected 1 to 200000",
            ),
            (
                (1..=TRANSACTIONS_MAX).contains(&self.transactions),
                "transactions: expected 1 to 100000000",
            ),
            (
                1 <= self.size_min && self.size_min <= self.size_max && self.size_max <= SIZE_MAX,
                "size: expected MIN-MAX, 1 to 64M",
            ),
            (
                (1..=BLOCK_MAX).contains(&self.read_block),
                "read: expected 1 to 256k",
            ),
            (
                (1..=BLOCK_MAX).contains(&self.write_block),
                "write: expected 1 to 256k",
            ),
            (
                self.bias_read.is_none_or(|bias| bias <= 10),
                "bias_read: expected 0 to 10 or off",
            ),
            (
                self.bias_create.is_none_or(|bias| bias <= 10),
                "bias_create: expected 0 to 10 or off",
            ),
            (
                self.subdirectories <= SUBDIRECTORIES_MAX,
                "subdirectories: expected 0 to 10000",
            ),
            (
                !self.location.is_empty() && self.location.len() <= LOCATION_BYTES_MAX,
                "location: expected a path of at most 255 bytes",
            ),
            (
                self.location.bytes().any(|byte| byte != b'/'),
                "location: expected a directory other than the root",
            ),
        ];
        rules
            .iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, expected)| Err(expected))
    }

    /// Bytes in one read call.
    #[must_use]
    pub fn read_call(&self) -> u32 {
        if self.buffered {
            self.read_block.max(BUFFER_BYTES)
        } else {
            self.read_block
        }
    }

    /// Bytes in one write call.
    #[must_use]
    pub fn write_call(&self) -> u32 {
        if self.buffered {
            self.write_block.max(BUFFER_BYTES)
        } else {
            self.write_block
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_the_bounds() {
        for preset in &PRESETS {
            assert_eq!((preset.make)().check(), Ok(()), "{}", preset.name);
        }
        assert_eq!(Parameters::preset("nonsense"), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let expect = |change: fn(&mut Parameters), word: &str| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            let message = parameters.check().expect_err(word);
            assert!(message.starts_with(word), "{message}");
        };
        expect(|it| it.files = 0, "files");
        expect(|it| it.size_min = 0, "size");
        expect(|it| it.size_min = it.size_max + 1, "size");
        expect(|it| it.read_block = 0, "read");
        expect(|it| it.write_block = BLOCK_MAX + 1, "write");
        expect(|it| it.bias_read = Some(11), "bias_read");
        expect(|it| it.location = "//".into(), "location");
    }
}
