//! What the demo showed, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use console::style;
use serde::Serialize;

use crate::guest::Times;

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Seed of kills and PostMark.
    pub seed: u64,
    /// What executed the guest.
    pub accelerator: String,
    /// PostMark's transactions.
    pub transactions: u64,
    /// And how many a second.
    pub transactions_per_second: f64,
    /// Kills during PostMark.
    pub kills: u64,
    /// Restarts by task; a kill restarts the whole group below the cache.
    pub restarts: BTreeMap<String, u64>,
    /// From a crash to the applications going on.
    pub recovery: Option<Times>,
    /// The longest that one transaction took, recovery and all.
    pub longest_wait_ms: f64,
    /// Errors that PostMark or a check of its files saw.
    pub errors: u64,
    /// PostMark's files that were right, at each check.
    pub files_verified: Vec<u64>,
    /// Files of the source tree.
    pub source_files: usize,
    /// Checksum of the source tree, computed on the host.
    pub checksum_host: String,
    /// And in the guest: after the import, after the kills, after the reboot.
    pub checksums_guest: Vec<String>,
}

impl Summary {
    /// What did not hold, a line each.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.errors > 0 {
            broken.push(format!("applications saw {} errors", self.errors));
        }
        if self.kills == 0 || self.restarts.values().sum::<u64>() < self.kills {
            let restarts: u64 = self.restarts.values().sum();
            broken.push(format!("{} kills and {restarts} restarts", self.kills));
        }
        if self.checksums_guest.len() != 3 || !self.checksums_agree() {
            broken.push("the source tree differs between guest and host".into());
        }
        let verified = &self.files_verified;
        if verified.len() != 2 || verified.contains(&0) || verified[0] != verified[1] {
            broken.push(format!(
                "PostMark's files that could be checked: {verified:?}"
            ));
        }
        broken
    }

    fn checksums_agree(&self) -> bool {
        self.checksums_guest
            .iter()
            .all(|checksum| *checksum == self.checksum_host)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let mut line = |name: &str, text: String| writeln!(f, "  {name:<16}{text}");
        line(
            "PostMark",
            format!(
                "{:.0} transactions a second ({} in all)",
                self.transactions_per_second, self.transactions
            ),
        )?;
        line("kills", self.kills.to_string())?;
        line("restarts", by_task(&self.restarts))?;
        if let Some(times) = &self.recovery {
            let text = format!("median {} ms, longest {} ms", times.median_ms, times.max_ms);
            line("recovery", text)?;
        }
        line(
            "errors seen",
            good(self.errors == 0, &self.errors.to_string()),
        )?;
        let verified = self.files_verified.last().unwrap_or(&0);
        line(
            "files checked",
            format!("{verified} before and after the reboot"),
        )?;
        line("source tree", format!("{} files", self.source_files))?;
        line("  on the host", short(&self.checksum_host))?;
        let equal = if self.checksums_agree() {
            "equal, also after the reboot"
        } else {
            "DIFFERENT"
        };
        let guest = self
            .checksums_guest
            .last()
            .map(|checksum| short(checksum))
            .unwrap_or_default();
        line(
            "  in the guest",
            format!("{guest}  {}", good(self.checksums_agree(), equal)),
        )?;
        line("run by", self.accelerator.clone())
    }
}

fn by_task(restarts: &BTreeMap<String, u64>) -> String {
    let list: Vec<String> = restarts
        .iter()
        .map(|(task, count)| format!("{task} {count}"))
        .collect();
    list.join(", ")
}

fn short(checksum: &str) -> String {
    format!("sha256 {}…", checksum.chars().take(16).collect::<String>())
}

fn good(good: bool, text: &str) -> String {
    let text = style(text);
    if good {
        text.green()
    } else {
        text.red().bold()
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Summary {
        Summary {
            kills: 2,
            restarts: [("logical".to_owned(), 2), ("twinfs.0".to_owned(), 2)].into(),
            files_verified: vec![400, 400],
            checksum_host: "ab".into(),
            checksums_guest: vec!["ab".into(); 3],
            ..Summary::default()
        }
    }

    #[test]
    fn it_holds_only_if_everything_does() {
        assert!(held().broken().is_empty());
        let breaks: [fn(&mut Summary); 7] = [
            |summary| summary.errors = 1,
            |summary| summary.kills = 0,
            |summary| summary.restarts.clear(),
            |summary| summary.checksums_guest[2] = "cd".into(),
            |summary| summary.checksums_guest.clear(),
            |summary| summary.files_verified[1] = 399,
            |summary| summary.files_verified = vec![0, 0],
        ];
        for (number, spoil) in breaks.iter().enumerate() {
            let mut summary = held();
            spoil(&mut summary);
            assert_eq!(summary.broken().len(), 1, "break {number}");
        }
    }
}
