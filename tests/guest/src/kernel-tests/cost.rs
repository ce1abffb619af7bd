//! What calls cost. These are figures and not tests: nothing here can fail.
//!
//! Each is the fastest of several rounds, as the host may take the processor away at any time.

use alloc::{format, string::String, vec::Vec};

use futures_util::future::join_all;
use guest_tests::{Answer, Command};
use runtime::{Endpoint, time};
use storage::{
    Error,
    buffer::{Sink, Source},
    transport::ask,
};

use crate::bench::{Bench, Setting};

/// Rounds, the first of which brings in code and pages.
const ROUNDS: u64 = 200;
/// Calls in a round, one after the other.
const CALLS: u64 = 32;
/// Calls submitted together.
const BATCH: u64 = 16;

/// Nanoseconds for each thing measured.
pub async fn measure(bench: &mut Bench) -> Result<Vec<(&'static str, u64)>, String> {
    let probe = bench.start(0, Setting::default()).await?;
    let endpoint = Endpoint::new(probe.role);
    let call = || async {
        let answer: Result<Answer, Error> =
            ask(&endpoint, &Command::Sum, Source::empty(), Sink::empty()).await;
        answer.map_err(|error| format!("{error}"))
    };
    let (mut single, mut batched) = (u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        let begun = time::now_ns();
        for _ in 0..CALLS {
            call().await?;
        }
        single = single.min((time::now_ns() - begun) / CALLS);
        let begun = time::now_ns();
        for _ in 0..CALLS / BATCH {
            join_all((0..BATCH).map(|_| call())).await;
        }
        batched = batched.min((time::now_ns() - begun) / CALLS);
    }
    Ok([
        ("call round trip", single),
        ("call round trip in batches of 16", batched),
    ]
    .into())
}
