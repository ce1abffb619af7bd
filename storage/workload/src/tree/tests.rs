//! Trees in memory: hashes compared with those that `sha256sum` gives, removal, copies.

use alloc::{string::ToString, vec::Vec};

use futures_executor::block_on;
use storage::{Error, vfs::FileSystem as _};

use super::*;
use crate::{Go, testing::MemoryFs};

fn tree() -> MemoryFs {
    let system = MemoryFs::new();
    system.put("/src/a/x", b"hello\n");
    system.put("/src/a-b", b"");
    system.put("/src/big", &[b'z'; 200_000]);
    block_on(system.mkdir(b"/src/empty", 0o755)).expect("mkdir");
    block_on(system.symlink(b"a/x", b"/src/link")).expect("symlink");
    system
}

/// The digests were computed with coreutils: each content with `sha256sum`, then the lines, sorted
/// under `LC_ALL=C`, with `sha256sum` again.
#[test]
fn hashes_are_those_of_coreutils() {
    let system = tree();
    let file = block_on(hash_file(&system, b"/src/big", &mut |_| Go::On)).expect("hash");
    assert_eq!(file.text(), BIG);
    assert_eq!(file.bytes, 200_000);
    let hash = block_on(hash_tree(&system, b"/src", &mut |_, _| Go::On)).expect("hash");
    assert_eq!(hash.text(), TREE);
    assert_eq!((hash.files, hash.directories, hash.bytes), (4, 2, 200_006));
    assert_eq!(system.open_count(), 0);
}

const BIG: &str = "806c53b3aab21811d00bd0c0d9e33726fdd7c08de88df0d98252f69a4f120a74";
const TREE: &str = "9400dd6f0cc9553eef42f1545662a970e3cb6f94bc0e2532e1108484535bbff7";

#[test]
fn paths_are_sorted_by_all_their_bytes() {
    let paths = block_on(walk(&tree(), b"/src")).expect("walk");
    let paths: Vec<_> = paths.iter().map(|(path, _)| path.to_vec()).collect();
    assert_eq!(
        paths,
        [&b"a"[..], b"a-b", b"a/x", b"big", b"empty", b"link"]
    );
}

#[test]
fn a_tree_is_removed_whole_and_nothing_beside_it() {
    let system = tree();
    system.put("/src2/keep", b"");
    assert_eq!(
        block_on(remove(&system, b"/src", &mut |_| Go::On)),
        Ok(Go::On)
    );
    assert_eq!(system.paths(), ["/src2", "/src2/keep"]);
    let missing = block_on(remove(&system, b"/src", &mut |_| Go::On));
    assert_eq!(missing, Err(Error::NotFound));
}

#[test]
fn a_copy_of_a_tree_hashes_the_same() {
    let system = tree();
    let copied = block_on(copy(&system, b"/src", b"/copy", &mut |_, _| Go::On)).expect("copy");
    assert_eq!(
        (copied.files, copied.directories, copied.bytes),
        (4, 3, 200_006)
    );
    let hash = |path: &str| {
        let path = path.as_bytes();
        block_on(hash_tree(&system, path, &mut |_, _| Go::On)).map(|hash| hash.text().to_string())
    };
    assert_eq!(hash("/copy"), hash("/src"));
    assert_eq!(system.open_count(), 0);
}

#[test]
fn copies_onto_or_into_themselves_are_refused() {
    let system = tree();
    for (from, to) in [
        ("/src", "/src/a/new"),
        ("/src/big", "/src/big"),
        ("/src", "/src"),
    ] {
        let result = block_on(copy(
            &system,
            from.as_bytes(),
            to.as_bytes(),
            &mut |_, _| Go::On,
        ));
        assert_eq!(result, Err(Error::BadArgument), "{from} to {to}");
    }
    assert_eq!(system.content("/src/big").len(), 200_000);
    assert_eq!(system.open_count(), 0);
}

#[test]
fn a_hash_stops_when_it_is_told_to() {
    let stopped = block_on(hash_tree(&tree(), b"/src", &mut |_, _| Go::Stop));
    assert_eq!(stopped.map(|_| ()), Err(Error::Busy));
}

#[test]
fn what_has_no_name_is_not_removed() {
    let system = tree();
    for path in ["", "/", ".", "/.", "/src/.", "/src/..", "/src/a/../"] {
        let result = block_on(remove(&system, path.as_bytes(), &mut |_| Go::On));
        assert_eq!(result, Err(Error::BadArgument), "{path}");
        assert_eq!(system.content("/src/big").len(), 200_000, "{path}");
    }
    let result = block_on(remove(&system, b"/src/", &mut |_| Go::On));
    assert_eq!(result, Ok(Go::On));
}

/// The hash of an empty input and of `hello` were computed with `sha256sum`.
#[test]
fn a_survey_tells_every_path_and_every_block() {
    let system = tree();
    let mut lines = Vec::new();
    block_on(survey::survey(&system, b"/src", &mut |path, entry| {
        lines.push((path.to_vec(), entry));
        Go::On
    }))
    .expect("survey");
    let paths: Vec<_> = lines.iter().map(|(path, _)| path.as_slice()).collect();
    assert_eq!(
        paths,
        [&b"a"[..], b"a-b", b"a/x", b"big", b"empty", b"link"]
    );
    assert_eq!(lines[0].1, survey::Entry::Directory);
    let hello = survey::Entry::File {
        size: 6,
        blocks: alloc::vec![Ok(*b"5891b5b522d5df08")],
    };
    assert_eq!(lines[2].1, hello);
    assert_eq!(lines[5].1, survey::Entry::Link(b"a/x".to_vec()));
    let survey::Entry::File { size, blocks } = &lines[3].1 else {
        panic!("no file: {:?}", lines[3]);
    };
    assert_eq!((*size, blocks.len()), (200_000, 49));
    assert!(blocks[..48].windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(blocks[48], blocks[47], "the last one is shorter");
    assert_eq!(system.open_count(), 0);
}

#[test]
fn files_are_found_by_their_numbers_wherever_they_are() {
    use find::{Found, find};

    let system = tree();
    let number = |path: &[u8]| block_on(system.stat(path, false)).expect("stat").inode;
    let wanted = [b"/".as_slice(), b"/src/a/x", b"/src/empty", b"/src/link"];
    let numbers = wanted.iter().map(|path| number(path));
    let found = block_on(find(&system, &numbers.chain([u64::MAX]).collect())).expect("found");
    let paths: Vec<_> = wanted
        .iter()
        .map(|path| (number(path), path.to_vec()))
        .collect();
    assert_eq!(found.paths.into_iter().collect::<Vec<_>>().len(), 4);
    for (number, path) in paths {
        let one = block_on(find(&system, &[number].into())).expect("found");
        let expected = Found {
            paths: [(number, path)].into(),
            ..Found::default()
        };
        assert_eq!(one, expected);
    }
    assert_eq!(system.open_count(), 0);
}
