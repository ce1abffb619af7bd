//! The cache's own death: what is written down while it lives, and how the next instance goes on from that.
//!
//! ```text
//!   memory ──read, verify──► say what is lost ──accept──► files, pages, log ──► Broken, as after a crash below
//! ```
//!
//! What the ledger has is restored as the roll-forward log, as if all of it had been sent down. The layers
//! below are restarted with the cache, and lack it: that is a crash below, and the recovery from that sees to
//! it ([`super::recovery`]), also if the cache died in a sync, so that there may be a checkpoint that has it.

use alloc::{rc::Rc, string::String, vec::Vec};
use core::fmt::Write;

use super::{
    Inner, Trust,
    below::Phase,
    files::{File, State},
    ledger::{Changed, FileRecord, Ledger, Left, Reading, Restored, RestoredPage, VolumeRecord},
    log::Record,
    page::page_of,
    pool::{Content, Pool},
};
use crate::{
    BLOCK_BYTES,
    file::{Attributes, FileNumber},
    surviving::Memory,
};

/// Files that went back to the checkpoint and are told, and how many at a time.
const TOLD_MAX: usize = 1024;
const TOLD_AT_ONCE: usize = 16;

/// Reads what an earlier instance has left, and says what of it is lost.
pub(super) fn read<M: Memory>(
    memory: M,
    pages_max: usize,
    trust: Trust,
) -> (Ledger<M>, Option<Restored<M>>) {
    let (reading, left) = Reading::new(memory, pages_max);
    match left {
        Left::Nothing => (reading.discard(), None),
        Left::Damaged { reason, changed } => {
            tell_all_lost(reason, changed);
            (reading.discard(), None)
        }
        Left::Whole(restored) if trust == Trust::Discard => {
            let files = restored.files.iter().map(|(_, file, _)| file.number);
            let changed = Changed {
                files: files.collect(),
                are_all: true,
            };
            tell_all_lost("instances that went on with it died", changed);
            drop(restored);
            (reading.discard(), None)
        }
        Left::Whole(restored) => {
            for (_, file, pages) in &restored.files {
                let lost = pages.iter().filter(|page| page.is_lost);
                tell_lost(
                    file.number,
                    &lost.map(|page| page.index).collect::<Vec<_>>(),
                );
            }
            (reading.accept(&restored.volume), Some(restored))
        }
    }
}

/// Says that pages of a file are lost. Whoever knows names tells them; see the console's `lost`.
pub(super) fn tell_lost(file: FileNumber, pages: &[u64]) {
    let (file, count) = (file.0, pages.len());
    let Some(first) = pages.first() else { return };
    ::log::error!(
        "cache: pages of file {file} were overwritten in memory, {count} of them, the first is page {first}: they are lost, and reading them is an error until they are written again"
    );
    for page in pages {
        ::log::info!(target: crate::EVENT, r#"{{"event":"loss","file":{file},"page":{page}}}"#);
    }
}

/// Says that files went back to the checkpoint that nobody can name.
fn tell_unnamed() {
    ::log::info!(target: crate::EVENT, r#"{{"event":"reverted","files":[],"more":true}}"#);
}

fn tell_all_lost(reason: &str, changed: Changed) {
    ::log::error!(
        "cache: its memory cannot be relied on ({reason}): what was not synced is lost, and everything is as of the last checkpoint"
    );
    let are_all = changed.are_all;
    let files: Vec<_> = changed.files.into_iter().collect();
    ::log::info!(
        target: crate::EVENT,
        r#"{{"event":"loss","reason":"{reason}","files":{}}}"#,
        files.len()
    );
    let named = &files[..files.len().min(TOLD_MAX)];
    for (place, some) in named.chunks(TOLD_AT_ONCE).enumerate() {
        let mut numbers = String::new();
        for file in some {
            let comma = if numbers.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(numbers, "{comma}{}", file.0);
        }
        // Whoever knows names tells all of them; see the console's `lost`.
        ::log::info!(target: crate::EVENT, r#"{{"event":"reverted","files":[{numbers}]}}"#);
        if place == 0 {
            let more = match files.len() - some.len() {
                0 => String::new(),
                more => alloc::format!(" and {more} more"),
            };
            let which = match are_all {
                true => "files that had changed since",
                false => {
                    "at least these files had changed since, and others cannot be named any more"
                }
            };
            ::log::error!("cache: {which}: {numbers}{more}");
        }
    }
    if files.is_empty() && !are_all {
        ::log::error!("cache: the files that had changed since cannot be named any more");
    }
    if named.len() < files.len() || !are_all {
        tell_unnamed();
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Writes down how a file is now. With this, a change has happened, whoever dies.
    pub(super) fn write_down(&self, pool: &mut Pool<M>, file: &Rc<File>, state: &State) {
        let mut log = self.log.borrow_mut();
        let record = log.record(file, state.below.size);
        let written = FileRecord {
            number: file.number,
            removed: record.removed,
            created: record.created,
            cut: record.cut,
            stands: record.stands,
            now: Some(state.now),
            digest: state.digest,
        };
        pool.ledger.set_file(&mut record.id, &written);
    }

    /// Writes down that a file was deleted.
    pub(super) fn write_down_deleted(&self, number: FileNumber) {
        let mut log = self.log.borrow_mut();
        let ledger = &mut self.pool.borrow_mut().ledger;
        let (mut id, is_known_below) = log.deleted(number);
        if is_known_below {
            let deleted = FileRecord {
                number,
                removed: true,
                ..FileRecord::default()
            };
            ledger.set_file(&mut id, &deleted);
            log.written_down(number, id);
        } else {
            ledger.remove_file(id);
        }
    }

    /// How things stand with the layers below, as it is written down; `None` before there is a volume.
    pub(super) fn volume_record(&self) -> Option<VolumeRecord> {
        let link = self.link.borrow();
        let mut attachment = link.attachment?;
        attachment.checkpoint = link.base;
        Some(VolumeRecord {
            attachment,
            syncing: link.syncing,
            crashed_ns: link.crashed_ns[0].unwrap_or(0),
            history: self.history.get(),
            epoch: 0,
        })
    }

    /// Writes down how things stand with the layers below.
    pub(super) fn write_down_volume(&self) {
        if let Some(volume) = self.volume_record() {
            self.pool.borrow_mut().ledger.set_volume(volume);
        }
    }

    /// Takes over what an earlier instance has left. The recovery does the rest.
    pub(super) fn restore(&self, restored: Restored<M>) {
        let Restored { volume, files } = restored;
        self.history.set(volume.history);
        {
            let mut link = self.link.borrow_mut();
            link.attachment = Some(volume.attachment);
            link.base = volume.attachment.checkpoint;
            link.syncing = volume.syncing;
            link.crashed_ns[0] = (volume.crashed_ns > 0).then_some(volume.crashed_ns);
        }
        let (count, mut pages) = (files.len(), 0);
        for (id, record, content) in files {
            pages += content.len();
            let file = |_| self.files.borrow_mut().entry(record.number);
            let file = record.now.map(file);
            let changed = Record {
                id: Some(id),
                stands: record.stands,
                removed: record.removed,
                created: record.created,
                cut: record.cut,
                file: file.clone(),
            };
            self.log.borrow_mut().restore(record.number, changed);
            if let (Some(file), Some(now)) = (file, record.now) {
                self.restore_file(&file, now, record.digest, content);
            }
        }
        ::log::info!("cache: goes on with {count} files and {pages} pages that were not synced");
        self.enter(Phase::Broken);
    }

    fn restore_file(
        &self,
        file: &Rc<File>,
        now: Attributes,
        digest: u64,
        pages: Vec<RestoredPage<M>>,
    ) {
        let mut state = file.state.borrow_mut();
        state.present(now);
        state.digest = digest;
        state.blocks_unsure = true;
        let mut pool = self.pool.borrow_mut();
        for RestoredPage {
            index,
            page,
            checksum,
            guard,
            is_lost,
        } in pages
        {
            let content = Content {
                page,
                checksum: Some(checksum),
                is_lost,
                guard,
            };
            let id = pool.insert_logged(file, index, content);
            state.pages.insert(index, id);
        }
        // A death may have come between a truncation and this.
        let rest = (now.size % BLOCK_BYTES as u64) as usize;
        let last = state.pages.get(&page_of(now.size)).copied();
        if let (Some(id), true) = (last, rest > 0) {
            match pool.take() {
                Ok(spare) => self.zero_rest(&mut pool, file, &mut state, id, rest, spare),
                Err(_) => pool.amend(id).is_lost = true,
            }
        }
    }
}
