//! Calls and grants: who gets what, for how long, and what a death in the middle does.

use alloc::{boxed::Box, format, vec::Vec};

use abi::{Cause, Error as KernelError};
use futures_util::future::join_all;
use guest_tests::{Answer, Command, Fault};
use runtime::{manage, time};
use storage::{
    Error,
    buffer::{Sink, SinkSegment, Source},
};

use crate::{
    Outcome, Test,
    bench::{Bench, RETIRED, Setting},
    ensure,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("a callee dies with calls pending", |b| {
        Box::pin(callee_dies(b))
    }),
    ("a reply to a dead caller", |b| Box::pin(late_reply(b))),
    ("a mailbox overflows", |b| Box::pin(overflow(b))),
    ("a grant after its call", |b| Box::pin(grant_after_call(b))),
    ("a grant out of range", |b| Box::pin(grant_out_of_range(b))),
    ("a grant reaches just what was lent", |b| {
        Box::pin(exact_grant(b))
    }),
    ("a grant larger than one copy", |b| Box::pin(large_grant(b))),
    ("more pieces than a grant takes", |b| {
        Box::pin(many_pieces(b))
    }),
    ("a sub-grant after its parent died", |b| {
        Box::pin(sub_grant(b))
    }),
    ("a call waits for the next instance", |b| {
        Box::pin(between_instances(b))
    }),
    ("a call of a stopped role", |b| Box::pin(stopped(b))),
    ("a call dropped halfway", |b| Box::pin(dropped(b))),
];

fn error(error: Error) -> alloc::string::String {
    format!("{error}")
}

async fn callee_dies(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let pending: Vec<_> = (0..40).map(|_| probe.ask(Command::Hold)).collect();
    let role = probe.role;
    runtime::spawn(async move {
        time::sleep(20_000_000).await;
        let _ = manage::kill(role, Cause::Killed);
    });
    for answer in join_all(pending).await {
        ensure!(answer == Err(Error::PeerDied), "a caller heard {answer:?}");
    }
    bench.wait_death(role).await?;
    Ok(())
}

async fn late_reply(bench: &mut Bench) -> Outcome {
    let callee = bench.start(0, Setting::default()).await?;
    let setting = Setting {
        peers: &[callee.role],
        ..Setting::default()
    };
    let caller = bench.start(1, setting).await?;
    caller.tell(Command::PassOn(callee.role)).await;
    ensure!(callee.is_well().await, "the callee does not live");
    let caller = bench.start(1, setting).await?;
    let answer = callee.ask(Command::AnswerKept).await.map_err(error)?;
    let expected = KernelError::NoSuchCall as i64;
    ensure!(
        answer.kernel == expected,
        "the kernel said {}",
        answer.kernel
    );
    ensure!(
        caller.is_well().await,
        "the next instance of the caller was harmed"
    );
    Ok(())
}

async fn overflow(bench: &mut Bench) -> Outcome {
    let full = bench.start(0, Setting::default()).await?;
    ensure!(full.is_well().await, "the probe does not start");
    let endpoint = runtime::Endpoint::new(full.role);
    runtime::spawn(async move {
        let command = Command::Misbehave(Fault::EndlessLoop);
        let _: Result<Answer, Error> =
            storage::transport::ask(&endpoint, &command, Source::empty(), Sink::empty()).await;
    });
    time::sleep(30_000_000).await;
    let setting = Setting {
        peers: &[full.role],
        ..Setting::default()
    };
    let mut total = 0;
    for index in [1, 2] {
        let sender = bench.start(index, setting).await?;
        let answer = sender.ask(Command::Flood(full.role)).await.map_err(error)?;
        ensure!(
            answer.kernel == KernelError::Full as i64,
            "the kernel said {}",
            answer.kernel
        );
        total += answer.value;
        ensure!(sender.is_well().await, "the sender was harmed");
    }
    ensure!(total > 0 && total <= 256, "{total} calls fit a mailbox");
    manage::kill(full.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(full.role).await?;
    let again = bench.start_dead(0, Setting::default())?;
    ensure!(again.is_well().await, "the mailbox is still full");
    Ok(())
}

async fn grant_after_call(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let secret = [7; 64];
    let send = Source::local(&secret);
    probe
        .ask_with(Command::Remember, send, Sink::empty())
        .await
        .map_err(error)?;
    let answer = probe.ask(Command::ReadKept).await.map_err(error)?;
    let expected = Answer {
        value: 0,
        kernel: KernelError::NoSuchCall as i64,
    };
    ensure!(answer == expected, "it read {answer:?}");
    Ok(())
}

async fn grant_out_of_range(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let (lent, mut target) = ([1; 100], [0; 50]);
    for (offset, len) in [
        (0, 101),
        (100, 1),
        (u64::MAX, 2),
        (u64::MAX - 50, 60),
        (1 << 40, 1),
    ] {
        let command = Command::ReadLent { offset, len };
        let answer = probe
            .ask_with(command, Source::local(&lent), Sink::empty())
            .await;
        let kernel = answer.map_err(error)?.kernel;
        ensure!(
            kernel == KernelError::BadAddress as i64,
            "reading {offset}+{len}: {kernel}"
        );
    }
    for (offset, len) in [(0, 51), (50, 1), (u64::MAX, 2)] {
        let command = Command::WriteLent { offset, len };
        let answer = probe
            .ask_with(command, Source::local(&lent), Sink::local(&mut target))
            .await;
        let kernel = answer.map_err(error)?.kernel;
        ensure!(
            kernel == KernelError::BadAddress as i64,
            "writing {offset}+{len}: {kernel}"
        );
    }
    ensure!(target == [0; 50], "something was written");
    Ok(())
}

async fn exact_grant(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let mut buffer = alloc::vec![0x11_u8; 3 * 4096];
    let (start, len) = (4000, 5000);
    let receive = Sink::local(&mut buffer[start..start + len]);
    let command = Command::WriteLent {
        offset: 10,
        len: 4980,
    };
    let answer = probe
        .ask_with(command, Source::empty(), receive)
        .await
        .map_err(error)?;
    ensure!(answer.kernel == 0, "the kernel said {}", answer.kernel);
    for (index, &byte) in buffer.iter().enumerate() {
        let written = (start + 10..start + len - 10).contains(&index);
        ensure!(
            byte == if written { 0xaa } else { 0x11 },
            "byte {index} is {byte:#x}"
        );
    }
    Ok(())
}

async fn large_grant(bench: &mut Bench) -> Outcome {
    const BYTES: usize = 2 * abi::COPY_BYTES_MAX + 5;
    let probe = bench.start(0, Setting::default()).await?;
    let mut memory = alloc::vec![1_u8; BYTES];
    let read = probe
        .ask_with(Command::Sum, Source::local(&memory), Sink::empty())
        .await
        .map_err(error)?;
    let expected = Answer {
        value: BYTES as u64,
        kernel: 0,
    };
    ensure!(read == expected, "of {BYTES} ones it read {read:?}");
    let written = probe
        .ask_with(Command::Fill, Source::empty(), Sink::local(&mut memory))
        .await
        .map_err(error)?;
    ensure!(written.kernel == 0, "it could not write all");
    let wrong = memory.iter().position(|&byte| byte != 0xaa);
    ensure!(wrong.is_none(), "byte {wrong:?} was not written");
    Ok(())
}

async fn sub_grant(bench: &mut Bench) -> Outcome {
    // We lend to `a`, which passes it on to `b`; then `a` dies, and what `b` holds is void.
    let b = bench.start(1, Setting::default()).await?;
    let a = bench
        .start(
            0,
            Setting {
                peers: &[b.role],
                ..Setting::default()
            },
        )
        .await?;
    let endpoint = runtime::Endpoint::new(a.role);
    let role = b.role;
    runtime::spawn(async move {
        let secret = [42; 64];
        let _: Result<Answer, Error> = storage::transport::ask(
            &endpoint,
            &Command::PassOn(role),
            Source::local(&secret),
            Sink::empty(),
        )
        .await;
    });
    time::sleep(20_000_000).await;
    let before = b.ask(Command::ReadKept).await.map_err(error)?;
    ensure!(
        before
            == Answer {
                value: 42,
                kernel: 0
            },
        "the sub-grant gave {before:?}"
    );
    manage::kill(a.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(a.role).await?;
    let after = b.ask(Command::ReadKept).await.map_err(error)?;
    let expected = Answer {
        value: 0,
        kernel: KernelError::NoSuchCall as i64,
    };
    ensure!(after == expected, "after its parent it gave {after:?}");
    Ok(())
}

/// What an instance wrote before it died is there when the next one only answers, as in memory that is lent itself.
async fn many_pieces(bench: &mut Bench) -> Outcome {
    const PIECE: usize = 100;
    // None adjoins the next.
    let mut buffer = alloc::vec![0x11_u8; (abi::SEGMENTS_MAX + 1) * 2 * PIECE];
    fn pieces(buffer: &mut [u8]) -> Sink<'_> {
        let mut sink = Sink::empty();
        for piece in buffer.chunks_mut(2 * PIECE) {
            sink.push(SinkSegment::Local(&mut piece[..PIECE]));
        }
        sink
    }
    let holds = |buffer: &[u8], written: u8| {
        let mut pieces = buffer.chunks(2 * PIECE);
        pieces.all(|piece| {
            let (lent, kept) = piece.split_at(PIECE);
            lent.iter().all(|&byte| byte == written) && kept.iter().all(|&byte| byte == 0x11)
        })
    };
    let probe = bench.start(0, Setting::default()).await?;
    let answer = probe
        .ask_with(Command::Sum, Source::empty(), pieces(&mut buffer))
        .await;
    answer.map_err(error)?;
    ensure!(holds(&buffer, 0x11), "what nobody wrote to has changed");
    let answer = probe
        .ask_with(Command::FillAndExit, Source::empty(), pieces(&mut buffer))
        .await;
    ensure!(answer == Err(Error::PeerDied), "it heard {answer:?}");
    bench.wait_death(probe.role).await?;
    ensure!(holds(&buffer, 0xaa), "what was written is not there");
    let next = bench.start_dead(0, Setting::default())?;
    let answer = next
        .ask_with(Command::Sum, Source::empty(), pieces(&mut buffer))
        .await;
    answer.map_err(error)?;
    ensure!(holds(&buffer, 0xaa), "an answer alone has taken it away");
    Ok(())
}

async fn between_instances(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    manage::kill(probe.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(probe.role).await?;
    let call = probe.is_well();
    let start = async {
        time::sleep(20_000_000).await;
        bench.start_dead(0, Setting::default())
    };
    let (well, started) = futures_util::future::join(call, start).await;
    started?;
    ensure!(well, "the call did not reach the next instance");
    Ok(())
}

async fn stopped(bench: &mut Bench) -> Outcome {
    let probe = bench.start(RETIRED, Setting::default()).await?;
    manage::kill(probe.role, Cause::Killed).map_err(|error| format!("{error}"))?;
    bench.wait_death(probe.role).await?;
    let waiting = probe.ask(Command::Sum);
    let stop = async {
        time::sleep(10_000_000).await;
        manage::stop(probe.role)
    };
    let (answer, stopped) = futures_util::future::join(waiting, stop).await;
    ensure!(stopped.is_ok(), "it cannot be stopped");
    ensure!(
        answer == Err(Error::PeerGone),
        "who waited heard {answer:?}"
    );
    let later = probe.ask(Command::Sum).await;
    ensure!(
        later == Err(Error::PeerGone),
        "who came later heard {later:?}"
    );
    let again = bench.start_dead(RETIRED, Setting::default());
    ensure!(again.is_err(), "it was started again");
    Ok(())
}

async fn dropped(bench: &mut Bench) -> Outcome {
    let probe = bench.start(0, Setting::default()).await?;
    let mut buffer = alloc::vec![0x33_u8; 4096];
    let held = probe.ask_with(Command::Hold, Source::empty(), Sink::local(&mut buffer));
    ensure!(
        time::with_deadline(20_000_000, held).await.is_none(),
        "the call was answered"
    );
    let answer = probe.ask(Command::AnswerKept).await.map_err(error)?;
    ensure!(
        answer.kernel == KernelError::NoSuchCall as i64,
        "the kernel said {}",
        answer.kernel
    );
    ensure!(
        buffer.iter().all(|&byte| byte == 0x33),
        "memory was touched after the drop"
    );
    ensure!(probe.is_well().await, "the probe was harmed");
    Ok(())
}
