//! Checkpoints that nobody asks for: after a while, and when the cache wants one.

use std::{
    cell::RefCell,
    future::pending,
    pin::pin,
    task::{Context, Waker},
};

use futures_executor::block_on;
use storage::{Error, Result};

use crate::{
    fake::{Fake, Fault},
    support::{CLIENT, TestNaming, fresh, naming_over, put},
};

/// What `keep_synced` does when its periods end so, and no more come: `.` a period, `z` a pause.
fn turns(naming: &TestNaming, periods: &[Option<Result<()>>]) -> String {
    let left = RefCell::new(periods.iter().rev().copied().collect::<Vec<_>>());
    let seen = RefCell::new(String::new());
    let period = async || {
        let next = left.borrow_mut().pop();
        match next {
            Some(end) => {
                seen.borrow_mut().push('.');
                end
            }
            None => pending().await,
        }
    };
    let mut keeping = pin!(naming.keep_synced(period, async || seen.borrow_mut().push('z')));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        let _ = keeping.as_mut().poll(&mut context);
    }
    seen.take()
}

/// After a mount that failed what the cache holds would stay there.
#[test]
fn what_an_earlier_instance_left_is_synced_though_nobody_calls() {
    let (fake, naming) = fresh(1);
    block_on(put(&naming.client(CLIENT), b"f", b"text")).unwrap();
    let fake = fake.restarted();
    let naming = naming_over(&fake);
    assert_eq!(block_on(naming.sync_periodic()), Ok(true));
    assert_eq!(fake.0.borrow().checkpoint, fake.files());
    assert_eq!(block_on(naming.sync_periodic()), Ok(false));
}

#[test]
fn what_is_wanted_and_cannot_be_had_is_not_asked_for_at_once() {
    let wanted = Some(Ok(()));
    // There is no volume.
    let naming = naming_over(&Fake::new(1));
    assert_eq!(turns(&naming, &[wanted, wanted, None, None]), ".z.z..");
    assert_eq!(turns(&naming, &[Some(Err(Error::NotLoaded))]), ".z");
    // There is one, and nothing has changed but before the first.
    let (fake, naming) = fresh(1);
    block_on(put(&naming.client(CLIENT), b"f", b"text")).unwrap();
    assert_eq!(turns(&naming, &[wanted, wanted, None, wanted]), "..z..z");
    // A checkpoint fails.
    block_on(put(&naming.client(CLIENT), b"f", b"more")).unwrap();
    fake.set_fault(0, Fault::Fail(Error::Device));
    assert_eq!(turns(&naming, &[None, None]), ".z.");
    assert_eq!(fake.0.borrow().checkpoint, fake.files());
}
