//! What the stack logs, on standard error, if the environment variable `GALAGO_LOG` is set: it is
//! the level, `warn` or `debug`.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Begins it, once.
pub fn begin() {
    let level: Option<LevelFilter> = std::env::var("GALAGO_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    if let Some(level) = level {
        begin_at(level);
    }
}

/// Begins it at this level, whatever the environment says.
pub fn begin_at(level: LevelFilter) {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
