//! Whether the files of a volume are a file system, by `docs/formats/directories.md` alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::fake::{File, Files};

const BLOCK: usize = 4096;
const ROOT: u64 = 1;
const ORPHANS: u64 = 2;

/// An entry of a directory: name, number, kind (1 file, 2 directory, 3 link).
pub type Entry = (Vec<u8>, u64, u8);

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The parent and the entries of a directory.
pub fn read_directory(number: u64, file: &File) -> (u64, Vec<Entry>) {
    let bytes = file.contents();
    assert!(
        !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK),
        "directory {number}: length"
    );
    let mut entries = Vec::new();
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        assert_eq!(
            &block[0..4],
            b"GDIR",
            "directory {number}, block {index}: magic"
        );
        assert_eq!(
            u16_at(block, 4),
            1,
            "directory {number}, block {index}: version"
        );
        assert_eq!(u16_at(block, 6), 0);
        assert_eq!(
            u64_at(block, 8),
            number,
            "directory {number}, block {index}: owner"
        );
        assert_eq!(
            u64_at(block, 16) != 0,
            index == 0,
            "directory {number}, block {index}: parent"
        );
        assert_eq!(
            u64_at(block, 24),
            index as u64,
            "directory {number}, block {index}: index"
        );
        let mut at = 32;
        while at < BLOCK {
            let len = usize::from(u16_at(block, at + 8));
            let (kind, name_len) = (block[at + 10], usize::from(block[at + 11]));
            assert!(
                len >= 12 && len.is_multiple_of(4) && at + len <= BLOCK,
                "{number}: record"
            );
            if kind != 0 {
                assert!(
                    kind <= 3 && name_len >= 1 && 12 + name_len <= len,
                    "{number}: entry"
                );
                let name = block[at + 12..at + 12 + name_len].to_vec();
                assert!(
                    name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
                );
                entries.push((name, u64_at(block, at), kind));
            }
            at += len;
        }
        assert_eq!(at, BLOCK);
    }
    (u64_at(&bytes, 16), entries)
}

/// What is wrong with a volume.
#[derive(Debug, Default)]
pub struct Report {
    /// Entries whose file is not there: directory, name.
    pub dangling: Vec<(u64, Vec<u8>)>,
    /// Entries of the orphan directory whose file is not there.
    pub orphans_of_nothing: Vec<u64>,
    /// Files that have no name and are no orphans.
    pub leaked: BTreeSet<u64>,
    /// Files with more names than links.
    pub links_too_low: Vec<u64>,
    /// Files with fewer names than links.
    pub links_too_high: Vec<u64>,
    /// Directories with more than one name.
    pub directories_with_names: Vec<u64>,
    /// Directories whose parent is not where they are.
    pub wrong_parents: Vec<u64>,
    /// Orphans that have names.
    pub named_orphans: Vec<u64>,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.is_benign()
            && self.orphans_of_nothing.is_empty()
            && self.leaked.is_empty()
            && self.links_too_high.is_empty()
            && self.directories_with_names.is_empty()
            && self.wrong_parents.is_empty()
            && self.named_orphans.is_empty()
    }

    /// Nothing that loses data or names, now or later.
    pub fn is_benign(&self) -> bool {
        self.dangling.is_empty() && self.links_too_low.is_empty()
    }
}

/// Examines a volume.
pub fn examine(files: &Files) -> Report {
    let mut report = Report::default();
    let mut names: BTreeMap<u64, u32> = BTreeMap::new();
    let mut subdirectories: BTreeMap<u64, u32> = BTreeMap::new();
    let mut queue = vec![ROOT];
    let mut seen = BTreeSet::from([ROOT, ORPHANS]);
    let mut parents: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    while let Some(directory) = queue.pop() {
        let (_, entries) = read_directory(directory, &files[&directory]);
        let mut unique = BTreeSet::new();
        for (name, number, kind) in entries {
            assert!(
                unique.insert(name.clone()),
                "{name:?} is twice in directory {directory}"
            );
            let Some(file) = files.get(&number) else {
                report.dangling.push((directory, name));
                continue;
            };
            let mode_kind = match file.attributes.mode & 0o170_000 {
                0o100_000 => 1,
                0o040_000 => 2,
                0o120_000 => 3,
                _ => 0,
            };
            assert_eq!(kind, mode_kind, "kind of {number}");
            assert_eq!(
                file.attributes.class.protected,
                kind != 1,
                "protection of {number}"
            );
            *names.entry(number).or_default() += 1;
            if kind == 2 {
                *subdirectories.entry(directory).or_default() += 1;
                parents.entry(number).or_default().insert(directory);
                if seen.insert(number) {
                    queue.push(number);
                }
            }
            seen.insert(number);
        }
    }
    let (_, orphans) = read_directory(ORPHANS, &files[&ORPHANS]);
    for (name, number, _) in orphans {
        assert_eq!(name, number.to_string().into_bytes());
        match files.get(&number) {
            None => report.orphans_of_nothing.push(number),
            Some(_) if !seen.insert(number) => report.named_orphans.push(number),
            Some(file) if file.attributes.links != 0 => report.links_too_high.push(number),
            Some(_) => {}
        }
    }
    for (&number, file) in files {
        if !seen.contains(&number) {
            report.leaked.insert(number);
            continue;
        }
        let is_directory = file.attributes.mode & 0o170_000 == 0o040_000;
        let names = names.get(&number).copied().unwrap_or(0);
        let expected = match (is_directory, number) {
            (true, _) => 2 + subdirectories.get(&number).copied().unwrap_or(0),
            (false, _) => names,
        };
        let is_orphan = !parents.contains_key(&number) && is_directory && number > ORPHANS;
        if is_directory && names > 1 {
            report.directories_with_names.push(number);
        }
        if is_directory && !is_orphan && number > ORPHANS {
            let (parent, _) = read_directory(number, file);
            let right = parents
                .get(&number)
                .is_some_and(|parents| parents.contains(&parent));
            if !right {
                report.wrong_parents.push(number);
            }
        }
        if is_orphan {
            continue;
        }
        // The links of a directory only inform; that they are wrong is never worse than untidy.
        match file.attributes.links.cmp(&expected) {
            std::cmp::Ordering::Less if !is_directory => report.links_too_low.push(number),
            std::cmp::Ordering::Equal => {}
            _ => report.links_too_high.push(number),
        }
    }
    report
}

/// Fails the test unless nothing is wrong.
pub fn check_whole(files: &Files) {
    let report = examine(files);
    assert!(
        report.is_whole(),
        "a checkpoint of a file system that is not whole: {report:?}"
    );
}

/// What a path names, as far as an application can tell from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub links: u32,
    pub content: Vec<u8>,
    /// The first path of the same file.
    pub same_as: Vec<u8>,
}

/// Everything that has a name, by path; read without naming. Entries of no file are left out.
pub fn tree(files: &Files) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut queue = vec![(Vec::new(), ROOT)];
    while let Some((path, number)) = queue.pop() {
        let file = &files[&number];
        let is_directory = file.attributes.mode & 0o170_000 == 0o040_000;
        if is_directory && path.len() < 2048 {
            for (name, number, _) in read_directory(number, file).1 {
                if files.contains_key(&number) {
                    queue.push(([&path[..], &b"/"[..], &name[..]].concat(), number));
                }
            }
        }
        let content = if is_directory {
            Vec::new()
        } else {
            file.contents()
        };
        let (mode, links) = (file.attributes.mode, file.attributes.links);
        let earlier = first.entry(number).or_insert_with(|| path.clone());
        if path < *earlier {
            *earlier = path.clone();
        }
        seen.insert(path, (number, mode, links, content));
    }
    seen.into_iter()
        .map(|(path, (number, mode, links, content))| {
            (
                path,
                Seen {
                    mode,
                    links,
                    content,
                    same_as: first[&number].clone(),
                },
            )
        })
        .collect()
}
