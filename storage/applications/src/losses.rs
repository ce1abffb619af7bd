//! What is known to be lost since boot, as the layers tell it by number: pages that were overwritten in
//! the cache's memory, blocks that no disk has a good copy of, files that went back to the last checkpoint.
//!
//! A path is found for each number by walking the tree; what is told of it is made here.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::Value;

/// Files of which something is remembered.
const FILES_MAX: usize = 4096;
/// Blocks of one file that are remembered one by one.
const BLOCKS_MAX: usize = 1024;
/// Ranges of blocks and paths in one line.
const IN_A_LINE_MAX: usize = 8;

/// What is lost of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Blocks that read as errors, by number; the first so many.
    pub blocks: BTreeSet<u64>,
    /// It is as of the last checkpoint: what was written since is gone.
    pub reverted: bool,
}

/// What is lost of all files, by number.
#[derive(Debug, Default)]
pub struct Losses {
    files: BTreeMap<u64, Lost>,
    /// Those of which something new was told since it was last asked for.
    news: BTreeSet<u64>,
    /// There were more files than are remembered.
    pub is_full: bool,
    /// Files went back to the last checkpoint that nobody can name.
    pub is_unnamed: bool,
    /// That was told since it was last asked for.
    unnamed_news: bool,
}

impl Losses {
    /// Takes note of an event, if it is of a loss. Says whether it was.
    pub fn note(&mut self, event: &str) -> bool {
        // Most are of something else, and there are many.
        let kinds = ["\"loss\"", "\"bad-blocks\"", "\"reverted\""];
        if !kinds.iter().any(|kind| event.contains(kind)) {
            return false;
        }
        let Ok(event) = serde_json::from_str::<Value>(event) else {
            return false;
        };
        let file = event["file"].as_u64();
        let numbers = |member: &str| {
            let list = event[member].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(Value::as_u64).collect::<Vec<_>>()
        };
        match (event["event"].as_str(), file) {
            (Some("loss"), Some(file)) => {
                let page = event["page"].as_u64();
                page.is_some_and(|page| self.add_blocks(file, &[page]))
            }
            (Some("bad-blocks"), Some(file)) => self.add_blocks(file, &numbers("blocks")),
            (Some("reverted"), _) => {
                let files = numbers("files");
                for &file in &files {
                    if let Some(lost) = self.of(file) {
                        lost.reverted = true;
                    }
                }
                let more = event["more"].as_bool() == Some(true);
                self.is_unnamed |= more;
                self.unnamed_news |= more;
                more || !files.is_empty()
            }
            _ => false,
        }
    }

    fn of(&mut self, file: u64) -> Option<&mut Lost> {
        if self.files.len() == FILES_MAX && !self.files.contains_key(&file) {
            self.is_full = true;
            return None;
        }
        self.news.insert(file);
        Some(self.files.entry(file).or_default())
    }

    fn add_blocks(&mut self, file: u64, blocks: &[u64]) -> bool {
        if let Some(lost) = self.of(file) {
            for &block in blocks {
                if lost.blocks.len() < BLOCKS_MAX {
                    lost.blocks.insert(block);
                }
            }
        }
        !blocks.is_empty()
    }

    /// What has been told since this was last asked for.
    pub fn take_news(&mut self) -> BTreeMap<u64, Lost> {
        let news = core::mem::take(&mut self.news);
        let known = |file| Some((file, self.files.get(&file)?.clone()));
        news.into_iter().filter_map(known).collect()
    }

    /// Whether it has been told since this was last asked for that files went back that nobody can name.
    pub fn take_unnamed(&mut self) -> bool {
        core::mem::take(&mut self.unnamed_news)
    }

    /// What is lost of these files now.
    #[must_use]
    pub fn still(&self, files: &BTreeMap<u64, Lost>) -> BTreeMap<u64, Lost> {
        let known = |file: &u64| Some((*file, self.files.get(file)?.clone()));
        files.keys().filter_map(known).collect()
    }

    /// It could not be said of these, and is to be tried again.
    pub fn put_back(&mut self, files: impl Iterator<Item = u64>) {
        let known = files.filter(|file| self.files.contains_key(file));
        self.news.extend(known.collect::<Vec<_>>());
    }

    /// Everything.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<u64, Lost> {
        &self.files
    }

    /// A block can be read again.
    pub fn is_whole(&mut self, file: u64, block: u64) {
        if let Some(lost) = self.files.get_mut(&file) {
            lost.blocks.remove(&block);
            if lost.blocks.is_empty() && !lost.reverted {
                self.files.remove(&file);
            }
        }
    }

    /// The volume is another one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is said of files that went back to the last checkpoint and that nobody can name.
pub const UNNAMED: &str = "what was written since the last checkpoint is gone, also of files that cannot be named any more";

/// What is lost of a file, in a line. Without a path it has no name any more.
#[must_use]
pub fn line(file: u64, lost: &Lost, path: Option<&str>) -> String {
    let name = path.map_or_else(
        || format!("a file that has no name (number {file})"),
        ToString::to_string,
    );
    let mut parts = Vec::new();
    match lost.blocks.len() {
        0 => {}
        1 => parts.push(format!(
            "block {} reads as an error until it is written again",
            ranges(&lost.blocks)
        )),
        _ => parts.push(format!(
            "blocks {} read as errors until they are written again",
            ranges(&lost.blocks)
        )),
    }
    if lost.reverted && path.is_some() {
        parts.push("as of the last checkpoint, what was written since is gone".into());
    } else if lost.reverted {
        parts.push("was new or is deleted again".into());
    }
    format!("{name}: {}", parts.join("; "))
}

/// `1, 4-6`, and how many more if there are many.
#[must_use]
pub fn ranges(blocks: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &block in blocks {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == block => *last = block,
            _ => ranges.push((block, block)),
        }
    }
    let more = ranges.len().saturating_sub(IN_A_LINE_MAX);
    let mut words: Vec<String> = ranges
        .iter()
        .take(IN_A_LINE_MAX)
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    if more > 0 {
        words.push(format!("and {more} ranges more"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_layers_tell_is_gathered_by_file() {
        let mut losses = Losses::default();
        assert!(!losses.note(r#"{"event":"death","task":"cache"}"#));
        assert!(!losses.note(r#"{"event":"loss","reason":"damaged","files":2}"#));
        assert!(!losses.note("\"loss\" is not JSON"));
        assert!(losses.note(r#"{"event":"loss","file":7,"page":3}"#));
        assert!(losses.note(r#"{"event":"bad-blocks","file":7,"blocks":[5, 4]}"#));
        assert!(losses.note(r#"{"event":"reverted","files":[9,7]}"#));
        let news = losses.take_news();
        let seven = Lost {
            blocks: [3, 4, 5].into(),
            reverted: true,
        };
        assert_eq!(news[&7], seven);
        assert!(news[&9].reverted);
        assert!(losses.take_news().is_empty());
        losses.put_back([7, 1].into_iter());
        assert_eq!(losses.take_news().into_keys().collect::<Vec<_>>(), [7]);
        assert_eq!(
            line(7, &seven, Some("/a")),
            "/a: blocks 3-5 read as errors until they are written again; as of the last checkpoint, what was \
             written since is gone"
        );
        assert_eq!(
            line(9, &news[&9], None),
            "a file that has no name (number 9): was new or is deleted again"
        );
    }

    #[test]
    fn files_that_nobody_can_name_are_told_of_once_and_remembered() {
        let mut losses = Losses::default();
        assert!(losses.note(r#"{"event":"reverted","files":[7]}"#));
        assert!(!losses.is_unnamed && !losses.take_unnamed());
        assert!(losses.note(r#"{"event":"reverted","files":[],"more":true}"#));
        assert!(losses.take_unnamed());
        assert!(!losses.take_unnamed());
        assert!(losses.is_unnamed);
        losses.clear();
        assert!(!losses.is_unnamed);
    }

    #[test]
    fn what_is_whole_again_is_forgotten_and_what_is_remembered_is_bounded() {
        let mut losses = Losses::default();
        losses.note(r#"{"event":"bad-blocks","file":1,"blocks":[1,3]}"#);
        losses.is_whole(1, 1);
        assert_eq!(losses.all()[&1].blocks, [3].into());
        let news = losses.take_news();
        assert_eq!(losses.still(&news)[&1].blocks, [3].into());
        losses.is_whole(1, 3);
        assert!(losses.all().is_empty());
        assert!(losses.still(&news).is_empty());
        for file in 0..2 * FILES_MAX as u64 {
            losses.note(&format!(r#"{{"event":"loss","file":{file},"page":0}}"#));
        }
        assert_eq!(losses.all().len(), FILES_MAX);
        assert!(losses.is_full);
        for page in 0..2 * BLOCKS_MAX {
            losses.note(&format!(r#"{{"event":"loss","file":1,"page":{page}}}"#));
        }
        assert_eq!(losses.all()[&1].blocks.len(), BLOCKS_MAX);
        let many = (0..40).map(|block| block * 2).collect();
        assert_eq!(
            ranges(&many),
            "0, 2, 4, 6, 8, 10, 12, 14, and 32 ranges more"
        );
    }
}
