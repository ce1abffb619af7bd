//! Power cuts: the machine stops in the middle of work, and starts again from what is on its disks.

use std::time::Instant;

use anyhow::Result;

use super::experiment::{Choices, Documented, Kind, MACHINE};
use super::faults::Injection;
use super::load::{Load, Plan};
use super::moment::Moment;
use super::random::Random;
use super::rig::{Rig, Setting};
use super::subject::{LIMIT, Subject};
use crate::Failure;
use crate::cli::campaign::{Experiments, How};
use crate::guest::{Description, Event};

/// The program of the block filter that forgets what was not flushed.
const FILTER: &str = "faulty";

/// The campaign.
pub struct PowerCut {
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
        let mut tasks = description.stack.tasks.iter();
        if how == How::Power && !tasks.any(|task| task.program == FILTER) {
            return Err(Failure::Usage(format!(
                "--how power needs a stack with the filter `{FILTER}`, such as mirror-faulty; or take \
                 --how reset"
            )));
        }
        Ok(Self {
            how,
            seed: options.seed,
            brief: options.brief,
        })
    }

    /// Stops the machine, and waits until it is back. What the load hears until then counts.
    fn cut(&self, seed: &str, load: &mut Load, rig: &mut Rig<'_>) -> Result<()> {
        let command = match self.how {
            How::Power => format!("power-cut {seed}"),
            // By the console, which has read then what was typed before; the reset button would leave that
            // to the next boot.
            How::Reset => "reset".into(),
            How::QemuKill => return rig.kill_qemu(),
        };
        let subject = rig.subject()?;
        let (guest, heard) = (&mut subject.guest, &mut subject.heard);
        guest.restart(&command, LIMIT, |event: &Event| {
            heard.note(event);
            // An operation may fail as the power is gone; what was answered before counts.
            let _ = load.take(event);
        })
    }
}

impl Kind for PowerCut {
    fn choose(&self, number: u64) -> Choices {
        let mut random = Random::new(self.seed, number);
        let plan = match random.below(3) {
            _ if self.brief => Plan::brief(&mut random),
            0 => Plan::postmark(&mut random, 1),
            _ => Plan::files(&mut random),
        };
        Choices {
            moment: Moment::within(&mut random, &plan),
            fault: self.how.word().into(),
            target: MACHINE.into(),
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: false,
            plan,
            // Which of the sectors that were not flushed are on the medium follows from the seed.
            injection: Some(Injection {
                fault: "power-cut".into(),
                target: MACHINE.into(),
                of_disk: true,
                parameters: format!("seed={}", random.below(1 << 32)),
                may_show: false,
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
        let seed = injection.map_or("", |injection| injection.parameters.as_str());
        self.cut(seed, &mut load, rig)?;
        let subject = rig.subject()?;
        let before = subject.heard.checkpoint;
        let begun = Instant::now();
        let after = subject.run("mount")?["checkpoint"].as_u64().unwrap_or(0);
        let mounted_ns = begun.elapsed().as_nanos() as u64;
        subject.heard.recoveries.push((MACHINE.into(), mounted_ns));
        if after < before {
            let what = format!("checkpoint {after}, and there was {before}");
            return Err(Failure::Check(what).into());
        }
        let unreadable = load.verify_after_cut(subject)?;
        let lost = subject.heard.resync.map_or(0, |resync| resync.bad);
        if unreadable > lost {
            let what = format!("{unreadable} blocks cannot be read, of which {lost} were told");
            return Err(Failure::Check(what).into());
        }
        rig.check_kept()?;
        let subject = rig.subject()?;
        // It must be a volume like any other.
        subject.run("sync")?;
        if exists(subject, top)? {
            load.remove(subject)?;
        }
        Ok((unreadable > 0).then(|| format!("{unreadable} blocks that were being overwritten")))
    }
}

/// Whether there is anything of this name.
pub fn exists(subject: &mut Subject, path: &str) -> Result<bool> {
    Ok(subject.command(&format!("stat {path}"))?.ok)
}
