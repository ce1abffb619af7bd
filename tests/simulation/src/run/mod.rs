//! One run: boots, work, kills, power cuts, and what is left after each.

mod disruptions;
mod phases;

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use storage::{block::ram::RamDisk, twinfs::Overwrite};
use tests::random::Random;

use crate::{
    case::Case,
    client::{self, Shared, Since},
    disk::Medium,
    machine::{Halt, Machine, Misdeeds, Progress},
    mix::Mix,
    oracle::{Oracle, Rules},
};

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decisions of the executor that were carried out.
    pub steps: u64,
    /// Operations of clients that ended.
    pub operations: u64,
    /// Instances killed.
    pub kills: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Rules by which a disk began to fail.
    pub faults: u64,
    /// Operations that there was no room for, or only for a part.
    pub refused: u64,
    /// Directories of which not everything could be read after a disk had lied, so that their clients left them.
    pub given_up: u64,
    /// Runs that ended because a disk's lies had cost the volume.
    pub lost: u64,
    /// Kills, cuts and faults, those that were left out among them.
    pub disruptions: u64,
    /// The highest number of an operation of any client.
    pub operations_max: u64,
    /// Folds everything that was done.
    pub hash: u64,
}

/// A violation: what the run did, and what was wrong at its end.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What the run had done.
    pub counts: Counts,
    /// In a few lines.
    pub what: String,
}

/// Virtual time that an operation may take, nanoseconds, after which the stack hangs: a disk that fails is asked fifty
/// times.
const HANG_NS: u64 = 600_000_000_000;
/// Steps that an operation may take, those of all others counted, after which the stack hangs. With a kill in every
/// fifty steps some take fifteen thousand.
const HANG_STEPS: u64 = 100_000;

/// Kills without an operation that ended in between: then the stack gets time to recover.
const KILLS_IN_A_ROW_MAX: u64 = 12;

/// Power cuts before somebody has looked at everything: then there is time to look.
const CUTS_IN_A_ROW_MAX: u64 = 4;

/// Blocks that an empty volume may have less than a new one: the mapping never gets shorter. It has two for a hundred and
/// twenty-six files that were there at a time.
const BLOCKS_KEPT_MAX: u64 = 4;

/// A file that takes most of the room of a volume that is to be full.
const FILLER: &[u8] = b"/filler";

/// Steps that clients work on at most after they have rested, before the power fails for the last time.
const STEPS_AFTER_REST: u64 = 600;

/// Boots in which the stack stops before anybody can look, after which there is no volume any more.
const STOPS_MAX: u64 = 3;

/// The first time that files get, nanoseconds.
const STAMP_NS: u64 = 1_000_000_000;

/// Carries out a run.
///
/// # Errors
/// With the violation, if there is one.
pub fn run(case: &Case) -> Result<Counts, Box<Violation>> {
    let counts = Cell::new(Counts::default());
    LAST_WORDS.take();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(case, &counts);
        let result = run.all();
        let mut counted = counts.get();
        counted.operations_max = run.shared.next.borrow().iter().copied().max().unwrap_or(0);
        counts.set(counted);
        result
    }));
    let what = match result {
        Ok(Ok(())) => return Ok(counts.get()),
        Ok(Err(what)) => what,
        Err(_) => LAST_WORDS.take(),
    };
    Err(Box::new(Violation {
        counts: counts.get(),
        what,
    }))
}

thread_local! {
    /// What the first panic of this thread's run said, and where.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics tell what they say to [`run`] instead of the terminal. Of several the first one counts: the others come from
/// destructors that it has run.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without words");
        let place = panic
            .location()
            .map(|it| format!(" ({}:{})", it.file(), it.line()));
        LAST_WORDS.with_borrow_mut(|words| {
            if words.is_empty() {
                *words = format!("{text}{}", place.unwrap_or_default());
            }
        });
    }));
}

/// Why a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What was waited for has happened.
    Done,
    /// The power is cut.
    Cut,
    /// The stack has stopped, as it may when the only disk fails.
    Stopped,
    /// There is no volume any more that anybody could use.
    Lost,
}

/// What is free on a volume.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    blocks: u64,
    /// Files that can still be created.
    files: u64,
}

/// Steps at which something goes wrong next.
#[derive(Clone, Copy, Debug)]
struct Next {
    kill: u64,
    cut: u64,
    fault: u64,
}

impl Next {
    /// Nothing goes wrong.
    const NEVER: Self = Self {
        kill: u64::MAX,
        cut: u64::MAX,
        fault: u64::MAX,
    };
}

struct Run<'a> {
    case: &'a Case,
    mix: Mix,
    counts: &'a Cell<Counts>,
    shared: Rc<Shared>,
    /// Chooses kills and cuts.
    random: Random,
    boots: u64,
    now_ns: u64,
    next: Next,
    /// Kills since an operation ended.
    kills_in_a_row: u64,
    /// A disk that is away.
    away: Option<(usize, Medium)>,
    /// Cuts since somebody has looked at everything.
    cuts_in_a_row: u64,
    /// What the only disk has done wrong, in earlier boots and in this one.
    misdeeds: Misdeeds,
    last_boot: Misdeeds,
    /// A disk has lied, be it one of a mirror.
    lied: bool,
    /// Boots in a row in which the stack has stopped before anybody could look.
    stops: u64,
    /// Blocks and files that were free in the beginning.
    room: Room,
    /// The instance of naming that was seen last in this boot.
    naming: u64,
    /// Clients are at work.
    works: bool,
    /// Kills, cuts and faults so far, those that were left out among them.
    disruptions: u64,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, counts: &'a Cell<Counts>) -> Self {
        let mix = Mix::of(case);
        log::info!("{mix:?}");
        let tops = (0..mix.roles.clients).map(|it| format!("/client{it}").into_bytes());
        let oracle = Rc::new(RefCell::new(Oracle::new(
            tops.collect(),
            STAMP_NS,
            Rules {
                in_place: mix.store.overwrite == Overwrite::InPlace,
                tight: mix.room.is_some(),
                distrust: mix.only_disk_fails(),
            },
        )));
        let mut run = Self {
            case,
            counts,
            shared: Rc::new(Shared {
                oracle,
                operations: Cell::default(),
                refused: Cell::default(),
                may_fail: Cell::default(),
                stopped: Cell::default(),
                over: Cell::default(),
                quit: RefCell::default(),
                next: RefCell::new(vec![0; mix.roles.clients]),
                busy: RefCell::new(vec![None; mix.roles.clients]),
                rest: Cell::default(),
            }),
            random: Random::new(case.seed ^ 0x000f_a117),
            boots: 0,
            now_ns: 1_000_000_000_000,
            next: Next::NEVER,
            kills_in_a_row: 0,
            away: None,
            cuts_in_a_row: 0,
            misdeeds: Misdeeds::default(),
            last_boot: Misdeeds::default(),
            lied: false,
            stops: 0,
            room: Room::default(),
            naming: 0,
            works: false,
            disruptions: 0,
            mix,
        };
        run.next = Next {
            kill: run.after(run.mix.kill_steps),
            cut: run.after(run.mix.cut_steps),
            fault: run.after(run.mix.fault_steps),
        };
        run
    }

    /// About so many steps from now.
    fn after(&mut self, steps: u64) -> u64 {
        match steps {
            0 => u64::MAX,
            steps => self.counts.get().steps + 1 + self.random.below(2 * steps),
        }
    }

    fn boot(&mut self, media: Vec<Option<Medium>>) -> Machine {
        self.boots += 1;
        let oracle = &self.shared.oracle;
        Machine::boot(&self.mix, self.boots, media, oracle, self.now_ns)
    }

    fn all(&mut self) -> Result<(), String> {
        let blank = |&sectors: &u64| {
            Some(Medium {
                truth: RamDisk::new(sectors),
                lies: Rc::default(),
            })
        };
        let mut media: Vec<_> = self.mix.sectors.iter().map(blank).collect();
        self.format(&mut media)?;
        loop {
            let mut machine = self.boot(media);
            let mut end = End::Done;
            if self.boots > 2 {
                end = self.look(&mut machine)?;
            }
            let worked = end == End::Done;
            if worked {
                end = self.work(&mut machine)?;
            }
            media = self.cut(machine);
            match (worked, end) {
                (_, End::Lost) => {
                    let mut counts = self.counts.get();
                    counts.lost = 1;
                    self.counts.set(counts);
                    return Ok(());
                }
                (true, End::Done) => break,
                (true, _) => self.move_disks(&mut media),
                (false, _) => {}
            }
        }
        // What the last cut has left, without another one.
        self.next = Next::NEVER;
        let mut machine = self.boot(media);
        let end = self.look(&mut machine)?;
        // What a lie has damaged cannot always be deleted, nor a directory with two names.
        let is_whole = {
            let oracle = self.shared.oracle.borrow();
            !oracle.is_lied_to() && !oracle.has_left_any()
        };
        if end == End::Done && is_whole {
            self.empty(&mut machine)?;
        }
        Ok(())
    }

    /// The clients' directories.
    fn tops(&self) -> Vec<Vec<u8>> {
        self.shared.oracle.borrow().tops()
    }

    /// One disk of a mirror is away for a while, once. It may be stale when it comes back.
    fn move_disks(&mut self, media: &mut [Option<Medium>]) {
        let random = self.random.number();
        match self.away.take() {
            Some((disk, medium)) if random.is_multiple_of(2) => media[disk] = Some(medium),
            Some(away) => self.away = Some(away),
            None if self.mix.away && random.is_multiple_of(3) => {
                self.mix.away = false;
                let disk = (random >> 8) as usize % media.len();
                self.away = media[disk].take().map(|medium| (disk, medium));
            }
            None => {}
        }
    }

    fn start(&self, machine: &Machine, client: usize, succeeds: bool) {
        let roles = self.mix.roles;
        let (role, naming) = (roles.client(client), machine.endpoint(roles.naming()));
        let (shared, kernel) = (self.shared.clone(), machine.kernel.clone());
        let (mix, case) = (self.mix.clone(), self.case.clone());
        shared.begins(client, &kernel);
        let work = client::work(kernel, naming, shared, mix, case, client, succeeds);
        machine.kernel.start(role, work);
    }

    /// Clients that died, or cannot go on, are replaced.
    fn replace_clients(&self, machine: &Machine) {
        for client in self.shared.quit.take() {
            let role = self.mix.roles.client(client);
            machine.kernel.kill(role, true);
        }
        for client in 0..self.mix.roles.clients {
            if !machine.kernel.is_up(self.mix.roles.client(client)) {
                self.shared.oracle.borrow_mut().died(client);
                self.start(machine, client, true);
            }
        }
    }

    fn cut(&mut self, machine: Machine) -> Vec<Option<Medium>> {
        let mut counts = self.counts.get();
        counts.cuts += 1;
        self.counts.set(counts);
        let mut random = Random::new(self.random.number());
        self.end(machine, &mut random)
    }

    fn end(&mut self, machine: Machine, random: &mut Random) -> Vec<Option<Medium>> {
        self.note_lies(&machine);
        self.misdeeds = Misdeeds {
            all: self.misdeeds.all + self.last_boot.all,
            lies: self.misdeeds.lies + self.last_boot.lies,
            strays: self.misdeeds.strays + self.last_boot.strays,
        };
        self.last_boot = Misdeeds::default();
        self.shared.stopped.set(false);
        // The disk's rules end with the boot; what it has lied about stays.
        let lied_to = self.shared.oracle.borrow().is_lied_to();
        self.shared.may_fail.set(lied_to);
        self.shared.quit.borrow_mut().clear();
        self.shared.busy.borrow_mut().fill(None);
        self.now_ns = machine.kernel.now_ns() + 1_000_000_000;
        machine.cut(random)
    }

    /// Whoever asked for something gets an answer, however busy the others are. `began` is when the attendant began, if
    /// it is at work and not the clients.
    fn check_progress(&self, machine: &Machine, began: Since) -> Result<(), String> {
        let hangs = |who: &str, since: Since| {
            let ns = machine.kernel.now_ns() - since.ns;
            let steps = machine.kernel.steps() - since.steps;
            if ns <= HANG_NS && steps <= HANG_STEPS {
                return Ok(());
            }
            let seconds = ns / 1_000_000_000;
            Err(format!(
                "{who} has waited {seconds} s of virtual time and {steps} steps for one operation to end"
            ))
        };
        if !self.works {
            return hangs("the attendant", began);
        }
        let busy = self.shared.busy.borrow();
        let mut busy = busy.iter().enumerate();
        busy.try_for_each(|(client, since)| match since {
            Some(since) => hangs(&format!("client {client}"), *since),
            None => Ok(()),
        })
    }

    /// Steps until `done`, or to the next power cut.
    fn go(
        &mut self,
        machine: &mut Machine,
        done: &mut dyn FnMut(&Counts) -> bool,
    ) -> Result<End, String> {
        let began = Since::now(&machine.kernel);
        let mut operations = 0;
        loop {
            let progress = match machine.step() {
                Ok(progress) => progress,
                Err(Halt::GaveUp(_)) if self.shared.may_fail.get() => return Ok(End::Stopped),
                Err(Halt::GaveUp(why)) => return Err(why),
                Err(Halt::Stalled) => return Err("nothing in the stack can go on".into()),
            };
            let naming = machine.kernel.generation(self.mix.roles.naming());
            if naming > self.naming.max(1) {
                self.shared.oracle.borrow_mut().naming_died();
            }
            self.naming = naming;
            if self.mix.only_disk_fails() {
                self.note_misdeeds(machine);
                if self.shared.stopped.get() {
                    return Ok(End::Stopped);
                }
                if self.shared.over.get() {
                    return Ok(End::Lost);
                }
            }
            let mut counts = self.counts.get();
            counts.steps += u64::from(progress == Progress::Went);
            counts.hash = counts.hash.rotate_left(1) ^ machine.kernel.hash();
            counts.operations = self.shared.operations.get();
            counts.refused = self.shared.refused.get();
            counts.given_up = self.shared.oracle.borrow().given_up() as u64;
            counts.disruptions = self.disruptions;
            counts.kills += machine.kernel.take_kills();
            self.counts.set(counts);
            if counts.operations != operations {
                operations = counts.operations;
                self.kills_in_a_row = 0;
            }
            self.check_progress(machine, began)?;
            if self.works && self.mix.replaces_clients() {
                self.replace_clients(machine);
            }
            if done(&counts) {
                return Ok(End::Done);
            }
            if counts.steps >= self.next.kill {
                self.kill(machine);
            }
            if counts.steps >= self.next.fault {
                self.harm(machine);
            }
            if counts.steps >= self.next.cut {
                self.next.cut = self.after(self.mix.cut_steps);
                if self.cuts_in_a_row < CUTS_IN_A_ROW_MAX && self.disrupts() {
                    self.cuts_in_a_row += 1;
                    return Ok(End::Cut);
                }
            }
        }
    }
}
