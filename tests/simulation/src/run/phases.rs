//! What a run goes through: making the volume, working, looking what a crash has left, and deleting it all.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use storage::{
    BLOCK_BYTES, Error,
    buffer::Source,
    vfs::{self, FileSystem, Kind, OpenFlags},
};
use tests::{compare::entries, operation::contents, random::Random, stack::FORMAT};

use super::{BLOCKS_KEPT_MAX, End, FILLER, Next, Room, Run, STEPS_AFTER_REST, STOPS_MAX};
use crate::{client, disk::Medium, machine::Machine};

/// Blocks that are written at once to fill a volume.
const FILL_BLOCKS: usize = 16;

impl Run<'_> {
    /// Everything can be deleted, and then there is as much room as in the beginning.
    pub(super) fn empty(&mut self, machine: &mut Machine) -> Result<(), String> {
        let roles = self.mix.roles;
        let system = vfs::Client::new(machine.endpoint(roles.naming()));
        let found = Rc::new(RefCell::new(None));
        let (told, tops) = (found.clone(), self.tops());
        let is_filled = self.mix.room.is_some();
        let room = async move {
            let failed = |error| format!("{error}");
            if is_filled {
                system.unlink(FILLER).await.map_err(failed)?;
            }
            delete_all(&system, tops).await?;
            system.sync().await.map_err(failed)?;
            room_of(&system).await.map_err(failed)
        };
        machine.kernel.start(roles.attendant(), async move {
            *told.borrow_mut() = Some(room.await);
        });
        self.go(machine, &mut |_| found.borrow().is_some())?;
        let room: Result<Room, String> = found.take().expect("was asked");
        let room = room.map_err(|what| format!("at the end, deleting everything: {what}"))?;
        // A disk that has lied may have cost what leads to blocks; then they are not found again. One that fails may
        // have had a rename leave a file with a count of links that is too high.
        let is_whole = !self.lied && !self.shared.oracle.borrow().counts_too_many();
        let blocks_lack = is_whole && room.blocks + BLOCKS_KEPT_MAX < self.room.blocks;
        // A file may stay without a name, or a copy of one on a disk that failed, if it could not be deleted when its turn came.
        let files_lack = is_whole && self.mix.fault_steps == 0 && room.files < self.room.files;
        if blocks_lack || files_lack {
            return Err(format!(
                "everything is deleted, and there is {room:?} free; {:?} was in the beginning",
                self.room
            ));
        }
        Ok(())
    }

    /// Makes the volume, with a directory for each client. Nothing is promised before that.
    pub(super) fn format(&mut self, media: &mut Vec<Option<Medium>>) -> Result<(), String> {
        let next = std::mem::replace(&mut self.next, Next::NEVER);
        let mut machine = self.boot(std::mem::take(media));
        let roles = self.mix.roles;
        let system = vfs::Client::new(machine.endpoint(roles.naming()));
        let room = Rc::new(Cell::new(None));
        let tops = self.tops();
        let (told, left) = (room.clone(), self.mix.room);
        let filled = Rc::new(Cell::new(false));
        let done = filled.clone();
        machine.kernel.start(roles.attendant(), async move {
            system.format(&FORMAT).await.expect("format");
            system.sync().await.expect("sync");
            told.set(Some(room_of(&system).await.expect("statfs")));
            for top in tops {
                system.mkdir(&top, 0o755).await.expect("mkdir");
            }
            system.sync().await.expect("sync");
            if let Some(room) = left {
                fill(&system, FILLER, room).await.expect("fill");
                system.sync().await.expect("sync");
            }
            done.set(true);
        });
        self.go(&mut machine, &mut |_| filled.get())?;
        self.room = room.get().unwrap_or_default();
        self.next = next;
        let mut nothing = Random::new(0);
        *media = self.end(machine, &mut nothing);
        Ok(())
    }

    /// Clients work until there were enough steps, or the power is cut. In the end what they are at must end; the
    /// power that fails then may still find them at work.
    pub(super) fn work(&mut self, machine: &mut Machine) -> Result<End, String> {
        for client in 0..self.mix.roles.clients {
            self.start(machine, client, false);
        }
        let steps = self.mix.steps;
        self.works = true;
        let mut end = self.go(machine, &mut |counts| counts.steps >= steps)?;
        if end == End::Done {
            end = self.rest(machine)?;
        }
        if end == End::Done {
            let more = self.counts.get().steps + self.random.below(STEPS_AFTER_REST);
            end = self.go(machine, &mut |counts| counts.steps >= more)?;
        }
        self.works = false;
        Ok(end)
    }

    /// Nobody begins anything, nothing goes wrong any more, and what was begun ends.
    fn rest(&mut self, machine: &mut Machine) -> Result<End, String> {
        let next = std::mem::replace(&mut self.next, Next::NEVER);
        self.shared.rest.set(true);
        let shared = self.shared.clone();
        let end = self.go(machine, &mut |_| shared.is_at_rest());
        self.shared.rest.set(false);
        self.next = next;
        end
    }

    /// After a cut: what is there must be what may be there. Other cuts may come meanwhile.
    pub(super) fn look(&mut self, machine: &mut Machine) -> Result<End, String> {
        let roles = self.mix.roles;
        let found = Rc::new(RefCell::new(None));
        let (system, told) = (
            vfs::Client::new(machine.endpoint(roles.naming())),
            found.clone(),
        );
        let (shared, kernel) = (self.shared.clone(), machine.kernel.clone());
        let tops = shared.oracle.borrow().tops();
        machine.kernel.start(roles.attendant(), async move {
            let mut trees = Vec::new();
            for top in tops {
                trees.push(client::read_tree(&kernel, &system, &shared, &top).await);
            }
            let there = system.statfs().await.map(|_| ());
            *told.borrow_mut() = Some((trees, there));
        });
        // Nothing goes wrong while somebody looks: what cannot be read then is lost.
        let next_fault = std::mem::replace(&mut self.next.fault, u64::MAX);
        let end = self.go(machine, &mut |_| found.borrow().is_some())?;
        self.next.fault = next_fault;
        let lied_to = self.shared.oracle.borrow().is_lied_to();
        match end {
            End::Done => {}
            // It stops again and again.
            End::Stopped if lied_to => {
                self.stops += 1;
                let lost = self.stops > STOPS_MAX;
                return Ok(if lost { End::Lost } else { End::Stopped });
            }
            End::Stopped => return Err("the stack has stopped, and no disk has lied".into()),
            end => return Ok(end),
        }
        let (trees, there) = found.borrow_mut().take().expect("was looked at");
        match there {
            Ok(()) => {}
            // The volume is lost. That is told by an error, and what can still be read of it is as it was.
            Err(
                Error::Device
                | Error::Corrupt
                | Error::NotFormatted
                | Error::NoCheckpoint
                | Error::PeerGone,
            ) if lied_to => {
                let judged = self.shared.oracle.borrow_mut().crashed(&trees);
                judged.map_err(|what| format!("of a volume that is lost: {what}"))?;
                return Ok(End::Lost);
            }
            Err(error) => return Err(format!("after a power cut: {error}")),
        }
        for tree in &trees {
            for (path, error) in tree.lost() {
                if !lied_to || *error != Error::Corrupt {
                    let path = path.escape_ascii();
                    return Err(format!("after a power cut: {path}: {error}"));
                }
            }
        }
        (self.cuts_in_a_row, self.stops) = (0, 0);
        let judged = self.shared.oracle.borrow_mut().crashed(&trees);
        judged.map_err(|what| format!("after a power cut: {what}"))?;
        machine.kernel.kill(roles.attendant(), true);
        Ok(End::Done)
    }
}

/// What is free now.
///
/// # Errors
/// Of the file system.
async fn room_of<F: FileSystem>(system: &F) -> storage::Result<Room> {
    let told = system.statfs().await?;
    Ok(Room {
        blocks: told.blocks_free,
        files: told.files_free,
    })
}

/// Writes a file until no more than `room` blocks are free.
///
/// # Errors
/// Of the file system.
async fn fill<F: FileSystem>(system: &F, path: &[u8], room: u64) -> storage::Result<()> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND;
    let file = system.open(path, flags, 0o644).await?;
    let blocks = system.statfs().await?.blocks_free.saturating_sub(room) as usize;
    for number in 0..blocks.div_ceil(FILL_BLOCKS) {
        let count = FILL_BLOCKS.min(blocks - number * FILL_BLOCKS);
        let bytes = contents(number as u64, count * BLOCK_BYTES);
        system.write(file, None, Source::local(&bytes)).await?;
    }
    system.close(file).await
}

/// Deletes everything in these directories, and them.
///
/// # Errors
/// With what could not be done.
async fn delete_all<F: FileSystem>(system: &F, tops: Vec<Vec<u8>>) -> Result<(), String> {
    let mut left = tops;
    while let Some(path) = left.last().cloned() {
        let failed = |error: Error| format!("{}: {error}", path.escape_ascii());
        let names = entries(system, &path).await.map_err(failed)?;
        for (name, (_, kind)) in &names {
            let path = [&path[..], b"/", name].concat();
            match kind {
                Kind::Directory => left.push(path),
                _ => system.unlink(&path).await.map_err(failed)?,
            }
        }
        if names.values().all(|(_, kind)| *kind != Kind::Directory) {
            system.rmdir(&path).await.map_err(failed)?;
            left.pop();
        }
    }
    Ok(())
}
