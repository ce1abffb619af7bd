//! One run: boots, work, kills, power cuts, and what is left after each.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use storage::{
    Error,
    block::ram::RamDisk,
    faulty::{Action, Direction, RULES_MAX, Rule},
    twinfs::Overwrite,
    vfs::{self, FileSystem},
};
use tests::{random::Random, stack::FORMAT};

use crate::{
    case::Case,
    client::{self, Shared},
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

/// Virtual time without an operation that ended, nanoseconds, after which the stack hangs.
const HANG_NS: u64 = 600_000_000_000;
/// Steps without an operation that ended, after which the stack hangs.
const HANG_STEPS: u64 = 300_000;

/// Kills without an operation that ended in between: then the stack gets time to recover.
const KILLS_IN_A_ROW_MAX: u64 = 12;

/// Power cuts before somebody has looked at everything: then there is time to look.
const CUTS_IN_A_ROW_MAX: u64 = 4;

/// Blocks that an empty volume may have less than a new one: the mapping and the root directory never get shorter.
const BLOCKS_KEPT_MAX: u64 = 32;

/// A file that takes most of the room of a volume that is to be full.
const FILLER: &[u8] = b"/filler";

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
    /// What the last panic of this thread said, and where.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics tell what they say to [`run`] instead of the terminal.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without words");
        let place = panic
            .location()
            .map(|it| format!(" ({}:{})", it.file(), it.line()));
        LAST_WORDS.set(format!("{text}{}", place.unwrap_or_default()));
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

struct Run<'a> {
    case: &'a Case,
    mix: Mix,
    counts: &'a Cell<Counts>,
    shared: Rc<Shared>,
    /// Chooses kills and cuts.
    random: Random,
    boots: u64,
    now_ns: u64,
    /// Steps at which the next kill and the next cut come.
    next_kill: u64,
    next_cut: u64,
    /// Kills since an operation ended.
    kills_in_a_row: u64,
    /// A disk that is away.
    away: Option<(usize, Medium)>,
    /// Cuts since somebody has looked at everything.
    cuts_in_a_row: u64,
    next_fault: u64,
    /// What the only disk has done wrong, in earlier boots and in this one.
    misdeeds: Misdeeds,
    last_boot: Misdeeds,
    /// Boots in a row in which the stack has stopped before anybody could look.
    stops: u64,
    /// Blocks that were free in the beginning.
    room: u64,
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
            }),
            random: Random::new(case.seed ^ 0x000f_a117),
            boots: 0,
            now_ns: 1_000_000_000_000,
            next_kill: u64::MAX,
            next_cut: u64::MAX,
            kills_in_a_row: 0,
            away: None,
            cuts_in_a_row: 0,
            next_fault: u64::MAX,
            misdeeds: Misdeeds::default(),
            last_boot: Misdeeds::default(),
            stops: 0,
            room: 0,
            works: false,
            disruptions: 0,
            mix,
        };
        run.next_kill = run.after(run.mix.kill_steps);
        run.next_cut = run.after(run.mix.cut_steps);
        run.next_fault = run.after(run.mix.fault_steps);
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
                (_, End::Lost) => return Ok(()),
                (true, End::Done) => break,
                (true, _) => self.move_disks(&mut media),
                (false, _) => {}
            }
        }
        // What the last cut has left, without another one.
        (self.next_kill, self.next_cut, self.next_fault) = (u64::MAX, u64::MAX, u64::MAX);
        let mut machine = self.boot(media);
        let end = self.look(&mut machine)?;
        // What a lie has damaged cannot always be deleted.
        if end == End::Done && !self.shared.oracle.borrow().is_lied_to() {
            self.empty(&mut machine)?;
        }
        machine.kernel.shut_down();
        Ok(())
    }

    /// Everything can be deleted, and then there is as much room as in the beginning.
    fn empty(&mut self, machine: &mut Machine) -> Result<(), String> {
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
            client::delete_all(&system, tops).await?;
            system.sync().await.map_err(failed)?;
            Ok(system.statfs().await.map_err(failed)?.blocks_free)
        };
        machine.kernel.start(roles.attendant(), async move {
            *told.borrow_mut() = Some(room.await);
        });
        self.go(machine, &mut |_| found.borrow().is_some())?;
        let room: Result<u64, String> = found.take().expect("was asked");
        let room = room.map_err(|what| format!("at the end, deleting everything: {what}"))?;
        // A disk that lies may have cost what leads to blocks; then they are not found again.
        if self.mix.fault_steps == 0 && room + BLOCKS_KEPT_MAX < self.room {
            return Err(format!(
                "everything is deleted, and {room} blocks are free; {} were in the beginning",
                self.room
            ));
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

    /// Makes the volume, with a directory for each client. Nothing is promised before that.
    fn format(&mut self, media: &mut Vec<Option<Medium>>) -> Result<(), String> {
        let next = (self.next_kill, self.next_cut, self.next_fault);
        (self.next_kill, self.next_cut, self.next_fault) = (u64::MAX, u64::MAX, u64::MAX);
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
            let free = async || system.statfs().await.expect("statfs").blocks_free;
            for top in tops {
                system.mkdir(&top, 0o755).await.expect("mkdir");
            }
            system.sync().await.expect("sync");
            told.set(Some(free().await));
            if let Some(room) = left {
                client::fill(&system, FILLER, room).await.expect("fill");
                system.sync().await.expect("sync");
            }
            done.set(true);
        });
        self.go(&mut machine, &mut |_| filled.get())?;
        self.room = room.get().unwrap_or(0);
        (self.next_kill, self.next_cut, self.next_fault) = next;
        let mut nothing = Random::new(0);
        *media = self.end(machine, &mut nothing);
        Ok(())
    }

    /// Clients work until there were enough steps, or the power is cut.
    fn work(&mut self, machine: &mut Machine) -> Result<End, String> {
        for client in 0..self.mix.roles.clients {
            self.start(machine, client, false);
        }
        let steps = self.mix.steps;
        self.works = true;
        let end = self.go(machine, &mut |counts| counts.steps >= steps);
        self.works = false;
        end
    }

    fn start(&self, machine: &Machine, client: usize, succeeds: bool) {
        let roles = self.mix.roles;
        let (role, naming) = (roles.client(client), machine.endpoint(roles.naming()));
        let (shared, kernel) = (self.shared.clone(), machine.kernel.clone());
        let (mix, case) = (self.mix.clone(), self.case.clone());
        let work = client::work(kernel, naming, shared, mix, case, client, succeeds);
        machine.kernel.start(role, work);
    }

    /// Takes note of what the only disk has done.
    fn note_misdeeds(&mut self, machine: &Machine) {
        let misdeeds = machine.misdeeds(0);
        if misdeeds != self.last_boot {
            self.last_boot = misdeeds;
            self.shared.may_fail.set(true);
            let (lies, strays) = (
                self.misdeeds.lies + misdeeds.lies,
                self.misdeeds.strays + misdeeds.strays,
            );
            self.shared.oracle.borrow_mut().disk_did(lies, strays);
        }
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

    /// After a cut: what is there must be what may be there. Other cuts may come meanwhile.
    fn look(&mut self, machine: &mut Machine) -> Result<End, String> {
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
        let next_fault = std::mem::replace(&mut self.next_fault, u64::MAX);
        let end = self.go(machine, &mut |_| found.borrow().is_some())?;
        self.next_fault = next_fault;
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
            Err(_) if lied_to => return Ok(End::Lost),
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

    fn cut(&mut self, machine: Machine) -> Vec<Option<Medium>> {
        let mut counts = self.counts.get();
        counts.cuts += 1;
        self.counts.set(counts);
        let mut random = Random::new(self.random.number());
        self.end(machine, &mut random)
    }

    fn end(&mut self, machine: Machine, random: &mut Random) -> Vec<Option<Medium>> {
        self.misdeeds = Misdeeds {
            all: self.misdeeds.all + self.last_boot.all,
            lies: self.misdeeds.lies + self.last_boot.lies,
            strays: self.misdeeds.strays + self.last_boot.strays,
        };
        self.last_boot = Misdeeds::default();
        self.shared.stopped.set(false);
        self.shared.quit.borrow_mut().clear();
        self.now_ns = machine.kernel.now_ns() + 1_000_000_000;
        machine.cut(random)
    }

    /// Steps until `done`, or to the next power cut.
    fn go(
        &mut self,
        machine: &mut Machine,
        done: &mut dyn FnMut(&Counts) -> bool,
    ) -> Result<End, String> {
        let (mut operations, mut since_ns, mut since_steps) = (0, self.now_ns, 0);
        loop {
            let progress = match machine.step() {
                Ok(progress) => progress,
                Err(Halt::GaveUp(_)) if self.shared.may_fail.get() => return Ok(End::Stopped),
                Err(Halt::GaveUp(why)) => return Err(why),
                Err(Halt::Stalled) => return Err("nothing in the stack can go on".into()),
            };
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
            counts.disruptions = self.disruptions;
            self.counts.set(counts);
            if counts.operations != operations {
                operations = counts.operations;
                self.kills_in_a_row = 0;
                (since_ns, since_steps) = (machine.kernel.now_ns(), counts.steps);
            }
            if machine.kernel.now_ns() > since_ns + HANG_NS
                || counts.steps > since_steps + HANG_STEPS
            {
                return Err(format!(
                    "no operation has ended for {} s of virtual time and {} steps",
                    (machine.kernel.now_ns() - since_ns) / 1_000_000_000,
                    counts.steps - since_steps
                ));
            }
            if self.works && self.mix.replaces_clients() {
                self.replace_clients(machine);
            }
            if done(&counts) {
                return Ok(End::Done);
            }
            if counts.steps >= self.next_kill {
                self.kill(machine);
            }
            if counts.steps >= self.next_fault {
                self.harm(machine);
            }
            if counts.steps >= self.next_cut {
                self.next_cut = self.after(self.mix.cut_steps);
                if self.cuts_in_a_row < CUTS_IN_A_ROW_MAX && self.disrupts() {
                    self.cuts_in_a_row += 1;
                    return Ok(End::Cut);
                }
            }
        }
    }

    /// The disk that this run has fail does so in one more way.
    fn harm(&mut self, machine: &Machine) {
        self.next_fault = self.after(self.mix.fault_steps);
        let action = self.random.pick(&self.mix.faults);
        let direction = match action {
            Action::Corrupt { .. } => self.random.pick(&[Direction::Reads, Direction::Both]),
            _ => Direction::Both,
        };
        let rule = Rule {
            direction,
            skip: self.random.below(20),
            times: Some(1 + self.random.below(8)),
            one_in: 1 + self.random.below(3) as u32,
            seed: self.random.number(),
            ..Rule::new(action)
        };
        // Of what the only disk does wrong, all is counted.
        let is_full = self.mix.only_disk_fails() && machine.rules(self.mix.failing) == RULES_MAX;
        if is_full {
            return;
        }
        if self.disrupts() {
            machine.harm(self.mix.failing, rule);
            let mut counts = self.counts.get();
            counts.faults += 1;
            self.counts.set(counts);
        }
    }

    /// Whether the next kill or cut is carried out.
    fn disrupts(&mut self) -> bool {
        self.disruptions += 1;
        !self.case.spares(self.disruptions)
    }

    fn kill(&mut self, machine: &Machine) {
        self.next_kill = self.after(self.mix.kill_steps);
        if self.kills_in_a_row >= KILLS_IN_A_ROW_MAX {
            return;
        }
        let victim = self.random.pick(&self.mix.victims);
        let effects = self.random.below(6) as u32;
        let mid_poll = self.random.one_in(2);
        if !self.disrupts() {
            return;
        }
        self.kills_in_a_row += 1;
        let mut counts = self.counts.get();
        if self.mix.mid_poll && mid_poll {
            machine.kernel.kill_soon(victim, effects);
            counts.kills += 1;
        } else if machine.kernel.is_up(victim) {
            machine.kernel.kill(victim, false);
            counts.kills += 1;
        }
        self.counts.set(counts);
    }
}
