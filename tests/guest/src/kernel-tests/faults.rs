//! What a task can do wrong by itself: it dies of it, for the right reason, and nobody else notices.

use alloc::{boxed::Box, format, string::String};

use abi::{Cause, Order, Rights, When};
use guest_tests::{Command, Fault, compute};
use runtime::{inspect, manage, time};
use storage::buffer::{Sink, Source};

use crate::{
    Outcome, Running, Test,
    bench::{Bench, Setting},
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("a wild write into another task's heap", |b| {
        Box::pin(anothers_heap(b, Fault::Write))
    }),
    ("a wild read of another task's heap", |b| {
        Box::pin(anothers_heap(b, Fault::Read))
    }),
    ("a wild write to the kernel", |b| {
        forbidden(b, Fault::Write(KERNEL))
    }),
    ("a wild write to physical memory", |b| {
        forbidden(b, Fault::Write(DIRECT))
    }),
    ("a wild read of the kernel", |b| {
        forbidden(b, Fault::Read(KERNEL))
    }),
    ("a write through a null pointer", |b| {
        fault(b, Fault::Write(0), Cause::BadAccess)
    }),
    ("a write to constants", |b| {
        forbidden(b, Fault::WriteConstant)
    }),
    ("a write to code", |b| forbidden(b, Fault::WriteCode)),
    ("a write to the start information", |b| {
        forbidden(b, Fault::Write(START))
    }),
    ("running what is in the heap", |b| {
        forbidden(b, Fault::ExecuteHeap)
    }),
    ("running what is on the stack", |b| {
        forbidden(b, Fault::ExecuteStack)
    }),
    ("a jump into nowhere", |b| {
        fault(b, Fault::Jump(0xdead_0000), Cause::BadAccess)
    }),
    ("a jump into the kernel", |b| {
        forbidden(b, Fault::Jump(KERNEL))
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
    ("a fault for another without the right", |b| {
        fault(b, Fault::Inject(0), Cause::BadCall)
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
    ("a panic with words that are not the task's", |b| {
        fault(b, Fault::PanicAt(DIRECT), Cause::Panic)
    }),
    ("an exit", |b| fault(b, Fault::Exit(7), Cause::Exit)),
    ("an endless loop", |b| Box::pin(endless_loop(b))),
    ("registers survive preemption", |b| Box::pin(preemption(b))),
    (
        "a task that was taken to its entry for faults goes on",
        |b| Box::pin(taken_to_the_entry(b)),
    ),
    ("pointers that are not the task's", |b| {
        Box::pin(bad_pointers(b))
    }),
    ("a fault that waits and is counted", |b| {
        Box::pin(armed_and_counted(b))
    }),
    ("memory of the dead is free again", |b| {
        Box::pin(memory_returns(b))
    }),
];

/// In the kernel's code: it is linked to 1 MiB above this base, and longer than this.
const KERNEL: u64 = 0xffff_ffff_8012_0000;
/// In the kernel's mapping of all memory.
const DIRECT: u64 = 0xffff_8000_0020_0000;
const START: u64 = abi::START_INFO_ADDRESS;

/// What the processor says of a page fault if there is a page.
const PRESENT: u64 = 1;

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

/// A fault at a page that is there: what stands in the way is that the task may not.
fn forbidden(bench: &mut Bench, what: Fault) -> Running<'_> {
    Box::pin(async move {
        fault(bench, what, Cause::BadAccess).await?;
        let report = bench.last_report(1)?;
        ensure!(
            report.error & PRESENT != 0,
            "there is no page at {:#x}, so nothing was tested",
            report.address
        );
        Ok(())
    })
}

/// A page that another task has and this one has not.
async fn anothers_heap(bench: &mut Bench, fault: fn(u64) -> Fault) -> Outcome {
    // More than the probe's heap is, so that it has nothing at the address of the last page.
    const BYTES: u64 = 5 << 20;
    let bystander = bench.start(0, Setting::default()).await?;
    let asked = bystander.ask(Command::Hoard(BYTES)).await;
    let page = asked.map_err(|error| format!("{error}"))?.value;
    let probe = bench.start(1, Setting::default()).await?;
    ensure!(probe.is_well().await, "the probe does not start");
    let cause = bench.misbehave(probe, fault(page)).await?;
    ensure!(cause == Cause::BadAccess, "it died of: {cause}");
    let touched = bench.last_report(1)?.address;
    ensure!(
        touched == page,
        "it died touching {touched:#x} instead of {page:#x}"
    );
    let asked = bystander.ask(Command::Hoarded).await;
    let intact = asked.map_err(|error| format!("{error}"))?.value;
    ensure!(intact == 1, "the other task's memory changed");
    Ok(())
}

async fn endless_loop(bench: &mut Bench) -> Outcome {
    let bystander = bench.start(0, Setting::default()).await?;
    let probe = bench.start(1, Setting::default()).await?;
    ensure!(probe.is_well().await, "the probe does not start");
    let endpoint = runtime::Endpoint::new(probe.role);
    runtime::spawn(async move {
        let message = storage::transport::encode(&Command::Misbehave(Fault::EndlessLoop));
        let message = message.expect("it fits");
        use storage::transport::Transport;
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

/// Takes a task that computes to its entry for faults again and again, where what it is told does nothing
/// yet: it must not notice.
async fn taken_to_the_entry(bench: &mut Bench) -> Outcome {
    const TIMES: u32 = 100;
    const PAUSE_NS: u64 = 200_000;
    let probe = bench.start(0, Setting::default()).await?;
    let injections = async {
        let mut injected = 0;
        for _ in 0..TIMES {
            time::sleep(PAUSE_NS).await;
            let later = When::Requests(u32::MAX);
            let arm = Order::Arm(abi::Fault::Panic, 0, 1);
            let done = manage::inject(probe.role, arm, 0, 0, later);
            injected += u32::from(done.is_ok());
        }
        injected
    };
    let computing = probe.ask(Command::Compute);
    let (answer, injected) = futures_util::future::join(computing, injections).await;
    let value = answer.map_err(|error| format!("{error}"))?.value;
    ensure!(injected == TIMES, "{injected} of {TIMES} injections");
    ensure!(
        value == compute(),
        "computed something else after injections"
    );
    // While it waits, too.
    let panic = Order::Suffer(abi::Fault::Panic);
    let now = manage::inject(probe.role, panic, 0, 0, abi::When::Now);
    ensure!(now.is_ok(), "a task that waits: {now:?}");
    let cause = bench.wait_death(probe.role).await?;
    ensure!(cause == Cause::Panic, "it died of {cause}");
    Ok(())
}

/// A fault that waits happens as often as it was ordered, is counted each time, and is gone when it was
/// taken back.
async fn armed_and_counted(bench: &mut Bench) -> Outcome {
    const PLACE: u16 = 3;
    let probe = bench.start(0, Setting::default()).await?;
    let marks = |role: u64| {
        let table = inspect::tasks().map_err(|error| format!("{error}"))?;
        let info = table.get(role as usize).ok_or("no such role")?;
        Ok::<_, String>(info.marks[usize::from(PLACE)])
    };
    let before = marks(probe.role)?;
    // Its runtime is there.
    probe
        .ask(Command::Sum)
        .await
        .map_err(|error| format!("{error}"))?;
    // Nothing is noticed of this one: the probe hears no interrupts.
    let harmless = |times| Order::Arm(abi::Fault::DeafToInterrupts, PLACE, times);
    let orders = [
        (harmless(2), When::Requests(2), 7, 2),
        (harmless(Order::ALWAYS), When::OneIn(1), 5, 5),
        (Order::Disarm(PLACE), When::Now, 3, 0),
        (harmless(2), When::OneIn(2), 64, 2),
        (harmless(2), When::Point(31), 3, 0),
        (Order::DisarmAll, When::Now, 1, 0),
    ];
    let mut expected = before;
    for (order, when, requests, times) in orders {
        let armed = manage::inject(probe.role, order, 0, 1, when);
        ensure!(armed.is_ok(), "{order:?}: {armed:?}");
        for _ in 0..requests {
            let answer = probe.ask(Command::Sum).await;
            ensure!(answer.is_ok(), "{order:?}: {answer:?}");
        }
        expected += times;
        let marked = marks(probe.role)?;
        ensure!(
            marked == expected,
            "{order:?} {when:?}: {marked} times, not {expected}"
        );
    }
    Ok(())
}

async fn bad_pointers(bench: &mut Bench) -> Outcome {
    // Where the firmware writes its progress: whatever is written there harms nobody.
    const PORT: u16 = 0x80;
    const VIRTIO_VENDOR: u16 = 0x1af4;
    let devices = runtime::manage::devices().map_err(|error| format!("{error}"))?;
    let disk = devices
        .iter()
        .find(|device| device.vendor == VIRTIO_VENDOR)
        .ok_or("the machine has no virtio disk")?;
    // The peer has died once, so that there is a report of it.
    bench.start(0, Setting::default()).await?;
    let peer = bench.start(0, Setting::default()).await?;
    let setting = Setting {
        peers: &[peer.role],
        device: Some(disk.address),
        rights: Rights::all().bits(),
        ports: [PORT, PORT + 1],
        ..Setting::default()
    };
    let probe = bench.start(2, setting).await?;
    let (lent, mut target) = ([1; 4096], [0; 4096]);
    let mut free = None;
    // The first time takes tables of pages; from then on nothing must be lost.
    for _ in 0..3 {
        let command = Command::BadPointers {
            peer: peer.role,
            port: PORT.into(),
        };
        let answer = probe
            .ask_with(command, Source::local(&lent), Sink::local(&mut target))
            .await
            .map_err(|error| format!("{error}"))?;
        ensure!(
            answer.kernel == 0 && answer.value > 0,
            "system call {} took a bad pointer and returned {}",
            answer.value,
            answer.kernel
        );
        let counters = runtime::inspect::counters().map_err(|error| format!("{error}"))?;
        let now = (counters.frames_free, counters.pages_pinned);
        let first = *free.get_or_insert(now);
        ensure!(
            now == first,
            "frames free and pages pinned were {first:?}, now {now:?}"
        );
    }
    ensure!(
        probe.is_well().await && peer.is_well().await,
        "somebody was harmed"
    );
    // Its device is others' to drive again.
    bench.start(2, Setting::default()).await?;
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
