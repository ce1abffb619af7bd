//! What a run is made of, all of it from its seed: runs differ in what they have at all, not only in how
//! often it happens (swarm testing), as what is on everywhere hides what needs its absence.

use storage::{
    cache,
    faulty::Action,
    twinfs::{self, Overwrite},
};
use tests::random::Random;

use crate::{case::Case, habits::Habit, kernel::Schedule, roles::Roles};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Seed of the run.
    pub seed: u64,
    /// Steps before the last check.
    pub steps: u64,
    /// Disks and clients.
    pub roles: Roles,
    /// Sectors of each disk.
    pub sectors: Vec<u64>,
    /// Blocks that clients find free, if that is few: what they do finds the volume full at times.
    pub room: Option<u64>,
    /// Bounds of the cache.
    pub cache: cache::Config,
    /// Bounds of the file stores.
    pub store: twinfs::Config,
    /// Nanoseconds between two checkpoints of naming.
    pub period_ns: u64,
    /// Steps from one kill to the next, about; zero is never.
    pub kill_steps: u64,
    /// Kills hit in the middle of a poll, too.
    pub mid_poll: bool,
    /// Those count the calls and answers of a task, not all that it does.
    pub mid_talk: bool,
    /// Who is killed.
    pub victims: Vec<usize>,
    /// Steps from one power cut to the next, about; zero is never.
    pub cut_steps: u64,
    /// One disk of a mirror is away for a while.
    pub away: bool,
    /// Steps from one fault of a disk to the next, about; zero is never.
    pub fault_steps: u64,
    /// Which disk fails.
    pub failing: usize,
    /// How.
    pub faults: Vec<Action>,
    /// One in so many operations is a `sync`.
    pub sync_one_in: u64,
    /// One in so many operations is followed by a look at the whole directory.
    pub look_one_in: u64,
    /// What clients like to do.
    pub habit: Habit,
    /// Clients pause now and then, this long at most, nanoseconds.
    pub pause_ns: u64,
    /// How tasks are scheduled. The seed is another one after each power cut.
    pub schedule: Schedule,
}

/// Sectors of a disk that is never full: 32 MiB.
const AMPLE_SECTORS: u64 = 65_536;

/// Sectors of the least volume there can be: 4 MiB.
const LEAST_SECTORS: u64 = 8192;

/// All that a disk can do wrong.
const FAULTS: [Action; 9] = [
    Action::Corrupt { bytes: 1 },
    Action::Corrupt { bytes: 4096 },
    Action::TornWrite { sectors: 0 },
    Action::LostWrite,
    Action::LostFlush,
    Action::MisdirectedWrite { to: None },
    Action::ReadError,
    Action::WriteError,
    Action::Slow { ms: 50 },
];

impl Mix {
    /// The mix of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let mut random = Random::new(case.seed ^ 0x006d_6978);
        let disks = 1 + random.below(2) as usize;
        let clients = random.pick(&[1, 1, 2, 3, 4]);
        let roles = Roles { disks, clients };
        let mut victims: Vec<usize> = (0..=roles.naming()).collect();
        victims.retain(|_| !random.one_in(4));
        if random.one_in(2) {
            victims.extend((0..clients).map(|client| roles.client(client)));
        }
        // What one disk of a mirror does wrong, the other makes good, whatever happens besides. What the only disk
        // does wrong may cost something.
        let fails = random.one_in(3);
        let mut faults = FAULTS.to_vec();
        faults.retain(|_| random.one_in(2));
        let pages = random.pick(&[64, 64, 128, 1024]);
        let room = random.one_in(3).then(|| random.pick(&[20, 40, 80, 150]));
        // The disks of a mirror need not be alike.
        let sectors = |_| match room {
            Some(_) => LEAST_SECTORS + 8 * random.pick(&[0, 0, 50]),
            None => AMPLE_SECTORS,
        };
        let sectors = (0..disks).map(sectors).collect();
        let mut habits = Random::new(case.seed ^ 0x6861_6269_7473);
        let mix = Self {
            seed: case.seed,
            steps: random.pick(&[5_000, 20_000, 50_000]),
            roles,
            sectors,
            room,
            cache: cache::Config {
                pages,
                log_pages: random.pick(&[64, 1024, 8192]),
                dirty_percent: random.pick(&[10, 40]),
                dirty_percent_max: random.pick(&[20, 75]),
                calls_below: random.pick(&[2, 24]),
                // Whoever kills faster than anything can be answered sees the orderly stop, not this.
                call_attempts: 100_000,
                ..Default::default()
            },
            store: twinfs::Config {
                cache_blocks: random.pick(&[256, 4096]),
                overwrite: random.pick(&[Overwrite::Relocate, Overwrite::InPlace]),
                ..Default::default()
            },
            period_ns: random.pick(&[20_000_000, 5_000_000_000]),
            kill_steps: random.pick(&[0, 50, 300, 2000]),
            mid_poll: random.one_in(2),
            mid_talk: habits.one_in(2),
            victims,
            cut_steps: random.pick(&[0, 500, 3000, 10_000]),
            away: disks == 2 && !fails && random.one_in(2),
            fault_steps: random.pick(&[300, 2000]) * u64::from(fails && !faults.is_empty()),
            failing: random.below(disks as u64) as usize,
            faults,
            sync_one_in: random.pick(&[5, 20, 100]),
            look_one_in: random.pick(&[20, 100]),
            habit: habits.pick(&[Habit::None, Habit::None, Habit::Appends, Habit::Unnames]),
            pause_ns: random.pick(&[0, 1_000_000, 3_000_000_000]),
            schedule: Schedule {
                seed: case.seed,
                step_ns_max: random.pick(&[2_000, 50_000]),
                mailbox_max: random.pick(&[256, 256, 40]),
                slow: random
                    .one_in(2)
                    .then(|| random.below(roles.naming() as u64 + 1) as usize),
            },
        };
        mix.without(case)
    }

    /// Whether clients may die, or end by themselves.
    #[must_use]
    pub fn replaces_clients(&self) -> bool {
        let kills = self.kill_steps > 0 && self.victims.iter().any(|&it| it > self.roles.naming());
        kills || self.room.is_some() || self.only_disk_fails()
    }

    /// Whether the only disk fails.
    #[must_use]
    pub fn only_disk_fails(&self) -> bool {
        self.roles.disks == 1 && self.fault_steps > 0
    }

    /// Less what the case leaves out.
    fn without(mut self, case: &Case) -> Self {
        if case.is_without("mid-poll") {
            self.mid_poll = false;
        }
        if case.is_without("cuts") {
            self.cut_steps = 0;
        }
        if case.is_without("faults") {
            self.fault_steps = 0;
        }
        if case.is_without("away") {
            self.away = false;
        }
        if case.is_without("cache") {
            let cache = self.roles.cache();
            self.victims.retain(|&victim| victim != cache);
        }
        if case.is_without("deaths") {
            self.victims.retain(|&victim| victim <= self.roles.naming());
        }
        if case.is_without("slow") {
            self.schedule.slow = None;
        }
        if case.is_without("clients") {
            self.roles.clients = 1;
            let last = self.roles.client(0);
            self.victims.retain(|&victim| victim <= last);
        }
        if case.is_without("in-place") {
            self.store.overwrite = Overwrite::Relocate;
        }
        if case.is_without("full") {
            self.room = None;
            self.sectors.fill(AMPLE_SECTORS);
        }
        if case.is_without("habits") {
            self.habit = Habit::None;
        }
        if case.is_without("pauses") {
            self.pause_ns = 0;
        }
        if case.is_without("kills") || self.victims.is_empty() {
            self.kill_steps = 0;
        }
        if let Some(steps) = case.steps {
            self.steps = self.steps.min(steps);
        }
        self
    }
}
