//! What a booted test stands on: images in a folder of its own under `target`, and guests on them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use galago::Failure;
use galago::guest::{Accelerator, Description, Disk, Event, Guest, Machine, Prepared, WriteLog};
use galago::host::accelerator::Choice;
use galago::host::folder::TempFolder;
use galago::host::images;
use galago::tree::{Tree, pack};
use galago::ui::Ui;
use serde_json::Value;

/// How long anything may take. Far more than it does: this is against hanging, not for measuring.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Size of each disk.
pub const DISK_BYTES: u64 = 512 << 20;

/// Memory of a guest in MiB.
const MEMORY_MIB: u32 = 512;

/// Images, and the stack that is booted on them.
pub struct Bed {
    folder: TempFolder,
    stack: &'static str,
    changed_stack: Option<PathBuf>,
    disks: Vec<PathBuf>,
    tar: Option<PathBuf>,
}

/// One guest of the user's, built once for all tests.
fn prepared() -> &'static (Prepared, Accelerator) {
    static PREPARED: OnceLock<(Prepared, Accelerator)> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let ui = Ui::new(true);
        let prepared = Prepared::with_tests(&ui).expect("the guest builds and QEMU is there");
        let choice = std::env::var("GALAGO_ACCEL")
            .ok()
            .map_or(Choice::Auto, |name| {
                clap::ValueEnum::from_str(&name, true).expect("GALAGO_ACCEL is auto, kvm or tcg")
            });
        let machine = prepared.machine("single", MEMORY_MIB).expect("a stack");
        let accelerator = prepared.accelerator(choice, &machine, &ui);
        (prepared, accelerator)
    })
}

impl Bed {
    /// One empty disk, or two that are mirrored.
    pub fn new(disks: usize) -> Self {
        let target = prepared().0.project.target();
        let folder = TempFolder::new(target, "booted-").expect("a temporary folder");
        let path = |number| folder.path().join(format!("{number}.img"));
        let disks: Vec<PathBuf> = (0..disks).map(path).collect();
        for disk in &disks {
            images::create(disk, DISK_BYTES).expect("an image");
        }
        let stack = if disks.len() == 1 { "single" } else { "mirror" };
        Self {
            folder,
            stack,
            changed_stack: None,
            disks,
            tar: None,
        }
    }

    /// The same, with filters before the disks that make them fail on request.
    pub fn with_faulty_disks(self) -> Self {
        let stack = match self.stack {
            "single" => "single-faulty",
            _ => "mirror-faulty",
        };
        Self { stack, ..self }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// With a tree to import.
    pub fn with_tree(self, tree: &Tree) -> Self {
        self.with_tree_cut_by(tree, 0)
    }

    /// With a tree to import, in a tar that lacks its last `bytes`.
    pub fn with_tree_cut_by(mut self, tree: &Tree, bytes: usize) -> Self {
        let mut tar = Vec::new();
        pack(tree, &mut tar).expect("packed");
        tar.truncate(tar.len() - bytes);
        let path = self.folder.path().join("tree.tar");
        std::fs::write(&path, tar).expect("written");
        self.tar = Some(path);
        self
    }

    /// Without it.
    pub fn without_tree(self) -> Self {
        Self { tar: None, ..self }
    }

    /// With the stack's description changed.
    pub fn with_stack(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let (prepared, _) = prepared();
        let stack = change(&prepared.project.stack(self.stack).expect("a stack"));
        let path = self.folder.path().join("stack.toml");
        std::fs::write(&path, stack).expect("written");
        self.changed_stack = Some(path);
        self
    }

    /// With the stack's description as it is in the repository.
    pub fn with_stack_of_the_repository(self) -> Self {
        Self {
            changed_stack: None,
            ..self
        }
    }

    /// With an empty disk after the others, to export to. Its image is returned, too.
    pub fn with_spare_disk(mut self, bytes: u64) -> (Self, PathBuf) {
        let path = self.folder.path().join("spare.img");
        images::create(&path, bytes).expect("an image");
        self.disks.push(path.clone());
        (self, path)
    }

    /// What is booted on the disks.
    pub fn machine(&self) -> Machine {
        let (prepared, accelerator) = prepared();
        let stack = match &self.changed_stack {
            Some(path) => path.to_string_lossy(),
            None => self.stack.into(),
        };
        let machine = prepared.machine(&stack, MEMORY_MIB).expect("a stack");
        let mut disks = Disk::numbered(self.disks.clone());
        if let Some(tar) = &self.tar {
            let description = Description::read(&prepared.project, &stack).expect("a stack");
            let place = description.place_for_tar(disks.len()).expect("a place");
            disks.push(Disk::tar(place, tar.clone()));
        }
        Machine {
            disks,
            accelerator: *accelerator,
            ..machine
        }
    }

    /// The same, with everything that its disks take recorded.
    pub fn machine_with_logs(&self) -> (Machine, Vec<WriteLog>) {
        let mut machine = self.machine();
        let mut logs = Vec::new();
        for disk in &mut machine.disks {
            let log = WriteLog {
                path: self.folder().join(format!("{}.log", disk.number)),
                append: false,
            };
            log.make().expect("a log");
            disk.log = Some(log.clone());
            logs.push(log);
        }
        (machine, logs)
    }

    /// A guest that takes commands.
    pub fn boot(&self) -> Guest {
        boot(&self.machine())
    }

    /// A guest from which disk `number` was taken away.
    pub fn boot_without(&self, number: u32) -> Guest {
        let mut machine = self.machine();
        machine.disks.retain(|disk| disk.number != number);
        boot(&machine)
    }

    /// A guest with a new file system on all disks, mounted.
    pub fn boot_formatted(&self) -> Guest {
        let mut guest = self.boot();
        run(&mut guest, "format yes");
        run(&mut guest, "mount");
        guest
    }
}

fn boot(machine: &Machine) -> Guest {
    let mut guest = Guest::boot(machine, None).unwrap_or_else(|error| panic!("{error:#}"));
    or_explain(guest.wait_ready(LIMIT));
    guest
}

/// The result of a command that must succeed.
pub fn run(guest: &mut Guest, command: &str) -> Value {
    let done = or_explain(guest.command(command, LIMIT));
    if !done.ok {
        let tail = guest.console().tail(40).join("\n");
        panic!(
            "`{command}` failed: {:?}\nthe end of its console:\n{tail}",
            done.error
        );
    }
    done.result
}

/// The reason for which a command fails, which it must, without harm to the guest.
pub fn refused(guest: &mut Guest, command: &str) -> String {
    let done = or_explain(guest.command(command, LIMIT));
    assert!(!done.ok, "`{command}` should have failed");
    done.error.unwrap_or_default()
}

/// What a command prints.
pub fn output(guest: &mut Guest, command: &str) -> String {
    let id = or_explain(guest.start(command));
    let mut text = String::new();
    let mut collect = |event: &Event| {
        if event.kind() == "output" && event.id() == Some(id) {
            text.push_str(event.text("text").unwrap_or_default());
            text.push('\n');
        }
    };
    let done = or_explain(guest.finish(id, command, LIMIT, &mut collect));
    assert!(done.ok, "`{command}` failed: {:?}", done.error);
    text
}

/// Switches the machine off.
pub fn power_off(guest: Guest) {
    or_explain(guest.power_off(LIMIT, |_| {}));
}

/// A number in a result.
pub fn number(result: &Value, name: &str) -> u64 {
    result[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number `{name}` in {result}"))
}

/// The value, or a failed test that shows the end of the guest's console.
pub fn or_explain<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| match error.downcast_ref() {
        Some(Failure::Guest { what, tail }) => {
            panic!("{what}\nthe end of its console:\n{}", tail.join("\n"))
        }
        _ => panic!("{error:#}"),
    })
}
