//! The `log` crate's records, to the kernel's log.

use core::fmt::{self, Write};

use abi::LOG_RECORD_BYTES_MAX;
use log::{LevelFilter, Log, Metadata, Record};

use crate::{start, system};

/// Records of this target are events: JSON objects for programs, which only the second serial port
/// shows.
const EVENT: &str = "event";

struct Logger;

/// Text up to a length, then nothing.
struct Cut(heapless::String<LOG_RECORD_BYTES_MAX>);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LOG_RECORD_BYTES_MAX - self.0.len();
        let fits = text.floor_char_boundary(room);
        self.0.push_str(&text[..fits]).map_err(|_| fmt::Error)
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut text = Cut(heapless::String::new());
        let _ = text.write_fmt(*record.args());
        let level = if record.target() == EVENT {
            0
        } else {
            record.level() as u64
        };
        system::log(level, &text.0);
    }

    fn flush(&self) {}
}

/// Sends the program's records to the kernel, from `info` up, or as its argument `log=LEVEL` says.
pub fn install() {
    let level = start::argument("log").and_then(|level| level.parse().ok());
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level.unwrap_or(LevelFilter::Info));
    }
}
