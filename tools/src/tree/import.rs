//! A user's tar, checked before a guest is booted for it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::failure::reason;

/// Where a tar says that it is one.
const MAGIC_OFFSET: usize = 257;

/// The absolute path of a file that can be attached: it must be a tar, and not compressed. One that was
/// cut within a sector will do, for QEMU gives zeros for the rest.
///
/// # Errors
/// [`Failure::Usage`] says what is wrong with the file.
pub fn checked_import(path: &Path) -> Result<PathBuf, Failure> {
    let refuse = |reason: &str| Failure::Usage(format!("--import {}: {reason}", path.display()));
    let mut file = File::open(path).map_err(|error| refuse(&reason(&error)))?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(refuse(
            "is a folder; make a tar of it with `tar -cf FILE.tar FOLDER`",
        ));
    }
    let mut head = [0; MAGIC_OFFSET + 5];
    file.read_exact(&mut head)
        .map_err(|_| refuse("too short for a tar"))?;
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(b"BZh") || head.starts_with(b"\xfd7zXZ")
    {
        return Err(refuse("is compressed; unpack it to a plain .tar first"));
    }
    if !head.ends_with(b"ustar") {
        return Err(refuse("is no tar; make one with `tar -cf FILE.tar FOLDER`"));
    }
    std::path::absolute(path).map_err(|error| refuse(&reason(&error)))
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
        assert_eq!(checked_import(&path).expect("a tar"), path);
        let folder_itself = checked_import(folder.path()).unwrap_err().to_string();
        assert!(folder_itself.contains("is a folder"), "{folder_itself}");

        for (content, reason) in [
            ([0x1f, 0x8b].repeat(600), "compressed"),
            (vec![b'x'; 1024], "tar -cf"),
        ] {
            std::fs::write(&path, content).expect("written");
            let error = checked_import(&path).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
