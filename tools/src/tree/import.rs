//! A user's tar, checked before a guest is booted for it.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::Failure;
use crate::failure::reason;
use crate::guest::Import;
use crate::host::images::SECTOR_BYTES;

/// Where a tar says that it is one.
const MAGIC_OFFSET: usize = 257;

/// Makes `path` ready to be attached: it must be a tar, not compressed, and of whole sectors (tars are;
/// one that was cut is padded in a copy, which `scratch` holds).
///
/// # Errors
/// [`Failure::Usage`] says what is wrong with the file.
pub fn checked_import(path: &Path, scratch: &Path) -> Result<Import> {
    let refuse = |reason: String| Failure::Usage(format!("--import {}: {reason}", path.display()));
    let mut file = File::open(path).map_err(|error| refuse(reason(&error)))?;
    let mut head = [0; MAGIC_OFFSET + 5];
    file.read_exact(&mut head)
        .map_err(|_| refuse("too short for a tar".into()))?;
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(b"BZh") || head.starts_with(b"\xfd7zXZ")
    {
        return Err(refuse("is compressed; unpack it to a plain .tar first".into()).into());
    }
    if !head.ends_with(b"ustar") {
        return Err(refuse("is no tar; make one with `tar -cf FILE.tar FOLDER`".into()).into());
    }
    let length = file.metadata()?.len();
    if length.is_multiple_of(SECTOR_BYTES) {
        return Ok(Import(std::path::absolute(path)?));
    }
    let padded = scratch.join("import.tar");
    std::fs::create_dir_all(scratch).with_context(|| scratch.display().to_string())?;
    file.rewind()?;
    let mut copy = File::create(&padded).with_context(|| padded.display().to_string())?;
    std::io::copy(&mut file, &mut copy)?;
    copy.set_len(length.next_multiple_of(SECTOR_BYTES))?;
    copy.flush()?;
    Ok(Import(padded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Tree, pack};

    #[test]
    fn tars_pass_and_what_is_none_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.tar");
        let mut tree = Tree::default();
        tree.insert(
            b"a",
            Content::File {
                bytes: vec![1; 700],
                executable: false,
            },
        );
        let mut bytes = Vec::new();
        pack(&tree, &mut bytes).expect("packed");
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(checked_import(&path, folder.path()).expect("a tar").0, path);

        bytes.truncate(bytes.len() - 100);
        std::fs::write(&path, &bytes).expect("written");
        let padded = checked_import(&path, folder.path()).expect("a tar").0;
        assert_eq!(
            std::fs::metadata(padded).expect("there").len() % SECTOR_BYTES,
            0
        );

        for (content, reason) in [
            ([0x1f, 0x8b].repeat(600), "compressed"),
            (vec![b'x'; 1024], "tar -cf"),
        ] {
            std::fs::write(&path, content).expect("written");
            let error = checked_import(&path, folder.path())
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
