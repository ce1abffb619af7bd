//! Which accelerator to take: KVM only where a guest has been seen to boot under it.
//!
//! That `/dev/kvm` opens proves nothing: on some hosts it opens and then fails, or runs a guest that
//! never comes up. So `auto` boots the unikernel under KVM for a few seconds and waits for the first
//! line of its console. How that went is kept under `target/galago` and holds until the host
//! boots again, QEMU changes, or (if the guest did not come up) the unikernel does.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::project::Project;
use crate::failure::reason;
use crate::guest::{Accelerator, Guest, Machine};
use crate::ui::Ui;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// KVM if a guest boots under it, else TCG.
    #[default]
    Auto,
    /// The host's processor.
    Kvm,
    /// Emulation; runs everywhere.
    Tcg,
}

/// How long a guest under KVM may take to its first line.
const PROBE_LIMIT: Duration = Duration::from_secs(8);

/// How a boot under KVM went, and what that holds for. Only this is remembered: who may open the device,
/// and whether QEMU starts, can change at any time and is quick to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    /// Why not KVM; nothing if the guest came up.
    refused: Option<String>,
    /// The host's boot and QEMU's version.
    host: String,
    /// When the unikernel was built, if the guest did not come up: it may have been its fault.
    kernel: Option<u128>,
}

/// Settles `choice`. The machine is what would be booted; its disks are not touched.
pub fn choose(choice: Choice, machine: &Machine, project: &Project, ui: &Ui) -> Accelerator {
    match choice {
        Choice::Kvm => Accelerator::Kvm,
        Choice::Tcg => Accelerator::Tcg,
        Choice::Auto => match usable(machine, project, ui) {
            Ok(()) => Accelerator::Kvm,
            Err(reason) => {
                ui.note(&format!(
                    "KVM is not usable here ({reason}); emulation it is"
                ));
                Accelerator::Tcg
            }
        },
    }
}

/// Whether a guest boots under KVM, or why not.
fn usable(machine: &Machine, project: &Project, ui: &Ui) -> Result<(), String> {
    may_open(Path::new("/dev/kvm"))?;
    let store = project.scratch().join("accelerator.json");
    let host = host_key();
    let kernel = built_at(&machine.kernel);
    if let Some(known) = recall(&store)
        && known.host == host
        && known.kernel.is_none_or(|built| Some(built) == kernel)
    {
        return known.refused.map_or(Ok(()), Err);
    }
    let step = ui.step("Trying KVM");
    let refused = match probe(machine) {
        Ok(refused) => refused,
        Err(error) => {
            step.forget();
            return Err(first_part(&error));
        }
    };
    match &refused {
        None => step.done("a guest boots under it"),
        Some(_) => step.forget(),
    }
    let verdict = Verdict {
        kernel: kernel.filter(|_| refused.is_some()),
        refused: refused.clone(),
        host,
    };
    remember(&store, &verdict);
    refused.map_or(Ok(()), Err)
}

fn may_open(device: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().read(true).write(true).open(device);
    opened
        .map(drop)
        .map_err(|error| format!("{}: {}", device.display(), reason(&error)))
}

/// Boots a guest under KVM: why it did not come up, or nothing if it did. An error is QEMU's, or the
/// host's.
fn probe(machine: &Machine) -> anyhow::Result<Option<String>> {
    let machine = Machine {
        disks: Vec::new(),
        accelerator: Accelerator::Kvm,
        debug_exit: true,
        ..machine.clone()
    };
    let guest = Guest::boot(&machine, None)?;
    let came_up = guest
        .console()
        .line(0, Instant::now() + PROBE_LIMIT)
        .is_some();
    Ok(if came_up {
        None
    } else if guest.console().closed() {
        Some("a guest dies at once".into())
    } else {
        let seconds = PROBE_LIMIT.as_secs();
        Some(format!("a guest says nothing for {seconds} s"))
    })
}

/// Of all that QEMU says when it gives up, the reason.
fn first_part(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split("; ").next().unwrap_or_default().to_owned()
}

fn host_key() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let qemu = super::qemu::version().unwrap_or_default();
    format!("{} {}", boot.trim(), qemu)
}

fn built_at(kernel: &Path) -> Option<u128> {
    let changed = kernel.metadata().ok()?.modified().ok()?;
    Some(changed.duration_since(UNIX_EPOCH).ok()?.as_millis())
}

fn recall(store: &PathBuf) -> Option<Verdict> {
    serde_json::from_slice(&std::fs::read(store).ok()?).ok()
}

fn remember(store: &Path, verdict: &Verdict) {
    // Not remembered is only slower.
    if let (Some(folder), Ok(text)) = (store.parent(), serde_json::to_vec(verdict)) {
        let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(store, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_may_not_be_opened_is_told_whatever_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let device = folder.path().join("kvm");
        let reason = may_open(&device).unwrap_err();
        assert!(reason.contains("no such file"), "{reason}");
        std::fs::write(&device, "").expect("written");
        assert_eq!(may_open(&device), Ok(()));
    }

    #[test]
    fn a_verdict_is_remembered_and_nonsense_in_its_place_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("sub/accelerator.json");
        assert_eq!(recall(&store), None);
        let verdict = Verdict {
            refused: Some("no".into()),
            host: "this one".into(),
            kernel: Some(7),
        };
        remember(&store, &verdict);
        assert_eq!(recall(&store), Some(verdict));
        std::fs::write(&store, "{").expect("written");
        assert_eq!(recall(&store), None);
    }
}
