//! Ways out: off, reset, and QEMU's exit with a status.

use super::serial::{port_read, port_write, port_write_16};
use crate::log;

/// Switch off.
const OFF: u64 = 0;
/// Reset.
const RESET: u64 = 1;

/// Where QEMU's debug-exit device is.
const DEBUG_EXIT: u16 = 0xf4;

/// Switches the machine off (0), resets it (1), or ends QEMU with a status (above 1). What nobody
/// has read of the log is written first. A machine without the device for that is switched off: off
/// is always possible.
pub fn leave(how: u64) -> ! {
    log::write_rest();
    match how {
        OFF => {}
        RESET => {
            port_write(0xcf9, 0x02);
            port_write(0xcf9, 0x06);
            // A second reset while the first is under way would start it over.
            give_time();
            port_write(0x64, 0xfe);
            give_time();
        }
        status => {
            port_write(DEBUG_EXIT, status as u8);
            give_time();
        }
    }
    // The power management registers' block, where QEMU's machines have it: soft-off.
    port_write_16(0x604, 0x2000);
    port_write_16(0xb004, 0x2000);
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Gives a machine the time to end: it may do so a few instructions later.
fn give_time() {
    /// A port that nothing depends on: reading it takes about a microsecond.
    const DELAY: u16 = 0x80;
    const DELAY_READS: u32 = 100_000;
    for _ in 0..DELAY_READS {
        port_read(DELAY);
    }
}
