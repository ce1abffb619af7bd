//! Who lost something is told by name: layers tell of files by number, here their paths are looked for.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::cell::RefCell;

use applications::losses::{Losses, Lost, UNNAMED, line};
use runtime::time;
use serde_json::{Value, json};
use storage::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    vfs::{self, FileSystem, OpenFlags},
};
use workload::tree::find::{Found, find};

use crate::{shell::Shell, signal::Signal};

/// What belongs together is told together, if it comes within this time, nanoseconds.
const TOGETHER_NS: u64 = 200_000_000;
/// A walk that failed is tried again after this time, nanoseconds, so often.
const AGAIN_NS: u64 = 2_000_000_000;
const TRIES_MAX: u32 = 5;
/// Files that are told one by one; `lost` has the rest.
const TOLD_MAX: usize = 16;

/// What is lost, as far as it was heard of.
#[derive(Default)]
pub struct Watch {
    losses: RefCell<Losses>,
    heard: Signal,
}

/// A file of which something is lost.
pub struct Named {
    /// Its number.
    pub file: u64,
    /// Its path, if it has one.
    pub path: Option<String>,
    /// What.
    pub lost: Lost,
}

/// Everything that is lost, as far as it is known.
pub struct All {
    /// Files of which something is lost.
    pub named: Vec<Named>,
    /// Where their names were looked for.
    pub found: Found,
    /// There are more than are remembered.
    pub is_full: bool,
    /// There are some that nobody can name.
    pub is_unnamed: bool,
}

impl Named {
    /// For people.
    pub fn line(&self) -> String {
        line(self.file, &self.lost, self.path.as_deref())
    }

    /// For programs.
    pub fn members(&self) -> Value {
        json!({
            "file": self.file,
            "path": self.path,
            "blocks": self.lost.blocks,
            "reverted": self.lost.reverted,
        })
    }
}

impl Watch {
    /// An event was told.
    pub fn note(&self, event: &str) {
        if self.losses.borrow_mut().note(event) {
            self.heard.raise();
        }
    }

    /// The volume is another one.
    pub fn clear(&self) {
        self.losses.borrow_mut().clear();
    }

    /// Names what is lost whenever there is news of it, for ever.
    pub async fn tell(self: Rc<Self>, shell: Rc<Shell>) {
        loop {
            let heard = self.heard.raised();
            if self.losses.borrow_mut().take_unnamed() {
                log::error!("lost: {UNNAMED}");
            }
            let news = self.losses.borrow_mut().take_news();
            if news.is_empty() {
                heard.await;
                time::sleep(TOGETHER_NS).await;
                continue;
            }
            match patiently(&shell.system, &news).await {
                Ok(found) => {
                    // What was told may be over: a checkpoint that everything went back to has it.
                    let looked = self.forget_whole(&shell.system, &news, &found).await;
                    if let Err(error) = looked {
                        log::warn!("whether what is lost can be read again is not known: {error}");
                    }
                    let still = self.losses.borrow().still(&news);
                    tell(&still, &found);
                }
                Err(error) => {
                    log::error!("what is lost cannot be named: {error}; try `lost` later");
                    // With the next news it is tried again.
                    self.losses.borrow_mut().put_back(news.into_keys());
                    heard.await;
                }
            }
        }
    }

    /// Everything that is still lost, by name: what can be read again is forgotten.
    pub async fn all(&self, system: &vfs::Client<runtime::Endpoint>) -> Result<All> {
        let files = self.losses.borrow().all().clone();
        let found = paths(system, &files).await?;
        self.forget_whole(system, &files, &found).await?;
        let losses = self.losses.borrow();
        let named = losses.all().iter();
        let named = named
            .map(|(&file, lost)| name(file, lost, &found))
            .collect();
        Ok(All {
            named,
            found,
            is_full: losses.is_full,
            is_unnamed: losses.is_unnamed,
        })
    }

    /// Forgets what of these files can be read again.
    async fn forget_whole(
        &self,
        system: &vfs::Client<runtime::Endpoint>,
        files: &BTreeMap<u64, Lost>,
        found: &Found,
    ) -> Result<()> {
        for (&file, lost) in files {
            if let Some(path) = found.paths.get(&file) {
                for block in whole_again(system, path, lost).await? {
                    self.losses.borrow_mut().is_whole(file, block);
                }
            }
        }
        Ok(())
    }
}

fn name(file: u64, lost: &Lost, found: &Found) -> Named {
    let path = found.paths.get(&file);
    Named {
        file,
        path: path.map(|path| String::from_utf8_lossy(path).into_owned()),
        lost: lost.clone(),
    }
}

/// As [`paths`]; again and again for a while if it fails.
async fn patiently(
    system: &vfs::Client<runtime::Endpoint>,
    files: &BTreeMap<u64, Lost>,
) -> Result<Found> {
    for _ in 0..TRIES_MAX {
        if let Ok(found) = paths(system, files).await {
            return Ok(found);
        }
        time::sleep(AGAIN_NS).await;
    }
    paths(system, files).await
}

async fn paths(
    system: &vfs::Client<runtime::Endpoint>,
    files: &BTreeMap<u64, Lost>,
) -> Result<Found> {
    let numbers: BTreeSet<u64> = files.keys().copied().collect();
    if numbers.is_empty() {
        return Ok(Found::default());
    }
    system.mount().await?;
    find(system, &numbers).await
}

/// Says it to people, a line a file, and to programs.
fn tell(news: &BTreeMap<u64, Lost>, found: &Found) {
    for (&file, lost) in news.iter().take(TOLD_MAX) {
        let named = name(file, lost, found);
        log::error!("lost: {}", named.line());
    }
    if news.len() > TOLD_MAX {
        let more = news.len() - TOLD_MAX;
        log::error!("lost: of {more} files more something is lost; `lost` lists them");
    }
    for (&file, lost) in news {
        let mut event = json!({
            "event": "lost-file",
            "file": file,
            "path": name(file, lost, found).path,
            "blocks": lost.blocks.len(),
            "reverted": lost.reverted,
        })
        .to_string();
        if event.len() > abi::LOG_RECORD_BYTES_MAX {
            // A path that is no record's length; `lost` has it.
            event = json!({ "event": "lost-file", "file": file, "path": null }).to_string();
        }
        log::info!(target: storage::EVENT, "{event}");
    }
    for directory in &found.unreadable {
        let path = String::from_utf8_lossy(directory);
        log::error!("lost: the directory {path} cannot be read: what is in it cannot be named");
    }
}

/// Which of the lost blocks can be read: they were written again, or cut off.
async fn whole_again<F: FileSystem>(system: &F, path: &[u8], lost: &Lost) -> Result<Vec<u64>> {
    let mut whole = Vec::new();
    let descriptor = match system.open(path, OpenFlags::READ, 0).await {
        Ok(descriptor) => descriptor,
        // A directory, or unreadable as a whole.
        Err(_) => return Ok(whole),
    };
    let mut byte = [0; 1];
    for &block in &lost.blocks {
        let at = Some(block * BLOCK_BYTES as u64);
        match system.read(descriptor, at, Sink::local(&mut byte)).await {
            Ok(_) => whole.push(block),
            Err(Error::Corrupt) => {}
            Err(error) => {
                let _ = system.close(descriptor).await;
                return Err(error);
            }
        }
    }
    system.close(descriptor).await?;
    Ok(whole)
}
