//! What the restart manager uses.

use alloc::{collections::VecDeque, vec::Vec};
use core::{
    future::poll_fn,
    task::{Poll, Waker},
};

use abi::{DeviceInfo, Name};

use crate::{local::Local, system};

pub use crate::system::{
    Result, death_report, declare, inject, kill, power, spawn as spawn_task, stop,
};

/// PCI functions that are looked at.
const DEVICES_MAX: usize = 64;
/// Bytes of an archive's file that are read at a time.
const PART_BYTES: usize = 16 << 10;

struct Deaths {
    roles: VecDeque<u64>,
    waker: Option<Waker>,
}

static DEATHS: Local<Deaths> = Local::new(Deaths {
    roles: VecDeque::new(),
    waker: None,
});

pub(crate) fn died(role: u32) {
    let waker = {
        let mut deaths = DEATHS.borrow();
        deaths.roles.push_back(u64::from(role));
        deaths.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Waits for a role to die.
pub async fn next_death() -> u64 {
    poll_fn(|context| {
        let mut deaths = DEATHS.borrow();
        match deaths.roles.pop_front() {
            Some(role) => Poll::Ready(role),
            None => {
                deaths.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// All PCI functions.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    let blank = DeviceInfo {
        address: 0,
        vendor: 0,
        device: 0,
        class: 0,
        subsystem: 0,
    };
    let mut devices = alloc::vec![blank; DEVICES_MAX];
    let count = system::devices(&mut devices)?;
    devices.truncate(count);
    Ok(devices)
}

/// A whole file of the archive, if it is no longer than `bytes_max`.
pub fn read_archive(name: &Name, bytes_max: usize) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    loop {
        let mut part = alloc::vec![0; PART_BYTES];
        let count = system::read_archive(name, file.len() as u64, &mut part)?;
        file.extend_from_slice(&part[..count]);
        if count == 0 {
            return Ok(file);
        }
        if file.len() > bytes_max {
            return Err(abi::Error::NoRoom);
        }
    }
}
