//! The virtio-blk driver at work: the block-device suite over it, also while it is killed.

use alloc::{boxed::Box, format, string::String};

use abi::{Cause, DeviceInfo, Name, SpawnSpec};
use runtime::{manage, system, time};

use crate::{Outcome, Test, bench::QUOTA_PAGES, ensure};

/// The tests.
pub const TESTS: &[Test] = &[
    ("a virtio disk passes the block-device suite", |_| {
        Box::pin(suite(None))
    }),
    ("the suite passes while the driver is killed", |_| {
        Box::pin(suite(Some(KILL_NS)))
    }),
    ("a driver refuses a device that is no disk", |_| {
        Box::pin(no_disk())
    }),
];

/// Time between kills: the suite takes some hundred milliseconds without.
const KILL_NS: u64 = 25_000_000;

const VIRTIO_VENDOR: u16 = 0x1af4;

fn start(role: &str, program: &str, device: Option<u32>, peer: Option<u64>) -> Result<u64, String> {
    let role = Name::new(role).expect("short");
    let role = manage::declare(&role).map_err(|error| format!("no role: {error}"))?;
    let mut peers = [0; abi::PEERS_MAX];
    peers[0] = peer.unwrap_or(0);
    let spec = SpawnSpec {
        program: Name::new(program).expect("short"),
        rights: 0,
        quota_pages: QUOTA_PAGES,
        device: device.map_or(u64::MAX, u64::from),
        ports: [[0; 2]; 2],
        isa_interrupts: 0,
        peer_count: u64::from(peer.is_some()),
        peers,
        arguments_len: 0,
        arguments: [0; abi::ARGUMENTS_BYTES_MAX],
    };
    manage::spawn_task(role, &spec).map_err(|error| format!("cannot start {program}: {error}"))?;
    Ok(role)
}

fn device(is_wanted: impl Fn(&DeviceInfo) -> bool) -> Result<u32, String> {
    let devices = manage::devices().map_err(|error| format!("{error}"))?;
    let found = devices.iter().find(|device| is_wanted(device));
    found
        .map(|device| device.address)
        .ok_or_else(|| "the machine has no such device".into())
}

/// Runs the suite as a client of the driver. If it is killed, it is started again at once, as the
/// restart manager does, and the suite must not notice.
async fn suite(kill_ns: Option<u64>) -> Outcome {
    let disk = device(|device| device.vendor == VIRTIO_VENDOR)?;
    let driver = start("virtio-blk.0", "virtio-blk", Some(disk), None)?;
    let suite = start("conformance", "conformance", None, Some(driver))?;
    let mut kills = 0;
    loop {
        let role = match kill_ns {
            None => manage::next_death().await,
            Some(ns) => match time::with_deadline(ns, manage::next_death()).await {
                Some(role) => role,
                None => {
                    manage::kill(driver, Cause::Injected).map_err(|error| format!("{error}"))?;
                    kills += 1;
                    continue;
                }
            },
        };
        let report = system::death_report(role).map_err(|error| format!("{error}"))?;
        let (cause, code) = (Cause::from_number(report.cause), report.address);
        if role == suite {
            ensure!(
                cause == Cause::Exit && code == 0,
                "the suite ended by {cause}, {code}"
            );
            break;
        }
        ensure!(
            cause == Cause::Injected,
            "the driver ended by {cause}, {code}"
        );
        start("virtio-blk.0", "virtio-blk", Some(disk), None)?;
    }
    ensure!(
        kill_ns.is_none() || kills >= 3,
        "the driver was killed only {kills} times"
    );
    manage::kill(driver, Cause::Killed).map_err(|error| format!("{error}"))?;
    while manage::next_death().await != driver {}
    Ok(())
}

/// A driver that is given another device ends by itself, with a reason in the log.
async fn no_disk() -> Outcome {
    let other = device(|device| device.vendor != VIRTIO_VENDOR)?;
    let driver = start("virtio-blk.0", "virtio-blk", Some(other), None)?;
    while manage::next_death().await != driver {}
    let report = system::death_report(driver).map_err(|error| format!("{error}"))?;
    let (cause, code) = (Cause::from_number(report.cause), report.address);
    ensure!(
        cause == Cause::Exit && code == 1,
        "it ended by {cause}, {code}"
    );
    Ok(())
}
