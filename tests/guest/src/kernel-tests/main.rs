//! The kernel's guarantees, one test each, on the kernel itself.
//!
//! It runs in the restart manager's place, prints `test NAME … ok` or `… FAILED reason` for each
//! and `N passed, N failed` at the end, and ends QEMU with status 2 (all passed) or 3.
#![no_std]
#![no_main]

extern crate alloc;

mod bench;
mod calls;
mod copying;
mod cost;
mod disk;
mod dma;
mod faults;
mod lending;
mod life;

use alloc::{boxed::Box, string::String};
use core::pin::Pin;

use bench::Bench;
use runtime::{manage, start, time};

runtime::main!(run);

/// Why a test failed.
type Outcome = Result<(), String>;
type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;
/// A guarantee, and the test of it.
type Test = (&'static str, fn(&mut Bench) -> Running<'_>);

/// How long a test may take.
const TEST_NS: u64 = 30_000_000_000;
const PASSED: u64 = 2;
const FAILED: u64 = 3;

/// Fails the test, saying why, unless something holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($why)+));
        }
    };
}

async fn run() {
    // The first test is of the kernel alone: the manager itself dies, and is there again.
    assert!(
        start::is_restart(),
        "the first manager dies, so that the kernel must start another"
    );
    let mut bench = Bench::new();
    let (mut passed, mut failed) = (1, 0);
    log::info!("test the kernel starts a dead manager again … ok");
    let suites = [
        copying::TESTS,
        faults::TESTS,
        calls::TESTS,
        dma::TESTS,
        lending::TESTS,
        life::TESTS,
        disk::TESTS,
    ];
    for (name, test) in suites.into_iter().flatten() {
        let outcome = time::with_deadline(TEST_NS, test(&mut bench)).await;
        match outcome.unwrap_or_else(|| Err(String::from("took too long"))) {
            Ok(()) => {
                passed += 1;
                log::info!("test {name} … ok");
            }
            Err(why) => {
                failed += 1;
                log::error!("test {name} … FAILED {why}");
            }
        }
    }
    match cost::measure(&mut bench).await {
        Ok(figures) => {
            for (name, ns) in figures {
                log::info!("measured {name}: {ns} ns");
            }
        }
        Err(why) => log::warn!("nothing measured: {why}"),
    }
    log::info!("{passed} passed, {failed} failed");
    let _ = manage::power(if failed == 0 { PASSED } else { FAILED });
}
