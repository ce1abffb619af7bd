//! What outlives an instance, and what does not.

use alloc::{boxed::Box, format, string::String};

use abi::Cause;
use guest_tests::{Answer, Command};
use runtime::{manage, time};
use storage::Error;

use crate::{
    Outcome, Test,
    bench::{Bench, Setting},
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("memory that outlives an instance", |b| {
        Box::pin(role_memory(b))
    }),
    ("two hundred deaths in a row", |b| Box::pin(many_deaths(b))),
    ("an idle machine rests", |b| Box::pin(idle(b))),
];

fn error(error: Error) -> String {
    format!("{error}")
}

async fn role_memory(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let first = probe.ask(Command::RoleMemory).await.map_err(error)?;
    ensure!(
        first
            == Answer {
                value: 0,
                kernel: 0
            },
        "the first instance found {first:?}"
    );
    let other = bench.start(1, Setting::default()).await?;
    for _ in 0..3 {
        let probe = bench.start(0, Setting::default()).await?;
        let later = probe.ask(Command::RoleMemory).await.map_err(error)?;
        ensure!(
            later
                == Answer {
                    value: 3 + 1,
                    kernel: 0
                },
            "a later instance found {later:?}"
        );
    }
    let elsewhere = other.ask(Command::RoleMemory).await.map_err(error)?;
    ensure!(elsewhere.value == 0, "another role found it");
    Ok(())
}

async fn many_deaths(bench: &mut Bench) -> Outcome {
    let bystander = bench.start(0, Setting::default()).await?;
    let mut free = None;
    for _ in 0..200 {
        let probe = bench.start(1, Setting::default()).await?;
        ensure!(probe.is_well().await, "a probe does not start");
        manage::kill(probe.role, Cause::Injected).map_err(|error| format!("{error}"))?;
        let cause = bench.wait_death(probe.role).await?;
        ensure!(cause == Cause::Injected, "it died of: {cause}");
        let now = runtime::inspect::counters()
            .map_err(|error| format!("{error}"))?
            .frames_free;
        let first = *free.get_or_insert(now);
        ensure!(
            now == first,
            "{first} frames were free after the first death, now {now}"
        );
    }
    ensure!(bystander.is_well().await, "a bystander was harmed");
    Ok(())
}

/// An idle machine waits for interrupts instead of looking for work: it takes no more of them than
/// there are timers.
async fn idle(_: &mut Bench) -> Outcome {
    let interrupts = || -> Result<u64, String> {
        Ok(runtime::inspect::counters()
            .map_err(|error| format!("{error}"))?
            .interrupts)
    };
    let before = interrupts()?;
    time::sleep(500_000_000).await;
    let taken = interrupts()? - before;
    ensure!(
        taken < 10,
        "it took {taken} interrupts in half a second of rest"
    );
    Ok(())
}
