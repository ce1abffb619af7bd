//! I/O ports, and the first serial port for the kernel's own last resort: before the console task has
//! taken over, and when the kernel itself fails.

use core::fmt;

use x86_64::instructions::port::Port;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = DATA + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;

/// How often a busy transmitter is asked before what is written is given up.
const POLLS_MAX: u32 = 100_000;

/// Reads a byte from a port.
pub fn port_read(port: u16) -> u8 {
    // SAFETY: port access cannot break memory safety by itself; the callers decide which ports.
    unsafe { Port::new(port).read() }
}

/// Writes a byte to a port.
pub fn port_write(port: u16, value: u8) {
    // SAFETY: as above.
    unsafe { Port::new(port).write(value) };
}

/// Reads four bytes from a port.
pub fn port_read_32(port: u16) -> u32 {
    // SAFETY: as above.
    unsafe { Port::new(port).read() }
}

/// Writes four bytes to a port.
pub fn port_write_32(port: u16, value: u32) {
    // SAFETY: as above.
    unsafe { Port::new(port).write(value) };
}

/// Writes two bytes to a port.
pub fn port_write_16(port: u16, value: u16) {
    // SAFETY: as above.
    unsafe { Port::new(port).write(value) };
}

/// The first serial port, unbuffered. Writing fails where the port takes nothing for long.
pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                send(b'\r')?;
            }
            send(byte)?;
        }
        Ok(())
    }
}

fn send(byte: u8) -> fmt::Result {
    for _ in 0..POLLS_MAX {
        if port_read(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
            port_write(DATA, byte);
            return Ok(());
        }
    }
    Err(fmt::Error)
}
