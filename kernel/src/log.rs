//! The log: kept for the console; written on the first serial port as long as nobody reads it, and
//! when the machine ends, for then nobody will.
//!
//! It has a lock of its own, beside the one of the kernel's state, because a panic must get at it
//! wherever it happens.

use kernel_core::log_ring::{LogRing, write_line};
use spin::Mutex;

use crate::cpu::serial::Serial;

/// Bytes of log that wait for the console.
const LOG_BYTES: usize = 128 << 10;

struct Log {
    ring: LogRing,
    is_read: bool,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    ring: LogRing::new(LOG_BYTES),
    is_read: false,
});

/// Adds a record. `level`: 0 is for programs, 1 an error, up to 5.
pub fn add(time_ns: u64, level: u64, role: &str, text: &str) {
    let mut log = LOG.lock();
    let is_read = log.is_read;
    let record = log.ring.push(time_ns, level, role, text);
    if !is_read {
        // A port that takes nothing loses a line.
        let _ = write_line(&mut Serial, record);
    }
}

/// Moves whole records into `into`, for whoever shows them from now on; returns the bytes.
pub fn read(into: &mut [u8]) -> usize {
    let mut log = LOG.lock();
    log.is_read = true;
    log.ring.pop(into)
}

/// Writes what nobody has read on the first serial port, until that takes no more.
pub fn write_rest() {
    // It is held by who panics in the middle of this module; then there is no more to be had.
    if let Some(mut log) = LOG.try_lock()
        && log.is_read
    {
        let _ = log.ring.write_rest(&mut Serial);
    }
}
