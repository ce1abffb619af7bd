//! What `blocks` shows of a tree, against what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::state::{Node, State};

/// Bytes of a block.
const BLOCK_BYTES: usize = 4096;

/// Digits that stand for a block.
const DIGITS: usize = 16;

/// Differences that are told.
const TOLD_MAX: usize = 4;

/// A line of `blocks`: kind, size, hashes, name.
struct Line<'a> {
    kind: &'a str,
    size: u64,
    blocks: Vec<&'a str>,
    name: &'a str,
    target: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let (kind, size, hashes, rest) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let (name, target) = match rest.split_once(" -> ") {
            Some((name, target)) if kind == "l" => (name, Some(target)),
            _ => (rest, None),
        };
        let blocks = if hashes == "-" {
            Vec::new()
        } else {
            hashes.split(',').collect()
        };
        Some(Self {
            kind,
            size: size.parse().ok()?,
            blocks,
            name,
            target,
        })
    }
}

fn hash(block: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(block).iter().take(DIGITS / 2) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A block of a file as it reads in a file of `size` bytes: without what is behind the end, with zeros
/// for what is behind its own.
fn block(bytes: &[u8], index: usize, size: usize) -> Vec<u8> {
    let (start, end) = (index * BLOCK_BYTES, size.min((index + 1) * BLOCK_BYTES));
    let mut block = bytes
        .get(start..end.min(bytes.len()).max(start))
        .unwrap_or_default()
        .to_vec();
    block.resize(end - start, 0);
    block
}

/// What goes with comparisons of one tree with several states.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Any block may be one that cannot be read: the only disk has lost it.
    is_lossy: bool,
    /// Comparison of blocks that were computed already: states share the contents that they have in common. Good for as
    /// long as these live.
    hashes: BTreeMap<(*const Vec<u8>, usize, usize), String>,
}

impl Comparison {
    /// One in which any block may be such that cannot be read, or only such as was being overwritten.
    pub fn new(is_lossy: bool) -> Self {
        Self {
            is_lossy,
            ..Self::default()
        }
    }

    /// That of a block, as it reads in a file of `size` bytes.
    fn of(&mut self, bytes: &Rc<Vec<u8>>, index: usize, size: usize) -> &str {
        let key = (Rc::as_ptr(bytes), index, size);
        self.hashes
            .entry(key)
            .or_insert_with(|| hash(&block(bytes, index, size)))
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Found {
    /// What is not as it should be, in words.
    pub differences: Vec<String>,
    /// Blocks that cannot be read, and were being overwritten.
    pub unreadable: u64,
}

impl State {
    /// Compares what `lines` show with this state. A block may also be as in a `later` state; one that a
    /// later state has otherwise was being overwritten, and it may be that it cannot be read.
    pub fn compare(&self, lines: &[String], later: &[Self], hashes: &mut Comparison) -> Found {
        let (mut differences, mut unreadable) = (Vec::new(), 0);
        let mut seen = BTreeSet::new();
        for text in lines {
            match Line::parse(text) {
                Some(line) => {
                    differences.extend(self.difference(&line, (later, hashes), &mut unreadable));
                    seen.insert(line.name.to_owned());
                }
                None => differences.push(format!("a line that says nothing: {text}")),
            }
        }
        let missing = self.names().filter(|(name, _)| !seen.contains(*name));
        differences.extend(missing.map(|(name, _)| format!("{name} is missing")));
        let more = differences.len().saturating_sub(TOLD_MAX);
        differences.truncate(TOLD_MAX);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        Found {
            differences,
            unreadable,
        }
    }

    fn difference(
        &self,
        line: &Line<'_>,
        versions: (&[Self], &mut Comparison),
        unreadable: &mut u64,
    ) -> Option<String> {
        let name = line.name;
        match (self.find(name), line.kind) {
            (None, _) => Some(format!("{name} should not be there")),
            (Some(Node::Directory), "d") => None,
            (Some(Node::Link(target)), "l") => (line.target != Some(target.as_str()))
                .then(|| format!("{name} points to {:?}, not to {target}", line.target)),
            (Some(Node::File(file)), "f") => {
                self.difference_of_file(*file, line, versions, unreadable)
            }
            (Some(_), kind) => Some(format!("{name} is of kind {kind}")),
        }
    }

    fn difference_of_file(
        &self,
        file: u32,
        line: &Line<'_>,
        (later, hashes): (&[Self], &mut Comparison),
        unreadable: &mut u64,
    ) -> Option<String> {
        let name = line.name;
        let bytes = self.content(file)?;
        if line.size != bytes.len() as u64 {
            return Some(format!(
                "{name} has {} bytes, not {}",
                line.size,
                bytes.len()
            ));
        }
        for (index, found) in line.blocks.iter().enumerate() {
            let size = line.size as usize;
            let own = hashes.of(bytes, index, size).to_owned();
            if own == *found {
                continue;
            }
            let mut versions = later.iter().filter_map(|state| state.content(file));
            if *found == "!" {
                // An append overwrites what is behind the end of the last block.
                let was_overwritten = versions.any(|version| {
                    let size = size.max(version.len());
                    let before = hashes.of(bytes, index, size).to_owned();
                    before != hashes.of(version, index, size)
                });
                if !was_overwritten && !hashes.is_lossy {
                    return Some(format!("{name}: block {index} cannot be read"));
                }
                *unreadable += 1;
            } else if !versions.any(|version| hashes.of(version, index, size) == *found) {
                return Some(format!(
                    "{name}: block {index} holds what was never written to it"
                ));
            }
        }
        let blocks = bytes.len().div_ceil(BLOCK_BYTES);
        (line.blocks.len() != blocks).then(|| format!("{name}: {} blocks", line.blocks.len()))
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::operation::Operation;
    use super::*;

    pub fn file(seed: u32, offset: usize, length: usize) -> Operation {
        Operation::Fill {
            path: "a".into(),
            offset,
            length,
            seed,
        }
    }

    fn last(state: &State, operation: &Operation) -> State {
        state.after(operation).pop().expect("a result")
    }

    fn last_of(state: &State) -> State {
        last(state, &file(9, 0, 10))
    }

    /// What the guest would show.
    pub fn lines(state: &State) -> Vec<String> {
        let bytes = state.content_of("a").expect("a file");
        let hashes: Vec<String> = bytes.chunks(BLOCK_BYTES).map(hash).collect();
        vec![format!("f {} {} a", bytes.len(), hashes.join(","))]
    }

    #[test]
    fn what_is_there_is_told_from_what_is_not() {
        let state = last(&State::default(), &file(1, 0, 9000));
        let shown = lines(&state);
        assert!(
            state
                .compare(&shown, &[], &mut Comparison::default())
                .differences
                .is_empty()
        );
        let told = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            state
                .compare(&lines, &[], &mut Comparison::default())
                .differences
                .join("; ")
        };
        assert!(told(&[]).contains("a is missing"));
        assert!(told(&[&shown[0], "d 0 - b"]).contains("b should not be there"));
        assert!(told(&["l 1 - a -> b"]).contains("of kind l"));
        let other = lines(&last(&state, &file(2, 4096, 1)));
        assert!(told(&[&other[0]]).contains("block 1 holds"));
        let size = shown[0].replace("9000", "9001");
        assert!(told(&[&size]).contains("9001 bytes"));
    }

    #[test]
    fn blocks_may_be_newer_but_not_older_and_not_longer() {
        let first = last(&State::default(), &file(1, 0, 9000));
        let second = last(&first, &file(2, 0, 5000));
        let third = last(&second, &file(3, 8000, 4000));
        let later = [second.clone(), third.clone()];
        let shown = lines(&second);
        let differences = |state: &State, lines: &[String], later: &[State]| {
            state
                .compare(lines, later, &mut Comparison::default())
                .differences
        };
        assert!(
            differences(&first, &shown, &later).is_empty(),
            "overwritten in place"
        );
        assert!(
            !differences(&second, &lines(&first), &[third]).is_empty(),
            "older"
        );
        // The first two blocks were overwritten since, the third one was not.
        let torn = shown[0].replacen(&shown[0][7..23], "!", 1);
        let found = first.compare(
            std::slice::from_ref(&torn),
            &later[..1],
            &mut Comparison::default(),
        );
        assert_eq!(
            (found.differences.len(), found.unreadable),
            (0, 1),
            "{torn}"
        );
        let last = shown[0].rfind(',').expect("blocks");
        let lost = format!("{},! a", &shown[0][..last]);
        let mut lossy = Comparison::new(true);
        let found = first.compare(std::slice::from_ref(&lost), &later[..1], &mut lossy);
        assert_eq!(found.unreadable, 1, "the only disk has lost it");
        let other = lines(&last_of(&first));
        assert!(
            !first
                .compare(&other, &[], &mut lossy)
                .differences
                .is_empty()
        );
        assert!(differences(&first, &[lost], &later[..1])[0].contains("block 2 cannot be read"));
    }

    #[test]
    fn an_append_overwrites_the_last_block_and_no_other() {
        let short = last(&State::default(), &file(1, 0, 5000));
        let long = last(&short, &file(2, 5000, 300));
        let shown = lines(&short);
        let (first, second) = shown[0].split_once(',').expect("two blocks");
        let unreadable = |line: String| {
            short
                .compare(
                    &[line],
                    std::slice::from_ref(&long),
                    &mut Comparison::default(),
                )
                .unreadable
        };
        assert_eq!(unreadable(format!("{first},! a")), 1);
        assert_eq!(unreadable(format!("f 5000 !,{second}")), 0);
    }
}
