//! Ways out: off, reset, and QEMU's exit with a status.

use super::serial::{port_read, port_write, port_write_16};

/// A port that nothing depends on: reading it takes about a microsecond.
const DELAY: u16 = 0x80;
/// Reads of it that give a machine the time to end: it may do so a few instructions later.
const DELAY_READS: u32 = 100_000;

/// Switches the machine off (0), resets it (1), or ends QEMU with a status (above 1) where its
/// debug-exit device is.
pub fn leave(how: u64) -> ! {
    match how {
        // The power management registers' block, where QEMU's machines have it: soft-off.
        0 => {
            port_write_16(0x604, 0x2000);
            port_write_16(0xb004, 0x2000);
        }
        1 => {
            port_write(0xcf9, 0x02);
            port_write(0xcf9, 0x06);
            // A second reset while the first is under way would start it over.
            for _ in 0..DELAY_READS {
                port_read(DELAY);
            }
            port_write(0x64, 0xfe);
        }
        status => port_write(0xf4, status as u8),
    }
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
