//! Finds the files of a run by their names: `LOCATION/NUMBER` or `LOCATION/sSUBDIRECTORY/NUMBER`.

use alloc::{format, string::String, vec::Vec};

use storage::{
    Error, Result,
    vfs::{FileSystem, Kind},
};

use super::parameters::{FILES_MAX, SUBDIRECTORIES_MAX};
use crate::tree;

/// A file that bears a name of PostMark's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) subdirectory: Option<u32>,
    pub(super) number: u32,
}

impl FoundFile {
    pub(super) fn path(self, location: &str) -> String {
        match self.subdirectory {
            Some(subdirectory) => format!("{location}/s{subdirectory}/{}", self.number),
            None => format!("{location}/{}", self.number),
        }
    }
}

/// What is in a location.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<FoundFile>,
    pub(super) subdirectories: Vec<u32>,
    /// The first names that are not of PostMark's form.
    pub(super) foreign: Vec<String>,
    pub(super) foreign_count: u32,
}

const FOREIGN_KEPT: usize = 8;

/// A decimal number as PostMark writes it: no sign, no leading zero.
fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let canonical = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    if canonical && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Lists the location and its subdirectories.
///
/// Errors: [`Error::NotFound`] if there is no such directory, [`Error::NoMemory`] if it holds more
/// than any run leaves.
pub(super) async fn scan<F: FileSystem>(system: &F, location: &str) -> Result<Found> {
    let mut found = Found::default();
    for entry in tree::list(system, location.as_bytes()).await? {
        let subdirectory = entry.name.strip_prefix(b"s").and_then(number);
        match (entry.kind, number(&entry.name), subdirectory) {
            (Kind::File, Some(number), _) => found.add(None, number)?,
            (Kind::Directory, _, Some(subdirectory)) => found.subdirectories.push(subdirectory),
            _ => found.add_foreign("", &entry.name),
        }
        if found.subdirectories.len() > SUBDIRECTORIES_MAX as usize {
            return Err(Error::NoMemory);
        }
    }
    for index in 0..found.subdirectories.len() {
        let subdirectory = found.subdirectories[index];
        let path = format!("{location}/s{subdirectory}");
        for entry in tree::list(system, path.as_bytes()).await? {
            match (entry.kind, number(&entry.name)) {
                (Kind::File, Some(number)) => found.add(Some(subdirectory), number)?,
                _ => found.add_foreign(&format!("s{subdirectory}/"), &entry.name),
            }
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, subdirectory: Option<u32>, number: u32) -> Result<()> {
        if self.files.len() >= 2 * FILES_MAX as usize {
            return Err(Error::NoMemory);
        }
        self.files.push(FoundFile {
            subdirectory,
            number,
        });
        Ok(())
    }

    fn add_foreign(&mut self, directory: &str, name: &[u8]) {
        self.foreign_count += 1;
        if self.foreign.len() < FOREIGN_KEPT {
            self.foreign
                .push(format!("{directory}{}", String::from_utf8_lossy(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_postmark_writes_are_its_own() {
        assert_eq!(number(b"17"), Some(17));
        assert_eq!(number(b"0"), Some(0));
        for name in [
            &b""[..],
            b"007",
            b"+7",
            b"-7",
            b"7 ",
            b"s7",
            b"99999999999",
            b"\xff",
        ] {
            assert_eq!(number(name), None);
        }
    }
}
