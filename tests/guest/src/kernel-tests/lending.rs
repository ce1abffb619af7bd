//! Lending that goes wrong in ways that an honest task never sees.

use alloc::{boxed::Box, format, string::String};

use abi::{Cause, Error as KernelError};
use guest_tests::{Command, Fault};
use runtime::{inspect, manage};
use storage::Error;

use crate::{
    Outcome, Test,
    bench::{Bench, Probe, Setting},
    dma::devices,
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("registers that no system call saves", |b| {
        Box::pin(registers(b))
    }),
    (
        "memory that outlives an instance, taken back from a driver",
        |b| Box::pin(role_memory_taken_back(b)),
    ),
    (
        "memory that outlives an instance, which dies while a device has it",
        |b| Box::pin(role_memory_of_the_dead(b)),
    ),
    ("memory that outlives an instance, asked for twice", |b| {
        Box::pin(role_memory_twice(b))
    }),
    ("memory that outlives an instance, past the quota", |b| {
        Box::pin(role_memory_past_quota(b))
    }),
    ("a page that two calls lend", |b| Box::pin(lent_twice(b))),
    ("DMA memory past the quota", |b| Box::pin(dma_past_quota(b))),
    ("DMA memory is not lent", |b| Box::pin(dma_memory_lent(b))),
    ("more is lent than may be", |b| Box::pin(too_much(b))),
    ("requests that there are not", |b| Box::pin(forged(b))),
];

fn error(error: Error) -> String {
    format!("{error}")
}

fn frames_free() -> Result<u64, String> {
    let counters = inspect::counters().map_err(|error| format!("{error}"))?;
    Ok(counters.frames_free)
}

async fn kill(bench: &mut Bench, probe: Probe) -> Outcome {
    manage::kill(probe.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(probe.role).await.map(drop)
}

/// A probe that drives a device.
async fn driver(bench: &mut Bench, index: usize) -> Result<Probe, String> {
    let [device, _] = devices()?;
    let device = Some(device);
    let setting = Setting::default();
    bench.start(index, Setting { device, ..setting }).await
}

/// A probe that may call another.
async fn client(bench: &mut Bench, index: usize, of: Probe) -> Result<Probe, String> {
    let peers = &[of.role];
    let setting = Setting::default();
    bench.start(index, Setting { peers, ..setting }).await
}

async fn registers(bench: &mut Bench) -> Outcome {
    const SECRET: u64 = 0x1122_3344_5566_7788;
    let a = bench.start(0, Setting::default()).await?;
    let b = bench.start(1, Setting::default()).await?;
    a.ask(Command::SetMmx(SECRET)).await.map_err(error)?;
    let seen = b.ask(Command::GetMmx).await.map_err(error)?.value;
    ensure!(seen != SECRET, "one task reads what another left behind");
    a.ask(Command::SpoilFloats).await.map_err(error)?;
    let used = b.ask(Command::UseFloats).await;
    ensure!(used.is_ok(), "one task gets what another is due: {used:?}");
    Ok(())
}

async fn role_memory_taken_back(bench: &mut Bench) -> Outcome {
    let driver = driver(bench, 0).await?;
    let owner = client(bench, 2, driver).await?;
    let lent = owner.ask(Command::LendRoleMemory(driver.role)).await;
    ensure!(lent.map_err(error)?.kernel == 0, "it cannot be lent");
    let bus = driver.ask(Command::BusAddress).await.map_err(error)?.value;
    ensure!(bus != 0, "nothing was pinned");
    let taken = owner.ask(Command::TakeBackRoleMemory).await;
    ensure!(taken.map_err(error)?.kernel == 0, "it cannot be written");
    kill(bench, owner).await?;
    let next = bench.start_dead(2, Setting::default())?;
    let found = next.ask(Command::ReadRoleMemory).await.map_err(error)?;
    ensure!(found.value == 2, "the next instance reads {}", found.value);
    driver.ask(Command::Unpin).await.map_err(error)?;
    Ok(())
}

async fn role_memory_of_the_dead(bench: &mut Bench) -> Outcome {
    let driver = driver(bench, 0).await?;
    let mut pinned = [0; 2];
    for bus in &mut pinned {
        let owner = client(bench, 2, driver).await?;
        let lent = owner.ask(Command::LendRoleMemory(driver.role)).await;
        ensure!(lent.map_err(error)?.kernel == 0, "it cannot be lent");
        *bus = driver.ask(Command::BusAddress).await.map_err(error)?.value;
        kill(bench, owner).await?;
    }
    let [first, second] = pinned;
    ensure!(first != 0 && second != 0, "nothing was pinned");
    ensure!(
        first != second,
        "the next instance has the page that the device still works on"
    );
    let next = bench.start_dead(2, Setting::default())?;
    let found = next.ask(Command::ReadRoleMemory).await.map_err(error)?;
    ensure!(found.value == 1, "the next instance reads {}", found.value);
    // The first request is forgotten: the device has to be reset.
    driver.ask(Command::DeviceQuiesced).await.map_err(error)?;
    Ok(())
}

async fn role_memory_twice(bench: &mut Bench) -> Outcome {
    // More than half of a probe's quota.
    const PAGES: u64 = 1200;
    let probe = bench.start(2, Setting::default()).await?;
    let asked = probe.ask(Command::GrowRoleMemory(PAGES)).await;
    let kernel = asked.map_err(error)?.kernel;
    ensure!(kernel == 0, "it gets none: {kernel}");
    let again = probe.ask(Command::GrowRoleMemory(PAGES)).await;
    let again = again.map_err(error)?;
    ensure!(
        (again.value, again.kernel) == (PAGES, 0),
        "what it has is counted against it twice: {again:?}"
    );
    Ok(())
}

async fn role_memory_past_quota(bench: &mut Bench) -> Outcome {
    let probe = bench.start(2, Setting::default()).await?;
    let before = frames_free()?;
    let cause = bench.misbehave(probe, Fault::RoleMemoryBomb).await?;
    ensure!(cause == Cause::Quota, "it died of {cause}");
    let after = frames_free()?;
    ensure!(
        after >= before,
        "{} frames are gone for good",
        before - after
    );
    Ok(())
}

async fn lent_twice(bench: &mut Bench) -> Outcome {
    let driver = driver(bench, 0).await?;
    let owner = client(bench, 1, driver).await?;
    let lent = owner.ask(Command::LendTwice(driver.role)).await;
    ensure!(lent.map_err(error)?.kernel == 0, "it cannot be lent");
    let bus = driver.ask(Command::BusAddress).await.map_err(error)?.value;
    ensure!(bus != 0, "nothing was pinned");
    owner.ask(Command::TakeBackFirst).await.map_err(error)?;
    // What the device still writes for the second call would go where its owner never looks.
    let answered = driver.ask(Command::AnswerKept).await.map_err(error)?;
    ensure!(
        answered.kernel == KernelError::NoSuchCall as i64,
        "the other call goes on: {}",
        answered.kernel
    );
    driver.ask(Command::Unpin).await.map_err(error)?;
    Ok(())
}

async fn dma_past_quota(bench: &mut Bench) -> Outcome {
    let mut free = [0; 3];
    for free in &mut free {
        let probe = driver(bench, 0).await?;
        let refused = probe.ask(Command::DmaPastQuota).await.map_err(error)?;
        ensure!(refused.kernel == KernelError::NoMemory as i64, "it got it");
        kill(bench, probe).await?;
        let probe = driver(bench, 0).await?;
        probe.ask(Command::DeviceQuiesced).await.map_err(error)?;
        kill(bench, probe).await?;
        *free = frames_free()?;
    }
    ensure!(free[0] == free[2], "frames are gone for good: {free:?}");
    Ok(())
}

async fn dma_memory_lent(bench: &mut Bench) -> Outcome {
    let other = bench.start(1, Setting::default()).await?;
    let [device, _] = devices()?;
    let setting = Setting {
        device: Some(device),
        peers: &[other.role],
        ..Setting::default()
    };
    let driver = bench.start(0, setting).await?;
    let refused = driver.ask(Command::LendDmaMemory(other.role)).await;
    let refused = refused.map_err(error)?.kernel;
    ensure!(
        refused == KernelError::BadAddress as i64,
        "the kernel says {refused}"
    );
    Ok(())
}

async fn too_much(bench: &mut Bench) -> Outcome {
    let other = bench.start(0, Setting::default()).await?;
    let probe = client(bench, 1, other).await?;
    let refused = probe.ask(Command::LendTooMuch(other.role)).await;
    let refused = refused.map_err(error)?.kernel;
    ensure!(
        refused == KernelError::BadArgument as i64,
        "the kernel says {refused}"
    );
    Ok(())
}

async fn forged(bench: &mut Bench) -> Outcome {
    let driver = driver(bench, 0).await?;
    let owner = client(bench, 1, driver).await?;
    owner.ask(Command::Lend(driver.role)).await.map_err(error)?;
    let refused = driver.ask(Command::ForgeRequests).await.map_err(error)?;
    ensure!(refused.value == 18, "{} of 18 were refused", refused.value);
    let intact = owner.ask(Command::TakeBack).await.map_err(error)?.value;
    ensure!(intact == 1, "the owner's memory changed");
    let probe = bench.start(2, Setting::default()).await?;
    let cause = bench.misbehave(probe, Fault::UnpinWithoutDevice).await?;
    ensure!(cause == Cause::BadCall, "it died of {cause}");
    Ok(())
}
