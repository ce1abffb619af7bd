//! What a disk of a guest takes, recorded by QEMU (its driver `blklogwrites`), to be read by
//! `cargo galago check-order`.
//!
//! A log has to begin with an empty disk: the checker knows no other. So it begins with the image, and
//! goes on where it ended when the image is booted again.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::Failure;

/// Where the log's first sector has the number of its entries.
const ENTRIES: std::ops::Range<usize> = 16..24;

/// A log of the writes to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteLog {
    /// The file.
    pub path: PathBuf,
    /// The log goes on; else it begins.
    pub append: bool,
}

impl WriteLog {
    /// The log of an image, in `folder` under the disk's number.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is an image without a log of how it came to be.
    pub fn of(folder: &Path, number: usize, image: &Path) -> Result<Self> {
        let path = folder.join(format!("{number}.log"));
        let append = image.exists();
        if append && !path.is_file() {
            let what = format!(
                "--log-writes: {} is there already, and {} is not: a log begins with a new image",
                image.display(),
                path.display()
            );
            return Err(Failure::Usage(what).into());
        }
        Ok(Self { path, append })
    }

    /// Makes the file, empty, unless the log goes on.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(&self) -> Result<()> {
        if !self.append {
            let made = File::create(&self.path).and_then(|_| File::create(self.marks()));
            made.with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }

    /// Where it is noted which sync had returned when.
    fn marks(&self) -> PathBuf {
        self.path.with_extension("synced")
    }

    /// Notes that a sync has returned this checkpoint: what the log has now has to contain it.
    ///
    /// # Errors
    /// If the log cannot be read or the note not be written.
    pub fn mark(&self, checkpoint: u64) -> Result<()> {
        let context = || self.path.display().to_string();
        let mut head = [0; 32];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut head));
        read.with_context(context)?;
        let entries = head[ENTRIES]
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | u64::from(byte));
        let marks = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.marks());
        writeln!(marks.with_context(context)?, "{entries} {checkpoint}").with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_with_its_image_and_goes_on_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("disk.img");
        let log = WriteLog::of(folder.path(), 0, &image).expect("both are new");
        assert!(!log.append);
        std::fs::write(&image, "x").expect("written");
        let wrong = WriteLog::of(folder.path(), 0, &image)
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("disk.img is there already"), "{wrong}");
        log.make().expect("made");
        assert!(
            WriteLog::of(folder.path(), 0, &image)
                .expect("goes on")
                .append
        );
    }

    #[test]
    fn a_mark_says_how_long_the_log_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = WriteLog {
            path: folder.path().join("1.log"),
            append: false,
        };
        log.make().expect("made");
        assert!(log.mark(1).is_err(), "nothing was logged");
        let mut head = [0; 512];
        head[ENTRIES].copy_from_slice(&258u64.to_le_bytes());
        std::fs::write(&log.path, head).expect("written");
        log.mark(7).expect("noted");
        let marks = std::fs::read_to_string(folder.path().join("1.synced")).expect("there");
        assert_eq!(marks, "258 7\n");
    }
}
