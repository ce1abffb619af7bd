//! What a booted test stands on: images in a folder of its own, and guests on them.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use galago::Failure;
use galago::guest::{Accelerator, Event, Guest, Machine, Prepared};
use galago::host::accelerator::Choice;
use galago::host::images;
use galago::tree::{Tree, checked_import, pack};
use galago::ui::Ui;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take. Far more than it does: this is against hanging, not for measuring.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Size of each disk.
pub const DISK_BYTES: u64 = 512 << 20;

/// Memory of a guest in MiB.
const MEMORY_MIB: u32 = 512;

/// Images, and the stack that is booted on them.
pub struct Bed {
    folder: TempDir,
    stack: &'static str,
    changed_stack: Option<PathBuf>,
    disks: Vec<PathBuf>,
    import: Option<PathBuf>,
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
        let folder = tempfile::tempdir().expect("a temporary folder");
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
            import: None,
        }
    }

    /// With a tree to import.
    pub fn with_tree(mut self, tree: &Tree) -> Self {
        let tar = self.folder.path().join("tree.tar");
        let file = std::fs::File::create(&tar).expect("a file");
        pack(tree, std::io::BufWriter::new(file)).expect("packed");
        self.import = Some(tar);
        self
    }

    /// Without it.
    pub fn without_tree(self) -> Self {
        Self {
            import: None,
            ..self
        }
    }

    /// With the stack's description changed.
    pub fn with_stack(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let (prepared, _) = prepared();
        let stack = change(&prepared.project.stack(self.stack).expect("a stack"));
        // The name of the file is that of the archive, which tests must not share.
        let folder = self.folder.path();
        let name = folder.file_name().expect("a name").to_string_lossy();
        let path = folder.join(format!("{name}.toml"));
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
        let stack = self
            .changed_stack
            .as_ref()
            .map(|path| path.to_string_lossy());
        let stack = stack.as_deref().unwrap_or(self.stack);
        let machine = prepared.machine(stack, MEMORY_MIB).expect("a stack");
        let archive = match &self.changed_stack {
            // It goes with this bed, so it lies with it.
            Some(_) => {
                let ours = self.folder.path().join("archive.tar");
                std::fs::copy(&machine.archive, &ours).expect("copied");
                std::fs::remove_file(&machine.archive).expect("removed");
                ours
            }
            None => machine.archive.clone(),
        };
        let import = |tar| checked_import(tar, self.folder.path()).expect("a tar");
        Machine {
            archive,
            disks: self.disks.clone(),
            import: self.import.as_deref().map(import),
            accelerator: *accelerator,
            ..machine
        }
    }

    /// A guest that takes commands.
    pub fn boot(&self) -> Guest {
        boot(&self.machine())
    }

    /// A guest from which disk `number` was taken away.
    pub fn boot_without(&self, number: usize) -> Guest {
        let mut machine = self.machine();
        machine.disks.remove(number);
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
    or_explain(guest.power_off(LIMIT));
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
