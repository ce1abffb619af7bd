//! What can be injected, as the console takes it (`docs/faults.md`), and where errors may be seen.

use abi::Fault;
use stack::{MANAGER, Role};

use super::deaths::Ordered;
use super::documented::Shows;
use super::random::Random;
use super::targets::Targets;
use crate::Failure;
use crate::guest::Description;

/// Faults of tasks after which wrong code goes on with wrong memory: what it answers may be an error, as
/// nothing can tell its good answers from its bad ones (paper, section VI-C). Wrong data it must not be, but of answers that are
/// mixed up.
const GOES_ON: [Fault; 10] = [
    Fault::WildWrite,
    Fault::HeapCorruption,
    Fault::StaticOverrun,
    Fault::DoubleFree,
    Fault::UseAfterFree,
    Fault::OffByOne,
    Fault::SmashedStack,
    Fault::WrongReply,
    Fault::GarbageReply,
    Fault::BitFlip,
];

/// Programs whose answers nothing below can check: what one says of a read, another takes for data.
const UNCHECKED: [&str; 4] = ["twinfs", "logical", "cache", "naming"];

/// Faults after which a task does nothing, and which only those notice who wait for its replies. Nobody does for
/// those of the console but who types.
const HANGS: [Fault; 6] = [
    Fault::Deadlock,
    Fault::Livelock,
    Fault::PoolExhaustion,
    Fault::MissedWakeUp,
    Fault::LostReply,
    Fault::DeafToTime,
];

/// Faults of disks that say nothing of themselves, and those that do.
const SILENT: [&str; 5] = [
    "corrupt",
    "torn-write",
    "lost-write",
    "misdirected-write",
    "lost-flush",
];
const LOUD: [&str; 4] = ["read-error", "write-error", "slow", "dead"];

/// Types of blocks that a fault may be restricted to.
const TYPES: [&str; 10] = [
    "root",
    "log",
    "bitmap",
    "tree",
    "inode",
    "indirect",
    "directory",
    "mapping",
    "link",
    "data",
];

/// A fault, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The fault, with the type of blocks it is restricted to: what experiments are counted by.
    pub fault: String,
    /// A task, or a disk.
    pub target: String,
    /// It is a disk's.
    pub of_disk: bool,
    /// Its task takes hardly any requests: it comes at a time.
    pub is_timed: bool,
    /// What else the console is told.
    pub parameters: String,
    /// What may be seen.
    pub shows: Shows,
}

impl Injection {
    /// Whom the fault ends, by the documents.
    pub fn deaths(&self) -> Ordered {
        let goes_on = GOES_ON.iter().any(|fault| fault.name() == self.fault);
        match self.of_disk {
            true => Ordered::None,
            // Of the manager's own nobody knows that the trap was a kill.
            false if self.fault == Fault::Kill.name() && self.target != MANAGER => Ordered::Kill,
            false if goes_on => Ordered::Damage,
            false => Ordered::Stop,
        }
    }

    /// What to type.
    pub fn command(&self) -> String {
        let (fault, place) = self.fault.split_once(' ').unwrap_or((&self.fault, ""));
        let Self {
            target, parameters, ..
        } = self;
        format!("inject {fault} {target} {place} {parameters}")
    }
}

/// All pairs of a fault and a target, in an order in which each comes once before any comes twice.
pub struct Faults {
    all: Vec<Injection>,
}

impl Faults {
    /// Faults of tasks and of disks. `words` are names of faults, or `all`.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the faults there are.
    pub fn of_everything(
        words: &[String],
        targets: &Targets,
        description: &Description,
    ) -> Result<Self, Failure> {
        let task = |name: &String| {
            let mut tasks = description.stack.tasks.iter();
            tasks.find(|task| task.name == *name)
        };
        let role = |name: &String| task(name).map(|task| task.role);
        let unchecked = |name: &String| {
            task(name).is_some_and(|task| UNCHECKED.contains(&task.program.as_str()))
        };
        let mut all = Vec::new();
        for fault in Fault::ALL {
            for target in &targets.names {
                let expendable = role(target) == Some(Role::Application);
                let console = role(target) == Some(Role::Console);
                let goes_on = GOES_ON.contains(fault);
                let hangs = goes_on || HANGS.contains(fault);
                all.push(Injection {
                    fault: fault.name().into(),
                    target: target.clone(),
                    of_disk: false,
                    is_timed: expendable || console,
                    parameters: String::new(),
                    shows: match () {
                        () if expendable || (console && hangs) => Shows::Silence,
                        () if *fault == Fault::WrongReply && unchecked(target) => Shows::Wrong,
                        () if goes_on => Shows::Errors,
                        () => Shows::Nothing,
                    },
                });
            }
        }
        let disks = filtered_disks(description);
        for fault in SILENT.iter().chain(&LOUD) {
            all.extend(disks.iter().map(|disk| of_disk(fault, disk, disks.len())));
        }
        Self::chosen(all, words)
    }

    /// Silent faults of disks, by type of block.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the stack has no filter before its disks, or names the faults there are.
    pub fn by_type(words: &[String], description: &Description) -> Result<Self, Failure> {
        let disks = filtered_disks(description);
        if disks.is_empty() {
            let what = "the stack has no filter `faulty`; take mirror-faulty or single-faulty";
            return Err(Failure::Usage(what.into()));
        }
        let mut all = Vec::new();
        for kind in TYPES {
            for fault in &SILENT[..4] {
                let fault = format!("{fault} type={kind}");
                all.extend(disks.iter().map(|disk| of_disk(&fault, disk, disks.len())));
            }
        }
        Self::chosen(all, words)
    }

    fn chosen(all: Vec<Injection>, words: &[String]) -> Result<Self, Failure> {
        let name = |it: &Injection| it.fault.split(' ').next().unwrap_or_default().to_owned();
        let known = |word: &&String| *word != "all" && !all.iter().any(|it| name(it) == **word);
        if let Some(unknown) = words.iter().find(known) {
            let mut names: Vec<String> = all.iter().map(name).collect();
            names.sort();
            names.dedup();
            let names = names.join(", ");
            return Err(Failure::Usage(format!(
                "--faults: there is no {unknown}; there are {names}, and all"
            )));
        }
        let wanted = |it: &Injection| words.iter().any(|word| word == "all" || *word == name(it));
        Ok(Self {
            all: all.into_iter().filter(wanted).collect(),
        })
    }

    /// How many there are.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.all.len()
    }

    /// The fault of experiment `number`. In later attempts it comes sooner.
    pub fn choose(&self, number: u64, attempt: u32, random: &mut Random) -> Injection {
        let mut injection = self.all[(number % self.all.len() as u64) as usize].clone();
        let seed = random.below(1 << 32);
        let soon = 1 << (2 * attempt.min(8));
        injection.parameters = if injection.of_disk {
            let skip = random.below(1 + 7 / soon);
            let count = random.scaled(1, 8);
            match injection.fault.as_str() {
                "dead" => String::new(),
                "slow" => format!("rate=1/4 delay=20ms seed={seed}"),
                _ => format!("skip={skip} count={count} seed={seed}"),
            }
        } else if injection.is_timed {
            format!("after={}ms seed={seed}", 1 + random.below(50))
        } else if injection.target == MANAGER {
            // It is asked what it has in force, and then to end that.
            format!("after={} seed={seed}", 1 + random.below(2))
        } else {
            format!("after={} seed={seed}", 1 + random.below(1 + 19 / soon))
        };
        injection
    }
}

fn of_disk(fault: &str, disk: &str, disks: usize) -> Injection {
    Injection {
        fault: fault.into(),
        target: disk.into(),
        of_disk: true,
        is_timed: false,
        parameters: String::new(),
        // With another disk there is another copy.
        shows: if disks == 1 && fault != "slow" {
            Shows::Errors
        } else {
            Shows::Nothing
        },
    }
}

/// The filters before the disks of the stack.
fn filtered_disks(description: &Description) -> Vec<String> {
    let tasks = description.stack.tasks.iter();
    tasks
        .filter(|task| task.program == "faulty")
        .map(|task| task.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::project::Project;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn every_fault_meets_every_target_once_before_any_comes_twice() {
        let project = Project::find().expect("tests run in a checkout");
        let stack = Description::read(&project, "mirror-faulty").expect("a stack");
        let targets = Targets::find(&words(&["all"]), &stack).expect("targets");
        let faults = Faults::of_everything(&words(&["all"]), &targets, &stack).expect("faults");
        assert_eq!(
            faults.count(),
            Fault::ALL.len() * targets.names.len() + 9 * 2
        );
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..faults.count() as u64 {
            let it = faults.choose(number, 0, &mut Random::new(1, number));
            assert!(seen.insert((it.fault, it.target)), "{number}");
        }
        let find = |fault: &str, target: &str| {
            let found = |it: &&Injection| it.fault == fault && it.target == target;
            faults.all.iter().find(found).expect("there")
        };
        let shows = |fault: &str, target: &str| find(fault, target).shows;
        let deaths = |fault: &str, target: &str| find(fault, target).deaths();
        assert_eq!(shows("panic", "manager"), Shows::Nothing);
        assert_eq!(shows("deadlock", "cache"), Shows::Nothing);
        assert_eq!(shows("bit-flip", "manager"), Shows::Errors);
        assert_eq!(shows("wrong-reply", "naming"), Shows::Wrong);
        assert_eq!(shows("wrong-reply", "faulty.0"), Shows::Errors);
        assert_eq!(shows("garbage-reply", "naming"), Shows::Errors);
        assert_eq!(shows("deadlock", "console"), Shows::Silence);
        assert_eq!(shows("dead", "faulty.0"), Shows::Nothing);
        assert_eq!(deaths("kill", "cache"), Ordered::Kill);
        assert_eq!(deaths("panic", "cache"), Ordered::Stop);
        assert_eq!(deaths("bit-flip", "cache"), Ordered::Damage);
        assert_eq!(deaths("dead", "faulty.0"), Ordered::None);
        let some = Faults::by_type(&words(&["lost-write"]), &stack).expect("faults");
        assert_eq!(some.count(), 20);
        let first = some.choose(0, 0, &mut Random::new(1, 0)).command();
        assert!(
            first.starts_with("inject lost-write faulty.0 type=root skip="),
            "{first}"
        );
        let again = some.choose(0, 2, &mut Random::attempt(1, 0, 2)).command();
        assert!(
            again.starts_with("inject lost-write faulty.0 type=root skip=0 "),
            "{again}"
        );
        let wrong = Faults::by_type(&words(&["panic"]), &stack)
            .err()
            .expect("wrong");
        assert!(wrong.to_string().contains("misdirected-write"), "{wrong}");
    }
}
