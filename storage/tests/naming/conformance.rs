//! POSIX, row by row: `conformance.txt` says what each row's operations must answer.
//!
//! A row is a title (`# …`) and lines `operation = answer`, on an empty volume of its own. After
//! each row the volume is synced, which checks that it is whole. `{n*s}` stands for `s` written `n`
//! times.

use std::{collections::BTreeMap, fmt::Write as _};

use futures_executor::block_on;
use storage::{
    Error, Result,
    buffer::Sink,
    vfs::{Descriptor, FileSystem, Kind, OpenFlags, SeekFrom, SetTime, Stat},
};

use crate::support::{CLIENT, fresh, list, list_open, read, write};

const TABLE: &str = include_str!("conformance.txt");

/// Rows that there must be at least: a table cut short must not pass.
const ROWS_MIN: usize = 120;

fn expand(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some(start) = rest.find('{') {
        let end = start + rest[start..].find('}').expect("a closing brace");
        bytes.extend_from_slice(&rest.as_bytes()[..start]);
        let (count, text) = rest[start + 1..end].split_once('*').expect("{n*s}");
        for _ in 0..count.parse().expect("a number") {
            bytes.extend_from_slice(text.as_bytes());
        }
        rest = &rest[end + 1..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes == b"''" { Vec::new() } else { bytes }
}

/// The name of an error.
pub fn errno(error: Error) -> &'static str {
    match error {
        Error::NotFound => "ENOENT",
        Error::Exists => "EEXIST",
        Error::NotADirectory => "ENOTDIR",
        Error::IsADirectory => "EISDIR",
        Error::NotEmpty => "ENOTEMPTY",
        Error::NameTooLong => "ENAMETOOLONG",
        Error::TooManyLinks => "ELOOP",
        Error::LinksExhausted => "EMLINK",
        Error::BadDescriptor => "EBADF",
        Error::TooManyOpen => "EMFILE",
        Error::BadArgument => "EINVAL",
        Error::NotPermitted => "EPERM",
        Error::TooBig => "EFBIG",
        Error::Busy => "EBUSY",
        other => panic!("unexpected: {other}"),
    }
}

fn flags(word: &str) -> OpenFlags {
    word.chars().fold(OpenFlags::empty(), |flags, letter| {
        flags
            | match letter {
                'r' => OpenFlags::READ,
                'w' => OpenFlags::WRITE,
                'c' => OpenFlags::CREATE,
                'x' => OpenFlags::EXCLUSIVE,
                't' => OpenFlags::TRUNCATE,
                'a' => OpenFlags::APPEND,
                'd' => OpenFlags::DIRECTORY,
                'n' => OpenFlags::NO_FOLLOW,
                other => panic!("flag {other}"),
            }
    })
}

fn field(stat: &Stat, name: &str) -> String {
    match name {
        "kind" => match stat.kind() {
            Kind::File => "file".into(),
            Kind::Directory => "directory".into(),
            Kind::Link => "link".into(),
        },
        "links" => stat.links.to_string(),
        "size" => stat.size.to_string(),
        "blocks" => stat.blocks.to_string(),
        "mode" => format!("{:o}", stat.mode & 0o7777),
        "owner" => format!("{}:{}", stat.uid, stat.gid),
        "times" => format!("{},{}", stat.accessed_ns, stat.modified_ns),
        other => panic!("field {other}"),
    }
}

fn set_time(word: &str) -> SetTime {
    match word {
        "keep" => SetTime::Keep,
        "now" => SetTime::Now,
        at => SetTime::At(at.parse().expect("a time")),
    }
}

fn descriptor(word: &str) -> Descriptor {
    Descriptor(word.parse().expect("a descriptor"))
}

fn text(bytes: Vec<u8>) -> String {
    let mut out = String::new();
    for byte in bytes {
        if byte == 0 {
            out.push('0');
        } else {
            write!(out, "{}", byte as char).unwrap();
        }
    }
    if out.is_empty() { "''".into() } else { out }
}

fn names(entries: Vec<(Vec<u8>, u64, Kind)>) -> String {
    let mut names: Vec<_> = entries.into_iter().map(|(name, ..)| text(name)).collect();
    names.sort();
    if names.is_empty() {
        "''".into()
    } else {
        names.join(" ")
    }
}

/// Runs one operation of the language.
pub async fn run(
    system: &impl FileSystem,
    marks: &mut BTreeMap<Vec<u8>, Stat>,
    words: &[&str],
) -> Result<String> {
    let path = |index: usize| {
        expand(
            words
                .get(index)
                .copied()
                .unwrap_or_else(|| panic!("{words:?}")),
        )
    };
    let number = |index: usize| words[index].parse::<u64>().expect("a number");
    let octal = |index: usize| {
        words
            .get(index)
            .map_or(0o644, |m| u32::from_str_radix(m, 8).unwrap())
    };
    let ok = || "ok".to_string();
    match words[0] {
        "open" => {
            let flags = flags(words.get(2).copied().unwrap_or(""));
            system
                .open(&path(1), flags, octal(3))
                .await
                .map(|d| d.0.to_string())
        }
        "close" => system.close(descriptor(words[1])).await.map(|()| ok()),
        "read" => read(system, descriptor(words[1]), None, number(2) as usize)
            .await
            .map(text),
        "pread" => {
            let (offset, len) = (Some(number(2)), number(3) as usize);
            read(system, descriptor(words[1]), offset, len)
                .await
                .map(text)
        }
        "write" => {
            let count = write(system, descriptor(words[1]), None, &path(2)).await;
            count.map(|count| count.to_string())
        }
        "pwrite" => {
            let count = write(system, descriptor(words[1]), Some(number(2)), &path(3)).await;
            count.map(|count| count.to_string())
        }
        "seek" => {
            let to = match words[2] {
                "start" => SeekFrom::Start(number(3)),
                "current" => SeekFrom::Current(words[3].parse().unwrap()),
                "end" => SeekFrom::End(words[3].parse().unwrap()),
                other => panic!("seek from {other}"),
            };
            system
                .seek(descriptor(words[1]), to)
                .await
                .map(|at| at.to_string())
        }
        "ftruncate" => system
            .truncate(descriptor(words[1]), number(2))
            .await
            .map(|()| ok()),
        "fstat" => system
            .fstat(descriptor(words[1]))
            .await
            .map(|stat| field(&stat, words[2])),
        "fsync" => system.fsync(descriptor(words[1])).await.map(|()| ok()),
        "readdir" => list_open(system, descriptor(words[1]), 4096)
            .await
            .map(names),
        "readdir-into" => {
            let mut buffer = vec![0; number(2) as usize];
            let count = system
                .readdir(descriptor(words[1]), Sink::local(&mut buffer))
                .await?;
            Ok(count.to_string())
        }
        "list" => list(system, &path(1)).await.map(names),
        "stat" => system
            .stat(&path(1), true)
            .await
            .map(|stat| field(&stat, words[2])),
        "lstat" => system
            .stat(&path(1), false)
            .await
            .map(|stat| field(&stat, words[2])),
        "same" => {
            let first = system.stat(&path(1), false).await?;
            let second = system.stat(&path(2), false).await?;
            Ok(if first.inode == second.inode {
                "yes"
            } else {
                "no"
            }
            .into())
        }
        "mkdir" => system
            .mkdir(&path(1), words.get(2).map_or(0o755, |_| octal(2)))
            .await
            .map(|()| ok()),
        "rmdir" => system.rmdir(&path(1)).await.map(|()| ok()),
        "unlink" => system.unlink(&path(1)).await.map(|()| ok()),
        "rename" => system.rename(&path(1), &path(2)).await.map(|()| ok()),
        "link" => system.link(&path(1), &path(2)).await.map(|()| ok()),
        "symlink" => system.symlink(&path(1), &path(2)).await.map(|()| ok()),
        "readlink" => {
            let mut buffer = vec![0; words.get(2).map_or(4096, |_| number(2) as usize)];
            let len = system.readlink(&path(1), Sink::local(&mut buffer)).await?;
            buffer.truncate(len);
            Ok(if words.len() > 2 {
                format!("{len} {}", text(buffer))
            } else {
                text(buffer)
            })
        }
        "chmod" => system.chmod(&path(1), octal(2)).await.map(|()| ok()),
        "chown" => {
            let id = |index: usize| words[index].parse::<i64>().unwrap() as u32;
            system.chown(&path(1), id(2), id(3)).await.map(|()| ok())
        }
        "utimes" => {
            let (accessed, modified) = (set_time(words[2]), set_time(words[3]));
            system
                .utimes(&path(1), accessed, modified)
                .await
                .map(|()| ok())
        }
        "statfs" => system
            .statfs()
            .await
            .map(|stat| format!("{}/{}", stat.stores_present, stat.stores)),
        "sync" => system.sync().await.map(|_| ok()),
        "touch" => {
            let made = system.open(&path(1), flags("wc"), 0o644).await?;
            system.close(made).await.map(|()| ok())
        }
        // The times of a path are remembered, and later it is told which have changed.
        "mark" => {
            marks.insert(path(1), system.stat(&path(1), false).await?);
            Ok(ok())
        }
        "changed" => {
            let (old, new) = (marks[&path(1)], system.stat(&path(1), false).await?);
            let mut changed = String::new();
            for (letter, old, new) in [
                ('a', old.accessed_ns, new.accessed_ns),
                ('m', old.modified_ns, new.modified_ns),
                ('c', old.changed_ns, new.changed_ns),
            ] {
                if new > old {
                    changed.push(letter);
                }
            }
            Ok(if changed.is_empty() {
                "none".into()
            } else {
                changed
            })
        }
        other => panic!("no operation {other:?}"),
    }
}

#[test]
fn every_row_of_the_table_holds() {
    let mut rows = 0;
    let mut failures = String::new();
    for row in TABLE.split("\n# ").skip(1) {
        let (title, lines) = row.split_once('\n').unwrap_or((row, ""));
        let (fake, naming) = fresh(rows as u64 + 1);
        let system = naming.client(CLIENT);
        let mut marks = BTreeMap::new();
        let mut checks = 0;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (operation, expected) = line.rsplit_once(" = ").unwrap_or((line, "ok"));
            let words: Vec<_> = operation.split_whitespace().collect();
            let answer = block_on(run(&system, &mut marks, &words));
            let answer = answer.unwrap_or_else(|error| errno(error).into());
            let expected = String::from_utf8(expand(expected.trim())).unwrap();
            let expected = if expected.is_empty() {
                "''".into()
            } else {
                expected
            };
            checks += 1;
            if answer != expected {
                writeln!(
                    failures,
                    "{title}: {operation}\n  is {answer}, not {expected}"
                )
                .unwrap();
            }
        }
        assert!(checks > 0, "row {title:?} checks nothing");
        block_on(system.sync()).expect("sync after the row");
        drop(fake);
        rows += 1;
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(rows >= ROWS_MIN, "only {rows} rows");
}
