//! What a task can do wrong by itself: it dies of it, for the right reason, and nobody else notices.

use alloc::{boxed::Box, format, string::String};

use abi::Cause;
use guest_tests::{Command, Fault, compute};

use crate::{
    Outcome, Running, Test,
    bench::{Bench, Setting},
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("a wild write into another task's heap", |b| {
        fault(b, Fault::Write(HEAP), Cause::BadAccess)
    }),
    ("a wild write to the kernel", |b| {
        fault(b, Fault::Write(KERNEL), Cause::BadAccess)
    }),
    ("a wild write to physical memory", |b| {
        fault(b, Fault::Write(DIRECT), Cause::BadAccess)
    }),
    ("a wild read of the kernel", |b| {
        fault(b, Fault::Read(KERNEL), Cause::BadAccess)
    }),
    ("a write through a null pointer", |b| {
        fault(b, Fault::Write(0), Cause::BadAccess)
    }),
    ("a write to constants", |b| {
        fault(b, Fault::WriteConstant, Cause::BadAccess)
    }),
    ("a write to code", |b| {
        fault(b, Fault::WriteCode, Cause::BadAccess)
    }),
    ("a write to the start information", |b| {
        fault(b, Fault::Write(START), Cause::BadAccess)
    }),
    ("running what is in the heap", |b| {
        fault(b, Fault::ExecuteHeap, Cause::BadAccess)
    }),
    ("running what is on the stack", |b| {
        fault(b, Fault::ExecuteStack, Cause::BadAccess)
    }),
    ("a jump into nowhere", |b| {
        fault(b, Fault::Jump(0xdead_0000), Cause::BadAccess)
    }),
    ("a jump into the kernel", |b| {
        fault(b, Fault::Jump(KERNEL), Cause::BadAccess)
    }),
    ("a stack overrun", |b| {
        fault(b, Fault::StackOverrun, Cause::StackOverrun)
    }),
    ("an allocation bomb", |b| {
        fault(b, Fault::AllocationBomb, Cause::Quota)
    }),
    ("a disallowed call", |b| {
        fault(b, Fault::Call(0), Cause::BadCall)
    }),
    ("a call of a role that is none", |b| {
        fault(b, Fault::Call(u64::MAX), Cause::BadCall)
    }),
    ("a kill without the right", |b| {
        fault(b, Fault::Kill(0), Cause::BadCall)
    }),
    ("a port without the right", |b| {
        fault(b, Fault::Port(0x64), Cause::BadCall)
    }),
    ("a pin without a device", |b| {
        fault(b, Fault::PinWithoutDevice, Cause::BadCall)
    }),
    ("a privileged instruction", |b| {
        fault(b, Fault::DisableInterrupts, Cause::Exception)
    }),
    ("a division by zero", |b| {
        fault(b, Fault::DivideByZero, Cause::Exception)
    }),
    ("a panic", |b| fault(b, Fault::Panic, Cause::Panic)),
    ("an exit", |b| fault(b, Fault::Exit(7), Cause::Exit)),
    ("an endless loop", |b| Box::pin(endless_loop(b))),
    ("registers survive preemption", |b| Box::pin(preemption(b))),
    ("pointers that are not the task's", |b| {
        Box::pin(bad_pointers(b))
    }),
    ("memory of the dead is free again", |b| {
        Box::pin(memory_returns(b))
    }),
];

/// Where heaps are: the faulty task has no page at this offset, its neighbour may.
const HEAP: u64 = 0x1f00_0000;
const KERNEL: u64 = 0xffff_ffff_8010_a000;
const DIRECT: u64 = 0xffff_8000_0020_0000;
const START: u64 = abi::START_INFO_ADDRESS;

fn fault(bench: &mut Bench, fault: Fault, expected: Cause) -> Running<'_> {
    Box::pin(async move {
        let bystander = bench.start(0, Setting::default()).await?;
        let probe = bench.start(1, Setting::default()).await?;
        ensure!(probe.is_well().await, "the probe does not start");
        let cause = bench.misbehave(probe, fault).await?;
        ensure!(cause == expected, "it died of: {cause}");
        ensure!(bystander.is_well().await, "a bystander was harmed");
        let again = bench.start_dead(1, Setting::default())?;
        ensure!(again.is_well().await, "the role cannot be filled again");
        Ok(())
    })
}

async fn endless_loop(bench: &mut Bench) -> Outcome {
    let bystander = bench.start(0, Setting::default()).await?;
    let probe = bench.start(1, Setting::default()).await?;
    ensure!(probe.is_well().await, "the probe does not start");
    let endpoint = runtime::Endpoint::new(probe.role);
    runtime::spawn(async move {
        let message = storage::transport::encode(&Command::Misbehave(Fault::EndlessLoop));
        let message = message.expect("it fits");
        use storage::{
            buffer::{Sink, Source},
            transport::Transport,
        };
        let _ = endpoint
            .call(&message, Source::empty(), Sink::empty())
            .await;
    });
    for _ in 0..20 {
        ensure!(bystander.is_well().await, "a bystander starves");
    }
    runtime::manage::kill(probe.role, Cause::Killed).map_err(|error| format!("kill: {error}"))?;
    let cause = bench.wait_death(probe.role).await?;
    ensure!(cause == Cause::Killed, "it died of: {cause}");
    Ok(())
}

async fn preemption(bench: &mut Bench) -> Outcome {
    let (a, b) = (
        bench.start(0, Setting::default()).await?,
        bench.start(1, Setting::default()).await?,
    );
    let both = futures_util::future::join(a.ask(Command::Compute), b.ask(Command::Compute)).await;
    let expected = compute();
    for answer in [both.0, both.1] {
        let value = answer.map_err(|error| format!("{error}"))?.value;
        ensure!(
            value == expected,
            "computed {value:#x} instead of {expected:#x}"
        );
    }
    Ok(())
}

async fn bad_pointers(bench: &mut Bench) -> Outcome {
    let peer = bench.start(0, Setting::default()).await?;
    let probe = bench
        .start(
            1,
            Setting {
                peers: &[peer.role],
                ..Setting::default()
            },
        )
        .await?;
    let answer = probe
        .ask(Command::BadPointers)
        .await
        .map_err(|error| format!("{error}"))?;
    ensure!(answer.value == 25, "{} of 25 were refused", answer.value);
    ensure!(
        probe.is_well().await && peer.is_well().await,
        "somebody was harmed"
    );
    Ok(())
}

async fn memory_returns(bench: &mut Bench) -> Outcome {
    let free = || -> Result<u64, String> {
        Ok(runtime::inspect::counters()
            .map_err(|error| format!("{error}"))?
            .frames_free)
    };
    let mut before = None;
    for _ in 0..5 {
        let probe = bench.start(1, Setting::default()).await?;
        bench.misbehave(probe, Fault::AllocationBomb).await?;
        let now = free()?;
        let first = *before.get_or_insert(now);
        ensure!(
            now == first,
            "{first} frames were free after the first death, now {now}"
        );
    }
    Ok(())
}
