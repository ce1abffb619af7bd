//! Checks what is there after a run: from the same parameters, at any time, also after a reboot.
//!
//! Two questions. *Complete*: is exactly what the run should have left there, no file less, no
//! file more, every length, every byte? *Found*: after a crash in the middle, is every file that
//! is there a beginning of the content that its name stands for?

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};
use storage::vfs::FileSystem;

use super::{
    files::{Fault, Files, Wrong},
    parameters::Parameters,
    plan::Plan,
    report::{Errors, Phase, Progress, mebibytes},
    scan::{FoundFile, scan},
    table::File,
};
use crate::Go;

/// Which question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Exactly the files that a whole run with `keep` leaves.
    Complete,
    /// Every file that there is.
    Found,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Files that were read and compared.
    pub files: u32,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that hold a wrong byte, or are of a wrong length.
    pub wrong: u32,
    /// Files that should be there and are not.
    pub missing: u32,
    /// Files that should not be there.
    pub extra: u32,
    /// Whether it was stopped from outside.
    pub stopped: bool,
    /// What was wrong, in lines.
    pub errors: Errors,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.count == 0 && !self.stopped
    }

    /// The answer as text.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} files, {}: {} wrong, {} missing, {} extra, {} errors",
            self.files,
            mebibytes(self.bytes),
            self.wrong,
            self.missing,
            self.extra,
            self.errors.count
        )];
        if self.stopped {
            lines.push("stopped before the end".into());
        }
        lines.extend(self.errors.first.iter().map(|error| format!("  {error}")));
        lines
    }
}

/// What should be there, by number.
struct Expected {
    /// Sorted by number.
    files: Vec<File>,
    seen: Vec<bool>,
    spread: bool,
}

impl Expected {
    fn new(parameters: &Parameters) -> Self {
        let mut plan = Plan::new(parameters);
        plan.skip_to_end();
        let mut files: Vec<_> = plan.each_file().collect();
        files.sort_unstable_by_key(|file| file.number);
        Self {
            seen: vec![false; files.len()],
            files,
            spread: parameters.subdirectories > 1,
        }
    }

    fn find(&mut self, found: FoundFile) -> Option<File> {
        let place = self
            .files
            .binary_search_by_key(&found.number, |file| file.number)
            .ok()?;
        let file = self.files[place];
        if found.subdirectory != self.spread.then_some(file.subdirectory) {
            return None;
        }
        self.seen[place] = true;
        Some(file)
    }

    fn missing(&self) -> impl Iterator<Item = File> {
        self.files
            .iter()
            .zip(&self.seen)
            .filter(|(_, seen)| !**seen)
            .map(|(file, _)| *file)
    }
}

/// Checks the location of a run. `parameters` must have been checked.
pub async fn verify<F: FileSystem>(
    system: &F,
    parameters: &Parameters,
    check: Check,
    progress: &mut dyn FnMut(Progress) -> Go,
) -> Verified {
    let mut verified = Verified::default();
    let location = &parameters.location;
    let found = match scan(system, location).await {
        Ok(found) => found,
        Err(error) => {
            verified.errors.add(|| format!("{location}: {error}"));
            return verified;
        }
    };
    let mut expected = (check == Check::Complete).then(|| Expected::new(parameters));
    verified.extra = found.foreign_count;
    for name in &found.foreign {
        verified
            .errors
            .add(|| format!("{location}/{name}: not a file of PostMark's"));
    }
    let total = found.files.len() as u32;
    let mut files = Files::new(system, parameters);
    for (index, &file) in found.files.iter().enumerate() {
        verify_file(&mut files, expected.as_mut(), location, file, &mut verified).await;
        let (done, errors) = (index as u32 + 1, verified.errors.count);
        if progress(Progress {
            phase: Phase::Verify,
            done,
            total,
            errors,
        }) == Go::Stop
        {
            verified.stopped = true;
            return verified;
        }
    }
    for file in expected.iter().flat_map(Expected::missing) {
        verified.missing += 1;
        verified
            .errors
            .add(|| format!("{}: missing", files.path(file)));
    }
    verified
}

async fn verify_file<F: FileSystem>(
    files: &mut Files<'_, F>,
    expected: Option<&mut Expected>,
    location: &str,
    found: FoundFile,
    verified: &mut Verified,
) {
    let path = found.path(location);
    let stat = match files.system.stat(path.as_bytes(), false).await {
        Ok(stat) => stat,
        Err(error) => {
            return verified
                .errors
                .add_fault("stat", &path, Fault::Failed(error));
        }
    };
    if let Some(expected) = expected {
        match expected.find(found) {
            None => {
                verified.extra += 1;
                verified
                    .errors
                    .add(|| format!("{path}: should not be there"));
                return;
            }
            Some(file) if u64::from(file.size) != stat.size => {
                verified.wrong += 1;
                let wrong = Fault::Wrong(Wrong::Length(stat.size));
                return verified.errors.add_fault("", &path, wrong);
            }
            Some(_) => {}
        }
    }
    let Ok(size) = u32::try_from(stat.size) else {
        verified.wrong += 1;
        let wrong = Fault::Wrong(Wrong::Length(stat.size));
        return verified.errors.add_fault("", &path, wrong);
    };
    let file = File {
        number: found.number,
        subdirectory: 0,
        size,
    };
    match files.read_path(&path, file).await {
        Ok(()) => {
            verified.files += 1;
            verified.bytes += stat.size;
        }
        Err(fault) => {
            verified.wrong += u32::from(matches!(fault, Fault::Wrong(_)));
            verified.errors.add_fault("read", &path, fault);
        }
    }
}
