//! The file that experiments are written to, a line each as soon as it ends.
//!
//! A campaign goes on where it was interrupted: whoever opens the file learns which numbers it has. A last
//! line that is torn is taken away, and its experiment done again. Two campaigns cannot write to one
//! file.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::record::{Identity, Outcome, Record};
use crate::Failure;
use crate::failure::reason;

/// Where records go.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: File,
    bytes: u64,
    done: BTreeSet<u64>,
}

/// The records in `text`, and how many of its bytes are whole lines.
///
/// # Errors
/// With the number of a line that is none, unless it is the last.
pub fn read(text: &[u8]) -> Result<(Vec<Record>, usize), String> {
    let mut records = Vec::new();
    let mut whole = 0;
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let is_last = index + 1 == lines.len();
        match serde_json::from_slice(line) {
            Ok(record) if line.ends_with(b"\n") => records.push(record),
            _ if is_last && begins_like_a_record(line) => break,
            _ if line.trim_ascii().is_empty() => {}
            Ok(_) | Err(_) => return Err(format!("line {} is no record of a campaign", index + 1)),
        }
        whole += line.len();
    }
    Ok((records, whole))
}

/// Whether a line may be what is left of a record: what is not is somebody's, and not ours to cut.
fn begins_like_a_record(line: &[u8]) -> bool {
    let beginning = b"{\"number\":";
    let length = line.len().min(beginning.len());
    !line.ends_with(b"\n") && line[..length] == beginning[..length]
}

impl Results {
    /// Opens the file of a campaign, or makes it.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the file is something else, of another campaign, or written to by another
    /// process; [`Failure::Host`] if it cannot be opened.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::Host(format!("{}: {}", path.display(), reason(&error)))
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Usage(format!(
                    "{}: another campaign is writing to it; give this one another --out",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let wrong = |what: String| {
            Failure::Usage(format!("{}: {what}; give another --out", path.display()))
        };
        let (records, whole) = read(&text).map_err(wrong)?;
        if let Some(other) = records.iter().find(|record| record.identity != *identity) {
            let command = other.identity.command();
            return Err(wrong(format!("it is of another campaign (`{command}`)")));
        }
        let bytes = whole as u64;
        file.set_len(bytes).map_err(failed)?;
        let done = records
            .iter()
            .filter(|record| record.outcome != Outcome::Harness)
            .map(|record| record.number)
            .collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            done,
        })
    }

    /// Takes half a line away. Whoever opens the file next would, too.
    fn take_back(&self) {
        // What is written next goes to the end, wherever that is.
        let _ = self.file.set_len(self.bytes);
    }

    /// Whether this experiment has been done.
    pub fn has(&self, number: u64) -> bool {
        self.done.contains(&number)
    }

    /// Adds an experiment.
    ///
    /// # Errors
    /// [`Failure::Host`] if it cannot be written; then nothing of it is there.
    pub fn add(&mut self, record: &Record) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::Host(format!("{}: {}", self.path.display(), reason(&error)))
        };
        let mut line = serde_json::to_string(record).map_err(|error| failed(error.into()))?;
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        if let Err(error) = written {
            self.take_back();
            return Err(failed(error));
        }
        self.bytes += line.len() as u64;
        if record.outcome != Outcome::Harness {
            self.done.insert(record.number);
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn identity() -> Identity {
        Identity {
            campaign: "kill".into(),
            seed: 1,
            stack: "mirror".into(),
            options: "--targets all".into(),
        }
    }

    pub fn record(number: u64, outcome: Outcome) -> Record {
        Record {
            number,
            identity: identity(),
            build: "a1".into(),
            workload: "postmark".into(),
            fault: "kill".into(),
            target: "logical".into(),
            moment: "after 5 ms".into(),
            struck: true,
            attempts: 1,
            outcome,
            why: None,
            deaths: Vec::new(),
            last_words: Vec::new(),
            recovery_ns: Some(5),
            replay: None,
            below_again_ns: None,
            resync: None,
            cut: None,
            penultimate: false,
            host_ms: 7,
            console: Vec::new(),
            repeat: String::new(),
        }
    }

    #[test]
    fn a_campaign_goes_on_where_it_was_interrupted_even_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sub/kills.jsonl");
        let mut results = Results::open(&path, &identity()).expect("made");
        results
            .add(&record(3, Outcome::Recovered))
            .expect("written");
        results.add(&record(4, Outcome::Harness)).expect("written");
        results
            .add(&record(5, Outcome::VisibleFailure))
            .expect("written");
        drop(results);
        let whole = std::fs::read(&path).expect("there");
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .expect("lines")
            + 1;
        for end in last..whole.len() {
            std::fs::write(&path, &whole[..end]).expect("cut");
            let mut results = Results::open(&path, &identity()).expect("opened");
            assert!(
                results.has(3) && !results.has(4) && !results.has(5),
                "cut at {end}"
            );
            results
                .add(&record(5, Outcome::VisibleFailure))
                .expect("written");
            assert_eq!(std::fs::read(&path).expect("there"), whole);
        }
    }

    #[test]
    fn a_line_that_was_written_by_half_leaves_no_gap() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kills.jsonl");
        let mut results = Results::open(&path, &identity()).expect("made");
        results
            .add(&record(0, Outcome::Recovered))
            .expect("written");
        results.file.write_all(b"{\"number\":1,").expect("written");
        results.take_back();
        results
            .add(&record(1, Outcome::Recovered))
            .expect("written");
        let (records, _) = read(&std::fs::read(&path).expect("there")).expect("whole lines");
        let numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
        assert_eq!(numbers, [0, 1]);
    }

    #[test]
    fn what_is_no_file_of_this_campaign_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kills.jsonl");
        let first = Results::open(&path, &identity()).expect("made");
        let busy = Results::open(&path, &identity()).unwrap_err().to_string();
        assert!(busy.contains("another campaign is writing"), "{busy}");
        drop(first);
        let mut results = Results::open(&path, &identity()).expect("opened");
        results
            .add(&record(0, Outcome::Recovered))
            .expect("written");
        drop(results);
        let other = Identity {
            seed: 2,
            ..identity()
        };
        let refused = Results::open(&path, &other).unwrap_err().to_string();
        assert!(refused.contains("--seed 1"), "{refused}");
        for notes in ["some notes\nof mine\n", "some notes", "{\"number\":1}\n"] {
            std::fs::write(&path, notes).expect("written");
            let refused = Results::open(&path, &identity()).unwrap_err().to_string();
            assert!(refused.contains("line 1"), "{refused}");
            assert_eq!(std::fs::read(&path).expect("there"), notes.as_bytes());
        }
    }
}
