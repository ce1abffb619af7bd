//! Memory that a device may still use: it stays the device's, whoever dies.

use alloc::{boxed::Box, format, string::String};

use abi::Cause;
use guest_tests::Command;
use runtime::{inspect, manage, time};
use storage::{
    Error,
    buffer::{Sink, Source},
};

use crate::{
    Outcome, Test,
    bench::{Bench, Probe, Setting},
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("DMA is pending when the owner dies", |b| {
        Box::pin(owner_dies(b))
    }),
    ("DMA is pending when the call is given up", |b| {
        Box::pin(call_given_up(b))
    }),
    ("DMA is pending when the driver dies", |b| {
        Box::pin(driver_dies(b))
    }),
    ("DMA is pending when a task in between dies", |b| {
        Box::pin(middle_dies(b))
    }),
];

/// More than all memory there is.
const ALL_PAGES: u64 = 1 << 20;

fn error(error: Error) -> String {
    format!("{error}")
}

/// Two PCI functions; which does not matter, as none of them is made to do anything.
pub fn devices() -> Result<[u32; 2], String> {
    let devices = manage::devices().map_err(|error| format!("{error}"))?;
    match devices.as_slice() {
        [first, second, ..] => Ok([first.address, second.address]),
        _ => Err("the machine has fewer than two PCI functions".into()),
    }
}

/// A driver that pinned a page of an owner's. Returns driver, owner, and the page's bus address.
async fn pinned(bench: &mut Bench) -> Result<(Probe, Probe, u64), String> {
    let [device, _] = devices()?;
    let driver = bench
        .start(
            0,
            Setting {
                device: Some(device),
                ..Setting::default()
            },
        )
        .await?;
    let owner = bench
        .start(
            1,
            Setting {
                peers: &[driver.role],
                ..Setting::default()
            },
        )
        .await?;
    let answer = owner.ask(Command::Lend(driver.role)).await.map_err(error)?;
    ensure!(
        answer.kernel == 0,
        "the owner cannot lend: {}",
        answer.kernel
    );
    let bus = driver.ask(Command::BusAddress).await.map_err(error)?.value;
    ensure!(bus != 0, "nothing was pinned");
    Ok((driver, owner, bus))
}

/// Whether a page is among all the memory that can be had.
async fn can_be_had(bench: &mut Bench, bus: u64) -> Result<bool, String> {
    let [_, device] = devices()?;
    let setting = Setting {
        device: Some(device),
        quota_pages: ALL_PAGES,
        ..Setting::default()
    };
    Ok(bench
        .with_hog(setting, Command::AllocateAll(bus))
        .await?
        .value
        == 1)
}

async fn owner_dies(bench: &mut Bench) -> Outcome {
    let (driver, owner, bus) = pinned(bench).await?;
    manage::kill(owner.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(owner.role).await?;
    ensure!(
        !can_be_had(bench, bus).await?,
        "the page was given to someone else"
    );
    driver.ask(Command::Unpin).await.map_err(error)?;
    ensure!(
        can_be_had(bench, bus).await?,
        "the page is not free after the unpin"
    );
    Ok(())
}

async fn call_given_up(bench: &mut Bench) -> Outcome {
    let (driver, owner, bus) = pinned(bench).await?;
    let before = inspect::counters()
        .map_err(|error| format!("{error}"))?
        .frames_swapped;
    let intact = owner.ask(Command::TakeBack).await.map_err(error)?.value;
    ensure!(intact == 1, "the owner's memory changed");
    let after = inspect::counters()
        .map_err(|error| format!("{error}"))?
        .frames_swapped;
    ensure!(
        after == before + 1,
        "{} frames were swapped",
        after - before
    );
    ensure!(
        !can_be_had(bench, bus).await?,
        "the page was given to someone else"
    );
    driver.ask(Command::Unpin).await.map_err(error)?;
    ensure!(
        can_be_had(bench, bus).await?,
        "the page is not free after the unpin"
    );
    ensure!(owner.is_well().await, "the owner was harmed");
    Ok(())
}

/// We lend a page to a task that passes it on to a driver, and that task dies.
async fn middle_dies(bench: &mut Bench) -> Outcome {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let [device, _] = devices()?;
    let setting = Setting {
        device: Some(device),
        ..Setting::default()
    };
    let driver = bench.start(0, setting).await?;
    let setting = Setting {
        peers: &[driver.role],
        ..Setting::default()
    };
    let middle = bench.start(1, setting).await?;
    let page = Box::new(Page([0x5a; 4096]));
    let command = Command::PassOnPinned(driver.role);
    let call = middle.ask_with(command, Source::local(&page.0), Sink::empty());
    let swapped = || inspect::counters().map(|counters| counters.frames_swapped);
    let death = async {
        time::sleep(20_000_000).await;
        let bus = driver.ask(Command::BusAddress).await.map_err(error)?.value;
        let before = swapped().map_err(|error| format!("{error}"))?;
        manage::kill(middle.role, Cause::Killed).map_err(|error| format!("{error}"))?;
        Ok::<_, String>((bus, before))
    };
    let (heard, died) = futures_util::future::join(call, death).await;
    let (bus, before) = died?;
    ensure!(bus != 0, "nothing was pinned");
    ensure!(heard == Err(Error::PeerDied), "the owner heard {heard:?}");
    bench.wait_death(middle.role).await?;
    let after = swapped().map_err(|error| format!("{error}"))?;
    ensure!(
        after == before + 1,
        "{} frames were swapped",
        after - before
    );
    let page = core::hint::black_box(page);
    ensure!(
        page.0.iter().all(|&byte| byte == 0x5a),
        "the owner's memory changed"
    );
    ensure!(
        !can_be_had(bench, bus).await?,
        "the page was given to someone else"
    );
    driver.ask(Command::Unpin).await.map_err(error)?;
    ensure!(
        can_be_had(bench, bus).await?,
        "the page is not free after the unpin"
    );
    Ok(())
}

async fn driver_dies(bench: &mut Bench) -> Outcome {
    let (driver, owner, bus) = pinned(bench).await?;
    manage::kill(driver.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(driver.role).await?;
    ensure!(owner.is_well().await, "the owner was harmed");
    ensure!(
        !can_be_had(bench, bus).await?,
        "the page was given to someone else"
    );
    let [device, _] = devices()?;
    let driver = bench.start_dead(
        0,
        Setting {
            device: Some(device),
            ..Setting::default()
        },
    )?;
    ensure!(
        !can_be_had(bench, bus).await?,
        "the next driver's start alone freed the page"
    );
    driver.ask(Command::DeviceQuiesced).await.map_err(error)?;
    let _ = owner.ask(Command::TakeBack).await.map_err(error)?;
    ensure!(
        can_be_had(bench, bus).await?,
        "the page is not free after the device's reset"
    );
    Ok(())
}
