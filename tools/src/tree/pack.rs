//! A tree as a tar.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use tar::{Archive, Builder, EntryType, Header};

use super::{Content, Tree};

/// Writes `tree` as a tar, directories before what is in them. Names that do not fit a ustar header
/// are written with GNU's long-name entries.
///
/// # Errors
/// If the output cannot be written.
pub fn pack(tree: &Tree, output: impl Write) -> Result<()> {
    let mut tar = Builder::new(output);
    for (path, content) in tree.entries() {
        let name = Path::new(OsStr::from_bytes(path));
        append(&mut tar, name, content).with_context(|| name.display().to_string())?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn append(tar: &mut Builder<impl Write>, name: &Path, content: &Content) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_size(0);
    match content {
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, name, std::io::empty())?;
        }
        Content::File { bytes, executable } => {
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_slice())?;
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, name, OsStr::from_bytes(target))?;
        }
    }
    Ok(())
}

/// Reads a tree back from a tar.
///
/// # Errors
/// If it is no tar, or ends in the middle of an entry.
pub fn unpack(input: impl Read) -> Result<Tree> {
    let mut tree = Tree::default();
    for entry in Archive::new(input).entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let content = match entry.header().entry_type() {
            EntryType::Directory => Content::Directory,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().context("a link without a target")?;
                Content::Link(target.into_owned())
            }
            _ => {
                let executable = entry.header().mode()? & 0o100 != 0;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                Content::File { bytes, executable }
            }
        };
        if !path.is_empty() && path != b"." {
            tree.insert(path, content);
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_out_of_its_tar_as_it_went_in() {
        let long = format!("{}/file", ["a-rather-long-name"; 12].join("/"));
        let mut tree = Tree::default();
        tree.insert(
            b"empty",
            Content::File {
                bytes: vec![],
                executable: false,
            },
        );
        tree.insert(
            b"bin/run",
            Content::File {
                bytes: vec![9; 1000],
                executable: true,
            },
        );
        tree.insert(b"bin/again", Content::Link(b"run".to_vec()));
        tree.insert(
            long.as_bytes(),
            Content::File {
                bytes: b"x".to_vec(),
                executable: false,
            },
        );
        let mut bytes = Vec::new();
        pack(&tree, &mut bytes).expect("packed");
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(unpack(bytes.as_slice()).expect("unpacked"), tree);
    }
}
