//! A guest to make experiments on, its disks, and files on them that nobody touches.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use stack::Stack;

use super::heard::Heard;
use super::postmark::WHOLE_FILES;
use super::subject::{LIMIT, Subject, Told};
use super::workshop::{Setting, Workshop};
use crate::Failure;
use crate::guest::Guest;
use crate::host::folder::TempFolder;
use crate::host::images;

/// Size of each disk.
const DISK_BYTES: u64 = 512 << 20;

/// Files that are there and synced before the first experiment, to be found as they were after the last.
const KEPT: &str = "files=100 transactions=100 size=4k-28k location=/kept seed=7 keep=true";

/// Experiments on one volume, before another one is made.
const EXPERIMENTS_MAX: u32 = 200;

/// Lines of the console that are kept of what went wrong.
const CONSOLE_LINES: usize = 40;

/// What one thread makes experiments with.
pub struct Rig<'a> {
    workshop: &'a Workshop,
    folder: TempFolder,
    setting: Setting,
    subject: Option<Subject>,
    /// What guests told that are gone.
    heard: Heard,
    /// The images hold a volume.
    formatted: bool,
    /// Whatever is on them may be damaged.
    spoilt: bool,
    experiments: u32,
}

impl<'a> Rig<'a> {
    /// A rig without a guest yet.
    pub fn new(workshop: &'a Workshop) -> Result<Self> {
        let target = workshop.prepared.project.target();
        Ok(Self {
            workshop,
            folder: TempFolder::new(target, "campaign-")?,
            setting: Setting::default(),
            subject: None,
            heard: Heard::default(),
            formatted: false,
            spoilt: false,
            experiments: 0,
        })
    }

    /// A guest with this setting, mounted. One that runs is taken as it is, unless it is to be `fresh`:
    /// just booted.
    pub fn ready(&mut self, setting: Setting, fresh: bool) -> Result<&mut Subject> {
        if self.spoilt {
            self.discard();
        }
        if self.experiments >= EXPERIMENTS_MAX {
            self.power_off()?;
            self.discard();
        }
        if setting != self.setting || fresh {
            self.power_off()?;
        }
        self.setting = setting;
        if self.subject.is_none() {
            self.boot()?;
            self.subject()?.is_whole()?;
        }
        self.experiments += 1;
        self.subject()
    }

    /// The guest that runs.
    pub fn subject(&mut self) -> Result<&mut Subject> {
        let subject = self.subject.as_mut();
        subject.with_context(|| "no guest runs".to_owned())
    }

    /// What guests told since this was last asked, those included that are gone.
    pub fn heard(&mut self) -> Heard {
        std::mem::take(match &mut self.subject {
            Some(subject) => &mut subject.heard,
            None => &mut self.heard,
        })
    }

    /// What is booted, by its hash.
    pub fn build(&self) -> &str {
        &self.workshop.build
    }

    /// The stack.
    pub fn stack(&self) -> &Stack {
        &self.workshop.description.stack
    }

    /// The setting of the guest that runs.
    pub fn setting(&self) -> Setting {
        self.setting
    }

    /// Takes the guest away; what it told stays.
    fn take_guest(&mut self) -> Option<Guest> {
        let Subject { guest, heard } = self.subject.take()?;
        self.heard = heard;
        Some(guest)
    }

    /// The end of the guest's console.
    pub fn console(&self) -> Vec<String> {
        let subject = self.subject.as_ref();
        subject.map_or_else(Vec::new, |it| it.guest.console().tail(CONSOLE_LINES))
    }

    fn images(&self) -> Vec<PathBuf> {
        let path = |number| self.folder.path().join(format!("{number}.img"));
        (0..self.workshop.disks()).map(path).collect()
    }

    /// Boots from the images as they are, and mounts; on none, makes a volume.
    fn boot(&mut self) -> Result<()> {
        let images = self.images();
        for image in &images {
            images::ensure(image, DISK_BYTES)?;
        }
        let machine = self.workshop.machine(self.setting, &images)?;
        let guest = Guest::boot(&machine, None)?;
        let subject = Subject::new(guest, std::mem::take(&mut self.heard));
        let subject = self.subject.insert(subject);
        let ready = subject.wait_ready();
        if !self.formatted {
            // Nothing has been done to it: then it is not what is looked for here.
            ready.map_err(|error| anyhow!("no guest comes up: {error:#}"))?;
        } else {
            ready?;
        }
        if self.formatted {
            subject.run("mount")?;
        } else {
            subject.run("format yes")?;
            subject.run("mount")?;
            subject.run(&format!("bench postmark {KEPT}"))?;
            subject.run("sync")?;
        }
        self.formatted = true;
        Ok(())
    }

    /// Ends the guest as a user would, after a look at the files that nobody touches. Every file is on the disks then.
    pub fn power_off(&mut self) -> Result<()> {
        self.check_kept()?;
        let Some(guest) = self.take_guest() else {
            return Ok(());
        };
        let heard = &mut self.heard;
        guest.power_off(LIMIT, |event| heard.note(event))
    }

    /// Kills QEMU and boots again from the images as they are. What was heard stays heard.
    pub fn kill_qemu(&mut self) -> Result<()> {
        drop(self.take_guest());
        self.boot()
    }

    /// Looks whether the files that nobody touches are as they were.
    pub fn check_kept(&mut self) -> Result<()> {
        match &mut self.subject {
            Some(subject) => subject
                .verify_postmark(&format!("{KEPT} {WHOLE_FILES}"))
                .with_context(|| "the files that nobody touches".to_owned()),
            None => Ok(()),
        }
    }

    /// The last look, when no experiment is to come.
    pub fn finish(&mut self) -> Result<()> {
        if self.spoilt {
            self.discard();
        }
        self.power_off()
    }

    /// Has guest and images thrown away before the next experiment, but for what was heard.
    pub fn discard_after(&mut self) {
        self.spoilt = true;
    }

    /// Throws guest and images away.
    pub fn discard(&mut self) {
        drop(self.take_guest());
        self.formatted = false;
        self.spoilt = false;
        self.experiments = 0;
        for image in self.images() {
            // What cannot be removed is told when it cannot be made anew.
            let _ = std::fs::remove_file(image);
        }
    }
}

/// Whether the host is to blame.
pub fn is_hosts(error: &anyhow::Error) -> bool {
    let of_guest = matches!(
        error.downcast_ref(),
        Some(Failure::Guest { .. } | Failure::Check(_))
    );
    !of_guest && !error.is::<Told>()
}
