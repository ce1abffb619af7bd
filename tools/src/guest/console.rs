//! COM1: the guest's console, kept as its last lines.

use std::collections::VecDeque;
use std::io::{Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lines kept.
const LINES_MAX: usize = 4096;

/// A line longer than this is broken in two.
const LINE_BYTES_MAX: usize = 4096;

/// Where else the console's bytes go as they come.
pub type Tap = Box<dyn Write + Send>;

/// The console of a running guest.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: VecDeque<String>,
    /// Lines that no longer are in `lines`.
    forgotten: usize,
    /// The line under way.
    last: Vec<u8>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Listens to `stream` from a thread of its own, until it closes.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn new(stream: UnixStream, mut tap: Option<Tap>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut reader = stream.try_clone()?;
        let ours = shared.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let bytes = &buffer[..length];
                if let Some(tap) = &mut tap {
                    // A terminal that went away must not stop the guest.
                    let _ = tap.write_all(bytes).and_then(|()| tap.flush());
                }
                ours.lock().add(bytes);
                ours.changed.notify_all();
            }
            ours.lock().closed = true;
            ours.changed.notify_all();
        });
        Ok(Self { stream, shared })
    }

    /// A handle to type on.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn keyboard(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Line `number`, counted from 0 at boot, as soon as it is whole; nothing by `deadline`, or if the
    /// console closed before. A line that was forgotten meanwhile is replaced by the oldest known;
    /// the number returned is the next to ask for.
    #[must_use]
    pub fn line(&self, number: usize, deadline: Instant) -> Option<(usize, String)> {
        let mut text = self.shared.lock();
        loop {
            let index = number.saturating_sub(text.forgotten);
            if let Some(line) = text.lines.get(index) {
                return Some((text.forgotten + index + 1, line.clone()));
            }
            if text.closed {
                return None;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            text = self
                .shared
                .changed
                .wait_timeout(text, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether the guest is gone.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Waits until all has arrived that an ended guest said, at most until `deadline`.
    pub fn wait_closed(&self, deadline: Instant) {
        let mut text = self.shared.lock();
        while !text.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            text = self
                .shared
                .changed
                .wait_timeout(text, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The last `count` lines, the one under way among them, without colours.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let text = self.shared.lock();
        let mut lines: Vec<String> = text.lines.iter().cloned().collect();
        if !text.last.is_empty() {
            lines.push(String::from_utf8_lossy(&text.last).into_owned());
        }
        let plain = |line: &String| console::strip_ansi_codes(line).trim_end().to_owned();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(plain)
            .collect()
    }
}

impl Text {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.last.push(byte);
            }
            if byte == b'\n' || self.last.len() == LINE_BYTES_MAX {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.last);
        let line = line.trim_end_matches('\r').to_owned();
        self.last.clear();
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn lines_are_read_in_order_and_the_unfinished_one_is_in_the_tail() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let console = Console::new(ours, None).expect("a console");
        theirs.write_all(b"one\r\ntwo\nthr").expect("heard");
        let (next, line) = console.line(0, later()).expect("a line");
        assert_eq!((next, line.as_str()), (1, "one"));
        assert_eq!(console.line(next, later()).expect("a line").1, "two");
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(console.line(2, soon), None, "half a line is none");
        drop(theirs);
        console.wait_closed(later());
        assert!(console.closed());
        assert_eq!(console.tail(2), ["two", "thr"]);
    }

    #[test]
    fn a_guest_that_prints_for_ever_is_kept_in_bounds_and_readers_catch_up() {
        let mut text = Text::default();
        for number in 0..LINES_MAX + 10 {
            text.add(format!("{number}\n").as_bytes());
        }
        text.add(&vec![b'x'; 3 * LINE_BYTES_MAX]);
        assert_eq!(text.lines.len(), LINES_MAX);
        assert_eq!(text.forgotten, 13);
        assert_eq!(text.lines[0], "13");
    }
}
