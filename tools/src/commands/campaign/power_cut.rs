//! Power cuts: the machine stops in the middle of work, and starts again from what is on its disks.
//!
//! A cut at any moment meets disks that have nothing in hand, mostly: what is written waits in the cache. So most
//! cuts are at a point of a sync or of a write-back, where disks have much that is not flushed.

use anyhow::Result;
use storage::point::Point;

use super::deaths::Ordered;
use super::documented::Shows;
use super::experiment::{Choices, Documented, Kind, MACHINE};
use super::faults::Injection;
use super::files::Allowed;
use super::load::{Load, Plan};
use super::moment::Moment;
use super::random::Random;
use super::rig::Rig;
use super::subject::{LIMIT, Told, whole};
use super::workshop::Setting;
use crate::Failure;
use crate::cli::campaign::{Experiments, How};
use crate::guest::{Description, Event};

/// The program of the block filter that forgets what was not flushed.
const FILTER: &str = "faulty";

/// One cut in so many is at a moment; the others are at a point.
const AT_A_MOMENT_ONE_IN: u64 = 4;

/// Steps of a sync, and of what writes back. At the first of them disks have something in hand, and each has two
/// places; at the last all of it has just been flushed.
const POINTS: [(Point, usize); 9] = [
    (Point::BlocksWritten, 2),
    (Point::RootWritten, 2),
    (Point::RootCopied, 2),
    (Point::LogWritten, 2),
    (Point::MappingWritten, 2),
    (Point::WrittenBack, 2),
    (Point::RootFlushed, 1),
    (Point::StoresSynced, 1),
    (Point::SyncedBelow, 1),
];

/// A file that is written over so that there is something to sync, and to overwrite in place. Nobody looks what
/// is in it.
const OCCASION: &str = "/occasion";

/// The campaign.
pub struct PowerCut {
    /// The places of points that tasks of the stack pass.
    points: Vec<Point>,
    how: How,
    seed: u64,
    brief: bool,
}

impl PowerCut {
    /// Cuts of this kind.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the stack has no disks that forget.
    pub fn new(
        how: How,
        description: &Description,
        options: &Experiments,
    ) -> Result<Self, Failure> {
        let has = |program: &str| {
            let mut tasks = description.stack.tasks.iter();
            tasks.any(|task| task.program == program)
        };
        if how == How::Power && !has(FILTER) {
            return Err(Failure::Usage(format!(
                "--how power needs a stack with the filter `{FILTER}`, such as mirror-faulty; or take \
                 --how reset"
            )));
        }
        // Whoever kills QEMU knows nothing of points.
        let passed = |point: &Point| how != How::QemuKill && has(point.layer());
        let places = POINTS
            .iter()
            .flat_map(|&(point, places)| [point].repeat(places));
        Ok(Self {
            points: places.filter(passed).collect(),
            how,
            seed: options.seed,
            brief: options.brief,
        })
    }

    /// What is typed. If the point is not passed by the sync of what is there, it is once more, after something
    /// was written over; and if not then, the cut is at once. In one line, so that the guest has read all that was
    /// typed when the machine stops: the next boot would take the rest for its own.
    fn command(&self, parameters: &str) -> String {
        let (point, seed) = match parameters.split_once(' ') {
            Some((point, seed)) => (Some(point), seed),
            None => (None, parameters),
        };
        let (fault, seed) = match self.how {
            How::Power => ("power-cut", seed),
            How::Reset | How::QemuKill => ("reset", ""),
        };
        let now = format!("{fault} {seed}");
        let Some(point) = point else { return now };
        let write = |number| format!("fill {OCCASION} 64k seed={number}; sync");
        format!(
            "inject {fault} all {point} {seed}; sync; {}; {}; {now}",
            write(1),
            write(2)
        )
    }

    /// Stops the machine, and waits until it is back. What the load hears until then counts.
    fn cut(&self, parameters: &str, load: &mut Load, rig: &mut Rig<'_>) -> Result<()> {
        if self.how == How::QemuKill {
            return rig.kill_qemu();
        }
        let subject = rig.subject()?;
        let (guest, heard) = (&mut subject.guest, &mut subject.heard);
        let mut wrong = Ok(());
        guest.restart(&self.command(parameters), LIMIT, |event: &Event| {
            heard.note(event);
            // An operation may fail as the power is gone; what was answered before counts.
            let taken = load.take(event);
            if wrong.is_ok() && taken.as_ref().is_err_and(|error| !error.is::<Told>()) {
                wrong = taken;
            }
        })?;
        wrong
    }
}

impl Kind for PowerCut {
    fn choose(&self, number: u64, attempt: u32) -> Choices {
        let mut random = Random::attempt(self.seed, number, attempt);
        let plan = match random.below(3) {
            _ if self.brief => Plan::brief(&mut random),
            0 => Plan::postmark(&mut random, 1).with_a_sync(&mut random),
            _ => Plan::files(&mut random),
        };
        let moment = Moment::within(&mut random, &plan).with_a_sync(&mut random);
        // Which of the sectors that were not flushed are on the medium follows from the seed.
        let seed = format!("seed={}", random.below(1 << 32));
        let parameters = if self.points.is_empty() || random.one_in(AT_A_MOMENT_ONE_IN) {
            seed
        } else {
            format!("at={} {seed}", random.pick(&self.points).name())
        };
        Choices {
            moment,
            fault: self.how.word().into(),
            target: MACHINE.into(),
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: false,
            deaths: Ordered::AtPoint,
            is_read_back: false,
            plan,
            injection: Some(Injection {
                fault: "power-cut".into(),
                target: MACHINE.into(),
                of_disk: true,
                is_timed: false,
                parameters,
                shows: Shows::Nothing,
            }),
        }
    }

    fn carry_out(&self, choices: &Choices, top: &str, rig: &mut Rig<'_>) -> Result<Documented> {
        let subject = rig.subject()?;
        subject.run("df")?;
        let mut load = choices.plan.begin(subject, top)?;
        // The empty directories, so that something is there to look into.
        subject.run("sync")?;
        choices.moment.wait(subject, &mut load)?;
        let injection = choices.injection.as_ref();
        let parameters = injection.map_or("", |injection| injection.parameters.as_str());
        self.cut(parameters, &mut load, rig)?;
        let subject = rig.subject()?;
        let before = subject.heard.checkpoint;
        if let Some(ns) = subject.heard.mounted_ns {
            subject.heard.recoveries.push((MACHINE.into(), ns));
        }
        let mounted = subject.run("mount")?;
        whole(&mounted)?;
        let after = mounted["checkpoint"].as_u64().unwrap_or(0);
        if after < before {
            let what = format!("checkpoint {after}, and there was {before}");
            return Err(Failure::Check(what).into());
        }
        let allowed = Allowed {
            in_place: choices.setting.in_place,
            losses: false,
        };
        let unreadable = load.verify_after_cut(subject, allowed)?;
        let lost = subject.heard.resync.map_or(0, |resync| resync.bad);
        if unreadable > lost {
            let what = format!("{unreadable} blocks cannot be read, of which {lost} were told");
            return Err(Failure::Check(what).into());
        }
        rig.check_kept()?;
        let subject = rig.subject()?;
        // It must be a volume like any other.
        subject.run("sync")?;
        load.remove(subject)?;
        Ok((unreadable > 0).then(|| format!("{unreadable} blocks that were being overwritten")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, campaign::Campaign};
    use crate::host::project::Project;

    fn campaign(how: How, stack: &str) -> PowerCut {
        let project = Project::find().expect("tests run in a checkout");
        let description = Description::read(&project, stack).expect("a stack");
        let typed = ["galago", "campaign", "power-cut", "--seed", "1"];
        let typed = Cli::try_parse_from(typed).expect("it can be typed");
        match typed.command {
            Command::Campaign(Campaign::PowerCut(options)) => {
                PowerCut::new(how, &description, &options.on.experiments).expect("a campaign")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn most_cuts_are_at_a_point_and_each_point_has_some() {
        let cuts = campaign(How::Power, "mirror-faulty");
        let parameters = |number| {
            let injection = cuts.choose(number, 0).injection;
            injection.expect("what is injected").parameters
        };
        let all: Vec<String> = (0..1000).map(parameters).collect();
        assert_eq!(parameters(7), all[7], "it follows from seed and number");
        let moments = all.iter().filter(|it| it.starts_with("seed=")).count();
        assert!((200..300).contains(&moments), "{moments}");
        for (point, _) in POINTS {
            let at = format!("at={} ", point.name());
            let count = all.iter().filter(|it| it.starts_with(&at)).count();
            assert!(count > 30, "{count} {at}");
        }
    }

    #[test]
    fn a_cut_at_a_point_is_typed_in_one_line_that_ends_with_a_cut() {
        let line = campaign(How::Power, "mirror-faulty").command("at=twinfs.root-written seed=5");
        let orders: Vec<&str> = line.split("; ").collect();
        assert_eq!(
            orders[0],
            "inject power-cut all at=twinfs.root-written seed=5"
        );
        assert_eq!(orders[1], "sync");
        assert_eq!(orders.last(), Some(&"power-cut seed=5"));
        let reset = campaign(How::Reset, "mirror").command("at=cache.written-back seed=5");
        assert!(
            reset.starts_with("inject reset all at=cache.written-back ;"),
            "{reset}"
        );
        assert!(reset.ends_with("; reset "), "{reset}");
        assert_eq!(
            campaign(How::Power, "mirror-faulty").command("seed=5"),
            "power-cut seed=5"
        );
    }
}
