//! The restart manager: starts the stack, hears of deaths, and does what the rules say.
//!
//! Four things go on beside each other, and none ever waits for a task that is managed: deaths are
//! dealt with as the kernel tells of them, pings are sent every second, requests of the console are
//! answered, and a series of kills may run. The kernel restarts the manager itself if it dies; the
//! new instance adopts what runs.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod faults;
mod heartbeat;
mod kills;
mod placement;
mod requests;
mod stack_of_tasks;

use alloc::{rc::Rc, vec::Vec};

use abi::DeathReport;
use futures_util::FutureExt;
use runtime::{inspect, manage, start, time};
use stack::Stack;

use crate::stack_of_tasks::Tasks;

runtime::main!(run);

/// Requests of clients at work at a time.
const REQUESTS_MAX: usize = 8;

/// The status with which QEMU's debug-exit device is told that no stack could be started.
const NO_STACK: u64 = 0x21;

/// How long the console has to show the last lines, nanoseconds.
const LAST_LINES_NS: u64 = 300_000_000;

async fn run() {
    let tasks = match placement::read_stack()
        .and_then(|stack| Tasks::new(stack).map_err(|line| alloc::vec![line]))
    {
        Ok(tasks) => Rc::new(tasks),
        Err(lines) => {
            lines.iter().for_each(|line| log::error!("{line}"));
            log::error!("there is no stack to start: the machine stops");
            time::sleep(LAST_LINES_NS).await;
            let _ = manage::power(NO_STACK);
            return;
        }
    };
    if !start::is_restart() {
        compare_with_memory(&tasks.stack);
    }
    tasks.start();
    runtime::spawn(heartbeat::run(tasks.clone()));
    runtime::spawn(deaths(tasks.clone()));
    runtime::serve(REQUESTS_MAX, move |request| {
        requests::answer(tasks.clone(), request)
    })
    .await;
}

/// Says so if the tasks are promised more memory than there is.
fn compare_with_memory(stack: &Stack) {
    let promised: u64 = stack.tasks.iter().map(|task| task.quota_pages).sum();
    let there_is = inspect::counters().map_or(u64::MAX, |counters| counters.frames_total);
    if promised > there_is {
        let mebibytes = |pages: u64| (pages * abi::PAGE_BYTES as u64) >> 20;
        log::warn!(
            "the quotas come to {} MiB, the memory to {}: a task may die for want of it within its quota",
            mebibytes(promised),
            mebibytes(there_is)
        );
    }
}

/// Deals with deaths. Those that the kernel tells of at once are taken in the order in which they
/// happened: the first is the cause of the others.
async fn deaths(tasks: Rc<Tasks>) {
    loop {
        let mut reports: Vec<DeathReport> = Vec::new();
        let mut next = Some(manage::next_death().await);
        while let Some(role) = next {
            match manage::death_report(role) {
                Ok(report) => reports.push(report),
                Err(error) => log::error!("no report of the death of role {role}: {error}"),
            }
            next = manage::next_death().now_or_never();
        }
        reports.sort_unstable_by_key(|report| report.time_ns);
        reports.iter().for_each(|report| tasks.died(report));
    }
}
