//! Which accelerator to take: KVM only where a guest has been seen to boot under it.
//!
//! That `/dev/kvm` opens proves nothing: on some hosts it opens and then fails, or runs a guest that
//! never comes up. So `auto` boots the unikernel under KVM for a few seconds and waits for the first
//! line of its console. The answer is kept under `target/galago` and holds until the host
//! boots again, QEMU changes, or (if the guest came up silent) the unikernel does.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::project::Project;
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

/// What a probe found out, and what it holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    /// Why not KVM; nothing if it works.
    refused: Option<String>,
    /// The host's boot and QEMU's version.
    host: String,
    /// When the unikernel was built, if the verdict depends on it.
    kernel: Option<u128>,
}

/// Settles `choice`. The machine is what would be booted; its disks are not touched.
pub fn choose(choice: Choice, machine: &Machine, project: &Project, ui: &Ui) -> Accelerator {
    match choice {
        Choice::Kvm => Accelerator::Kvm,
        Choice::Tcg => Accelerator::Tcg,
        Choice::Auto => match verdict(machine, project, ui).refused {
            None => Accelerator::Kvm,
            Some(_) => Accelerator::Tcg,
        },
    }
}

fn verdict(machine: &Machine, project: &Project, ui: &Ui) -> Verdict {
    let store = project.scratch().join("accelerator.json");
    let host = host_key();
    let kernel = built_at(&machine.kernel);
    if let Some(known) = recall(&store)
        && known.host == host
        && known.kernel.is_none_or(|built| Some(built) == kernel)
    {
        return known;
    }
    let step = ui.step("Trying KVM");
    let verdict = match probe(machine) {
        Ok(()) => Verdict {
            refused: None,
            host,
            kernel: None,
        },
        Err(Refusal::Host(reason)) => Verdict {
            refused: Some(reason),
            host,
            kernel: None,
        },
        Err(Refusal::Silence) => Verdict {
            refused: Some(format!(
                "a guest says nothing for {} s",
                PROBE_LIMIT.as_secs()
            )),
            host,
            kernel,
        },
    };
    match &verdict.refused {
        None => step.done("a guest boots under it"),
        Some(reason) => {
            step.forget();
            ui.note(&format!(
                "KVM is not usable here ({reason}); emulation it is"
            ));
        }
    }
    remember(&store, &verdict);
    verdict
}

enum Refusal {
    /// The host or QEMU says no.
    Host(String),
    /// The guest starts and is never heard of.
    Silence,
}

fn probe(machine: &Machine) -> Result<(), Refusal> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device.map_err(|error| Refusal::Host(format!("/dev/kvm: {error}")))?;
    let machine = Machine {
        disks: Vec::new(),
        accelerator: Accelerator::Kvm,
        debug_exit: true,
        ..machine.clone()
    };
    let guest = Guest::boot(&machine, None).map_err(|error| Refusal::Host(first_part(&error)))?;
    match guest.console().line(0, Instant::now() + PROBE_LIMIT) {
        Some(_) => Ok(()),
        None if guest.console().closed() => Err(Refusal::Host("a guest dies at once".into())),
        None => Err(Refusal::Silence),
    }
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
