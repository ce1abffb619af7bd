//! What QEMU says on its standard error: why it did not start, or why it ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::link::read_lines;
use crate::Failure;
use crate::host::processes::Child;

/// What QEMU puts before what it says.
const NAME_BEFORE: &str = "qemu-system-x86_64: ";

/// Most of it that is kept.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// How long a reason may be on its way through the pipe.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// What has been said so far.
#[derive(Debug, Default)]
pub struct Complaints {
    text: Arc<Mutex<Vec<u8>>>,
}

impl Complaints {
    /// Listens to the standard error of `child` from a thread of its own.
    pub fn of(child: &mut Child) -> Self {
        let complaints = Self::default();
        let text = complaints.text.clone();
        if let Some(pipe) = child.process().stderr.take() {
            std::thread::spawn(move || {
                read_lines(pipe, |line| {
                    let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                    if text.len() + line.len() < KEPT_BYTES_MAX {
                        text.extend_from_slice(line);
                        text.push(b'\n');
                    }
                });
            });
        }
        complaints
    }

    /// All on one line, without QEMU's own name; nothing if it said nothing.
    pub fn line(&self) -> Option<String> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&text);
        let lines = text
            .lines()
            .map(|line| line.trim().trim_start_matches(NAME_BEFORE));
        let text = lines
            .filter(|line| !line.is_empty())
            .take(3)
            .collect::<Vec<_>>()
            .join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// That QEMU did not start, with its reason.
    pub fn not_started(&self) -> Failure {
        std::thread::sleep(ON_ITS_WAY);
        let reason = self.line().unwrap_or_else(|| "it gives no reason".into());
        Failure::Host(format!("QEMU did not start: {reason}"))
    }
}
