//! What the console shows of the system: tasks, counters, the log.

use alloc::vec::Vec;
use core::{
    future::poll_fn,
    task::{Poll, Waker},
};

use abi::{ROLES_MAX, TaskInfo};

use crate::{local::Local, system};

pub use crate::system::{Result, counters, read_log};

struct News {
    arrived: bool,
    waker: Option<Waker>,
}

static NEWS: Local<News> = Local::new(News {
    arrived: false,
    waker: None,
});

pub(crate) fn log_news() {
    let waker = {
        let mut news = NEWS.borrow();
        news.arrived = true;
        news.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Waits until there are log records that [`read_log`] has not returned.
pub async fn log_arrived() {
    poll_fn(|context| {
        let mut news = NEWS.borrow();
        if core::mem::take(&mut news.arrived) {
            return Poll::Ready(());
        }
        news.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// All roles, by number.
pub fn tasks() -> Result<Vec<TaskInfo>> {
    let mut tasks = alloc::vec![TaskInfo::BLANK; ROLES_MAX];
    let count = system::tasks(&mut tasks)?;
    tasks.truncate(count);
    Ok(tasks)
}
