//! Stack descriptions: which tasks make up a stack, and what each of them may touch.
//!
//! A description is a TOML file, one `[[task]]` for each role. The host program checks it before it
//! boots anything, the restart manager again before it starts anything, with the same code:
//! [`Stack::parse`] either gives a stack that can be started or every mistake there is, each in one
//! line that names the task and the way out. The format is described in `docs/stacks.md`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod parse;
mod values;

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;

/// The name under which the restart manager can be called. The kernel starts it by itself, so no
/// description lists it.
pub const MANAGER: &str = "manager";

/// Tasks that a stack can have; the kernel has room for a few more roles.
pub const TASKS_MAX: usize = 60;

/// The slot of the root PCI bus where disk 0 is; disk N is N slots further. A disk has its place, so
/// that one that is missing moves no other into it.
pub const DISK_SLOT_FIRST: u32 = 4;

/// Most disks: the slots up to the one that Q35 keeps for itself.
pub const DISKS_MAX: u32 = 27;

/// A stack that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its tasks, in the order of the description.
    pub tasks: Vec<Task>,
}

/// A task of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name, such as `twinfs.0`.
    pub name: String,
    /// The program it runs, a file of the archive.
    pub program: String,
    /// What it is to the stack; this decides what its death means.
    pub role: Role,
    /// The tasks it may call.
    pub calls: Vec<String>,
    /// The device it drives.
    pub device: Option<Device>,
    /// I/O ports it may touch: first and last of each range.
    pub ports: Vec<(u16, u16)>,
    /// ISA interrupt lines that it receives, 0 to 15.
    pub interrupts: Vec<u8>,
    /// What it may see of the whole system.
    pub rights: Vec<Right>,
    /// Pages of memory it may hold.
    pub quota_pages: u64,
    /// Text for it, as a rule words of the form `key=value`.
    pub arguments: String,
    /// Without its device it is left out.
    pub optional: bool,
    /// It is started again when it dies. Only an application may do without.
    pub restart: bool,
}

/// What a task is to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Drives a device; restarted alone.
    Driver,
    /// A file store, a block filter or the logical layer; all of them are restarted together.
    Storage,
    /// The cache, which still has what a crash below it undoes.
    Cache,
    /// Paths and directories; restarted alone.
    Naming,
    /// An application.
    Application,
    /// The console: an application that is always restarted.
    Console,
}

/// A device by kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// The virtio block function that is disk number N, below [`DISKS_MAX`]: it is in slot
    /// [`DISK_SLOT_FIRST`] + N.
    VirtioBlock(u32),
}

/// What a task may see of the whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// The table of tasks and the counters.
    Inspect,
    /// The kernel's log.
    Log,
}

/// What is wrong with a description, and the way out, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The task it is about, if it is about one.
    pub task: Option<String>,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Mistake {
    pub(crate) fn of(task: &str, text: String) -> Self {
        Self {
            task: Some(task.into()),
            text,
        }
    }

    pub(crate) fn general(text: String) -> Self {
        Self { task: None, text }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => write!(f, "task `{task}`: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl Role {
    /// The word that a description has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Storage => "storage",
            Self::Cache => "cache",
            Self::Naming => "naming",
            Self::Application => "application",
            Self::Console => "console",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VirtioBlock(number) => write!(f, "virtio-blk:{number}"),
        }
    }
}

impl Stack {
    /// Reads a description. What is returned can be started; otherwise, all its mistakes.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let (stack, mut mistakes) = parse::read(text)?;
        mistakes.extend(check::mistakes(&stack));
        if mistakes.is_empty() {
            Ok(stack)
        } else {
            Err(mistakes)
        }
    }

    /// The task of this name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// The disks that the stack can do without, in the order of the description: places for a tar to
    /// import, or for a disk to export to.
    pub fn spare_disks(&self) -> impl Iterator<Item = u32> {
        let spare = self.tasks.iter().filter(|task| task.optional);
        spare.filter_map(|task| task.device.map(|Device::VirtioBlock(number)| number))
    }

    /// The programs that the archive must have, each once; the manager's is not among them.
    #[must_use]
    pub fn programs(&self) -> BTreeSet<&str> {
        self.tasks
            .iter()
            .map(|task| task.program.as_str())
            .collect()
    }
}

impl Task {
    /// What the task is and whom it calls, in one line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = format!(
            "{:<14} {:<12} {:<12}",
            self.name,
            self.role.as_str(),
            self.program
        );
        line.push_str(&format!(
            "{:>7} KiB",
            self.quota_pages * abi::PAGE_BYTES as u64 / 1024
        ));
        if let Some(device) = self.device {
            line.push_str(&format!("  drives {device}"));
        }
        if !self.calls.is_empty() {
            line.push_str(&format!("  calls {}", self.calls.join(", ")));
        }
        if !self.arguments.is_empty() {
            line.push_str(&format!("  [{}]", self.arguments));
        }
        line
    }
}
