//! Pings: an empty call, which a task's event loop answers by itself.
//!
//! A task whose loop does not turn is ended. So is one that answers pings, but not the requests of others:
//! callers say how long they wait, and the kernel knows since when they do.
//!
//! A task that does not answer pings is a suspect, and is not ended at once (`suspect.rs`).

use alloc::{rc::Rc, vec};
use core::pin::pin;

use abi::TaskInfo;
use futures_util::future::{Either, select};
use manager::suspect::{DEADLINE_NS, LOOK_NS, Suspect};
use runtime::{inspect, time};
use storage::Error;

use crate::stack_of_tasks::Tasks;

/// Time from one ping to the next, nanoseconds.
const PERIOD_NS: u64 = 1_000_000_000;

/// An instance that has served for less is not held to what was asked of the one before, nanoseconds.
const GRACE_NS: u64 = 1_000_000_000;

/// Looks in a row at which a task is overdue before it is ended: one alone may fall between two calls that it
/// makes for the request, or come just after the machine stood still.
const LOOKS: u32 = 2;

/// Pings all tasks for ever.
pub async fn run(tasks: Rc<Tasks>) {
    let mut overdue = vec![(0, 0); tasks.stack.tasks.len()];
    loop {
        time::sleep(PERIOD_NS).await;
        end_the_overdue(&tasks, &mut overdue);
        tasks.count_marks();
        for task in 0..tasks.stack.tasks.len() {
            if tasks.is_up(task) {
                runtime::spawn(ping(tasks.clone(), task, tasks.generation(task)));
            }
        }
    }
}

/// Ends who has not answered a request in the time that its caller gave it, though its loop turns: its
/// requests wait for each other, or it has forgotten one.
///
/// Who waits for others himself is not to blame, as long as they are; they are looked at in their turn.
///
/// `overdue` has the generation of each task, and at how many looks in a row that was overdue.
fn end_the_overdue(tasks: &Tasks, overdue: &mut [(u64, u32)]) {
    let Ok(table) = inspect::tasks() else { return };
    let now_ns = time::now_ns();
    for (task, seen) in overdue.iter_mut().enumerate() {
        let Some(info) = table.get(tasks.role(task) as usize) else {
            continue;
        };
        let had_time = tasks
            .serves_since(task)
            .is_some_and(|since_ns| now_ns.saturating_sub(since_ns) >= GRACE_NS);
        let is_overdue = info.due_ns <= now_ns && info.waiting == 0 && had_time;
        *seen = match *seen {
            (generation, looks) if is_overdue && generation == info.generation => {
                (generation, looks + 1)
            }
            _ => (info.generation, u32::from(is_overdue)),
        };
        if seen.1 >= LOOKS {
            tasks.end_overdue(task);
        }
    }
}

/// Pings one instance, once; ends it if it is silent.
pub async fn ping(tasks: Rc<Tasks>, task: usize, generation: u64) {
    let sent_ns = time::now_ns();
    let endpoint = tasks.endpoint(task);
    let mut answer = pin!(endpoint.ping());
    let mut wait_ns = DEADLINE_NS;
    let mut suspect = Suspect::new(sent_ns);
    loop {
        match select(answer.as_mut(), pin!(time::sleep(wait_ns))).await {
            Either::Left((Ok(()), _)) => {
                if tasks.generation(task) == generation {
                    tasks.answered(task);
                }
                return;
            }
            // It died, or is being stopped: others deal with that. Or its mailbox is full, and the
            // next ping will find out more.
            Either::Left((Err(error), _)) => {
                if error == Error::PeerBusy {
                    log::warn!("{}: no room for a ping", tasks.name(task));
                }
                return;
            }
            Either::Right(_) => {}
        }
        let Some(info) = instance(&tasks, task, generation) else {
            return;
        };
        if suspect.is_to_be_ended(info.last_wait_ns, info.cpu_ns) {
            tasks.silence(task);
            return;
        }
        wait_ns = LOOK_NS;
    }
}

/// What the kernel knows of an instance, if it is still there.
fn instance(tasks: &Tasks, task: usize, generation: u64) -> Option<TaskInfo> {
    if tasks.generation(task) != generation || !tasks.is_up(task) {
        return None;
    }
    let table = inspect::tasks().ok()?;
    table
        .into_iter()
        .find(|info| info.role == tasks.role(task) && info.generation == generation)
}
