//! What a run tells: how far it is, and its figures at the end, those of the original's report.

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing yet.
    #[default]
    Idle,
    /// Removing what an earlier run left in the location.
    Clear,
    /// Creating the subdirectories.
    Subdirectories,
    /// Creating the initial files.
    Create,
    /// Waiting for the sync before the transactions.
    Sync,
    /// Transactions.
    Transactions,
    /// Checking every file.
    Verify,
    /// Deleting all files and the subdirectories.
    Delete,
    /// Over.
    Done,
}

impl core::fmt::Display for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Idle => "waiting",
            Self::Clear => "removing what an earlier run left",
            Self::Subdirectories => "creating subdirectories",
            Self::Create => "creating files",
            Self::Sync => "sync",
            Self::Transactions => "transactions",
            Self::Verify => "verifying",
            Self::Delete => "deleting",
            Self::Done => "done",
        })
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Steps of the phase that are done.
    pub done: u32,
    /// Steps of the phase in all; zero if not known.
    pub total: u32,
    /// Errors so far, in all phases.
    pub errors: u32,
}

/// Errors: all are counted, the first ones kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// How many.
    pub count: u32,
    /// The first ones, a line each: what was done, to which file, where, why it failed.
    pub first: Vec<String>,
}

/// Errors that are kept with their text.
pub const ERRORS_KEPT: usize = 8;

impl Errors {
    /// Counts an error.
    pub fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < ERRORS_KEPT {
            self.first.push(describe());
        }
    }
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files created before the transactions.
    pub created_alone: u32,
    /// Files created by transactions.
    pub created_mixed: u32,
    /// Files read.
    pub read: u32,
    /// Files appended to.
    pub appended: u32,
    /// Files deleted after the transactions.
    pub deleted_alone: u32,
    /// Files deleted by transactions.
    pub deleted_mixed: u32,
    /// Bytes read in the transactions.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Transactions done.
    pub transactions: u32,
    /// Transactions that were asked for.
    pub transactions_wanted: u32,
    /// Time of the initial creations, nanoseconds.
    pub create_ns: u64,
    /// Time of the sync before the transactions.
    pub sync_ns: u64,
    /// Time of the transactions.
    pub transactions_ns: u64,
    /// Time of the longest transaction: what a crash and recovery cost the application.
    pub transaction_ns_max: u64,
    /// Time of the final deletions.
    pub delete_ns: u64,
    /// Files that were left in place, if they were to be kept.
    pub files_kept: u32,
    /// Bytes in them.
    pub bytes_kept: u64,
    /// Whether it was stopped from outside.
    pub stopped: bool,
    /// What went wrong.
    pub errors: Errors,
}

/// A rate per second, rounded down; zero for no time at all.
#[must_use]
pub fn per_second(count: u64, ns: u64) -> u64 {
    let rate = (u128::from(count) * 1_000_000_000)
        .checked_div(u128::from(ns))
        .unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Nanoseconds as seconds with three digits.
#[must_use]
pub fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// Bytes as mebibytes with two digits.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    let hundredths = (u128::from(bytes) * 100) >> 20;
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

impl Report {
    /// Whether everything that was asked for was done, without an error.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.count == 0 && !self.stopped && self.transactions == self.transactions_wanted
    }

    /// From the first creation to the last deletion, nanoseconds; the original's "total".
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.create_ns + self.sync_ns + self.transactions_ns + self.delete_ns
    }

    /// Transactions per second of the transaction phase.
    #[must_use]
    pub fn transactions_per_second(&self) -> u64 {
        per_second(u64::from(self.transactions), self.transactions_ns)
    }

    /// The report as text, in the order of the original's.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let total = self.total_ns();
        let count = |what: &str, count: u32, ns: u64| {
            format!(
                "{what:<26}{count:>9}   {:>8} per second",
                per_second(u64::from(count), ns)
            )
        };
        let data = |what: &str, bytes: u64| {
            let rate = mebibytes(per_second(bytes, total));
            format!("{what:<26}{:>12}   {rate} per second", mebibytes(bytes))
        };
        let mut lines = vec![
            format!("total time                {:>12}", seconds(total)),
            format!("  creation                {:>12}", seconds(self.create_ns)),
            format!("  sync                    {:>12}", seconds(self.sync_ns)),
            format!(
                "  transactions            {:>12}",
                seconds(self.transactions_ns)
            ),
            format!("  deletion                {:>12}", seconds(self.delete_ns)),
            format!(
                "longest transaction       {:>12}",
                seconds(self.transaction_ns_max)
            ),
            count("transactions", self.transactions, self.transactions_ns),
            count("created alone", self.created_alone, self.create_ns),
            count(
                "  mixed with transactions",
                self.created_mixed,
                self.transactions_ns,
            ),
            count("read", self.read, self.transactions_ns),
            count("appended", self.appended, self.transactions_ns),
            count("deleted alone", self.deleted_alone, self.delete_ns),
            count(
                "  mixed with transactions",
                self.deleted_mixed,
                self.transactions_ns,
            ),
            data("data read", self.bytes_read),
            data("data written", self.bytes_written),
        ];
        if self.files_kept > 0 {
            let bytes = mebibytes(self.bytes_kept);
            lines.push(format!(
                "files kept                {:>9}   {bytes}",
                self.files_kept
            ));
        }
        if self.stopped {
            lines.push("stopped before the end".into());
        } else if self.transactions < self.transactions_wanted {
            lines.push("out of files: use more files or fewer transactions".into());
        }
        lines.push(format!(
            "errors                    {:>9}",
            self.errors.count
        ));
        lines.extend(self.errors.first.iter().map(|error| format!("  {error}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_do_not_overflow_or_divide_by_zero() {
        assert_eq!(per_second(5, 0), 0);
        assert_eq!(per_second(u64::MAX, 1), u64::MAX);
        assert_eq!(per_second(8000, 2_500_000_000), 3200);
        assert_eq!(seconds(1_234_567_890), "1.234 s");
        assert_eq!(mebibytes(u64::MAX), "17592186044415.99 MiB");
        assert!(!Report::default().lines().is_empty());
    }

    #[test]
    fn only_the_first_errors_keep_their_text() {
        let mut errors = Errors::default();
        for number in 0..100 {
            errors.add(|| format!("{number}"));
        }
        assert_eq!(errors.count, 100);
        assert_eq!(errors.first.len(), ERRORS_KEPT);
        assert_eq!(errors.first[0], "0");
    }
}
