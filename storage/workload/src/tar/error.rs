//! What can be wrong with an archive, and where.

use alloc::{format, string::String};

use storage::Error;

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarError {
    /// The stream, or the file system, failed.
    Storage(Error),
    /// The record, counted from zero, is no header: its checksum does not fit.
    NotAHeader(u64),
    /// A number in the header at this record is malformed or too large.
    BadNumber(u64),
    /// The extended header at this record is malformed.
    BadExtension(u64),
    /// A name or an extended header at this record is longer than any path may be.
    TooLong(u64),
    /// The stream ends within the member whose header is at this record.
    Truncated(u64),
    /// The path of the member leads out of the directory it is to go to: `..`, or through a
    /// symbolic link.
    UnsafePath,
    /// It was stopped from outside.
    Stopped,
}

impl From<Error> for TarError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl core::fmt::Display for TarError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::NotAHeader(0) => f.write_str("not a tar archive"),
            Self::NotAHeader(record) => write!(f, "record {record} is not a tar header"),
            Self::BadNumber(record) => write!(f, "malformed number in the header at {record}"),
            Self::BadExtension(record) => write!(f, "malformed extended header at {record}"),
            Self::TooLong(record) => write!(f, "name or extended header too long at {record}"),
            Self::Truncated(record) => write!(f, "archive ends within the member at {record}"),
            Self::UnsafePath => f.write_str("path leads out of the target directory"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// An error, and the path that was being worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The path; empty before the first.
    pub path: String,
    /// What went wrong.
    pub error: TarError,
}

impl Failure {
    pub(super) fn new(path: &[u8], error: impl Into<TarError>) -> Self {
        Self {
            path: String::from_utf8_lossy(path).into_owned(),
            error: error.into(),
        }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.path.is_empty() {
            self.error.fmt(f)
        } else {
            f.write_str(&format!("{}: {}", self.path, self.error))
        }
    }
}
