//! Mounting a crash state: it must be a volume like any other, with exactly what the oracle allows.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use storage::{
    block::{
        SECTOR_BYTES,
        ram::{Event, History, RamDisk},
    },
    twinfs::Overwrite,
    vfs::FileSystem,
};
use tests::{compare::same_tree, model::Model, overwrites::is_in_place, stack::TestClock};
use xxhash_rust::xxh64::Xxh64;

use crate::{
    caught::caught,
    rig::{Cache, Disks, stack},
};

use super::{
    call::{Call, new_file},
    recording::Recording,
    state::{DiskState, State},
};

/// Sectors in what the contents of disks are compared by.
const PAGE_SECTORS: u64 = 8;
const PAGE_BYTES: usize = PAGE_SECTORS as usize * SECTOR_BYTES;

/// The time after the crash.
const AFTERWARDS: u64 = 1_000_000;

/// The disk that is left.
fn crash(before: &RamDisk, history: &History, state: &DiskState) -> RamDisk {
    let disk = before.snapshot();
    let mut writes = 0..state.unflushed;
    for (event, taken) in history.events()[..state.taken].iter().enumerate() {
        let Event::Write { sector, data } = taken else {
            continue;
        };
        if event < state.flushed {
            disk.poke(*sector, data);
            continue;
        }
        let (write, sectors) = (
            writes.next().expect("counted"),
            (data.len() / SECTOR_BYTES) as u64,
        );
        for (at, bytes) in (0..).zip(data.chunks(SECTOR_BYTES)) {
            if state.kept.has(write, state.unflushed, at, sectors) {
                disk.poke(sector + at, bytes);
            }
        }
    }
    disk
}

/// Makes the disks of crash states.
pub struct Crashes<'a> {
    recording: &'a Recording,
    /// The disks before the workload, and which pages of each it ever writes to.
    before: Vec<(RamDisk, BTreeSet<u64>)>,
    /// Disks of states that were made, which many states share, and what tells their contents.
    made: HashMap<(usize, DiskState), (RamDisk, u64)>,
}

impl<'a> Crashes<'a> {
    /// Those of a recording.
    #[must_use]
    pub fn new(recording: &'a Recording) -> Self {
        let disk = |history: &History| (history.crash(0, |_, _| false), touched(history));
        Self {
            recording,
            before: recording.histories.iter().map(disk).collect(),
            made: HashMap::new(),
        }
    }

    fn disk(&mut self, number: usize, state: DiskState) -> &(RamDisk, u64) {
        self.made.entry((number, state)).or_insert_with(|| {
            let (before, touched) = &self.before[number];
            let disk = crash(before, &self.recording.histories[number], &state);
            let mut hash = Xxh64::new(number as u64);
            for page in touched {
                let contents = |disk: &RamDisk| disk.peek(page * PAGE_SECTORS, PAGE_BYTES);
                let now = contents(&disk);
                if now != contents(before) {
                    hash.update(&page.to_le_bytes());
                    hash.update(&now);
                }
            }
            (disk, hash.digest())
        })
    }

    /// What tells a state's contents, and what may be in them, from that of all others of the same workload.
    pub fn contents(&mut self, state: &State) -> u64 {
        let mut hash = Xxh64::new(0);
        for (number, &disk) in state.disks.iter().enumerate() {
            let here = state.missing != Some(number);
            let contents = if here { self.disk(number, disk).1 } else { 0 };
            hash.update(&contents.to_le_bytes());
        }
        for allowed in &state.allowed {
            hash.update(&allowed.to_le_bytes());
        }
        hash.digest()
    }

    /// The disks of a state.
    pub fn disks(&mut self, state: &State) -> Disks {
        let mut disks = Disks::new();
        for (number, &disk) in state.disks.iter().enumerate() {
            let here = state.missing != Some(number);
            disks.push(here.then(|| Rc::new(self.disk(number, disk).0.snapshot())));
        }
        disks
    }
}

/// What a history ever writes to.
fn touched(history: &History) -> BTreeSet<u64> {
    let mut pages = BTreeSet::new();
    for event in history.events() {
        if let Event::Write { sector, data } = event {
            let sectors = (data.len() / SECTOR_BYTES) as u64;
            pages.extend(sector / PAGE_SECTORS..=(sector + sectors - 1) / PAGE_SECTORS);
        }
    }
    pages
}

/// Mounts and compares, writes and syncs, and does that once more. `disks` makes the disks.
///
/// Where data are overwritten in place, the stack takes a checkpoint of its own when it has made the copies
/// equal, so its number does not tell which state it led back to: one of those allowed has to be it.
///
/// # Panics
/// At the first difference.
pub fn check(mut disks: impl FnMut() -> Disks, recording: &Recording, state: &State) {
    if recording.overwrite == Overwrite::Relocate {
        return check_as(&disks(), recording, state, None);
    }
    let mut differences = Vec::new();
    for &checkpoint in &state.allowed {
        let disks = disks();
        match caught(|| check_as(&disks, recording, state, Some(checkpoint))) {
            Ok(()) => return,
            Err(what) => differences.push(format!("as checkpoint {checkpoint}: {what}")),
        }
    }
    panic!("{}", differences.join("\n"));
}

/// As [`check`]; with blocks that were overwritten since `in_place`, that is the state it leads back to.
fn check_as(disks: &Disks, recording: &Recording, state: &State, in_place: Option<u64>) {
    let clock = TestClock::default();
    clock.set(AFTERWARDS);
    let present = disks.iter().flatten().count();
    let (mut model, checkpoint): (Model, u64) = {
        let system = stack(disks, &clock, Cache::Ample, recording.overwrite);
        system.run(async {
            let client = system.client(0);
            let found = client.statfs().await;
            let found = found.unwrap_or_else(|error| panic!("it cannot be mounted: {error}"));
            assert_eq!(
                found.stores_present as usize, present,
                "stores at work, of those present"
            );
            let loaded = found.checkpoint;
            let checkpoint = in_place.unwrap_or(loaded);
            let ours = in_place.is_some() && loaded == checkpoint + 1;
            let allowed = &state.allowed;
            assert!(
                allowed.contains(&checkpoint) && (loaded == checkpoint || ours),
                "checkpoint {loaded} was loaded, not {allowed:?}"
            );
            let mut model = recording.checkpoints[&checkpoint].clone();
            model.at(AFTERWARDS);
            let what = format!("checkpoint {checkpoint}");
            if in_place.is_some() {
                let overwrites = recording.overwrites(checkpoint, state.taken);
                let whole = |before: &[u8], block: &[u8]| {
                    let mut disks = disks.iter().zip(&recording.histories);
                    disks.any(|(disk, history)| {
                        let disk = disk.as_ref();
                        disk.is_some_and(|disk| is_in_place(disk, history, before, block))
                    })
                };
                let settled = overwrites.settle(&client, &mut model, whole, &what);
                settled.await;
            }
            same_tree(&client, &model, &what).await;
            use_it(&client, &mut model).await;
            let synced = client.sync().await;
            let synced = synced.unwrap_or_else(|error| panic!("a sync after the crash: {error}"));
            (model, synced)
        })
    };
    model.close_all();
    let system = stack(disks, &clock, Cache::Ample, recording.overwrite);
    system.run(async {
        let client = system.client(0);
        let found = client.statfs().await;
        let found = found.unwrap_or_else(|error| panic!("it cannot be mounted again: {error}"));
        assert_eq!(
            found.checkpoint, checkpoint,
            "the checkpoint of the sync after the crash"
        );
        same_tree(&client, &model, "mounted again").await;
    });
}

/// A new file, and something new in each that may be there.
async fn use_it<F: FileSystem>(system: &F, model: &mut Model) {
    new_file(system, model, "afterwards", 6000).await;
    for call in [Call::Overwrite("a"), Call::Append("c"), Call::Unlink("d/b")] {
        let before = model.clone();
        if call.model(model, AFTERWARDS).is_ok() {
            let done = call.system(system, &before, AFTERWARDS).await;
            done.unwrap_or_else(|error| panic!("{call} after the crash: {error}"));
        }
    }
}
