//! How much processor time a thread takes for one of its cases: what tells one that never ends from one that the host
//! keeps waiting. The clock on the wall does not: a host that stands still, or has other things to do, would be a finding.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What a thread is at, for another one that watches it.
#[derive(Debug)]
pub struct Watched {
    /// What the kernel tells of the thread; `None` if this host has no such thing, and then nothing takes too long.
    told: Option<PathBuf>,
    /// A case, and the time that the thread had taken when it began with it.
    present: Mutex<Option<(u64, Duration)>>,
}

impl Watched {
    /// The thread that calls.
    #[must_use]
    pub fn this_thread() -> Self {
        let thread = fs::read_link("/proc/thread-self").ok();
        Self {
            told: thread.map(|thread| Path::new("/proc").join(thread).join("stat")),
            present: Mutex::default(),
        }
    }

    /// It begins with a case.
    pub fn begins(&self, case: u64) {
        self.set(Some((case, self.taken())));
    }

    /// It has ended what it began with.
    pub fn ends(&self) {
        self.set(None);
    }

    /// The case that it has taken longer for than it may, if there is one.
    #[must_use]
    pub fn exceeds(&self, limit: Duration) -> Option<u64> {
        let present = *self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let (case, before) = present?;
        (self.taken().saturating_sub(before) > limit).then_some(case)
    }

    fn set(&self, to: Option<(u64, Duration)>) {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Processor time of the thread so far.
    fn taken(&self) -> Duration {
        let text = self
            .told
            .as_ref()
            .and_then(|it| fs::read_to_string(it).ok());
        text.and_then(|text| taken(&text)).unwrap_or_default()
    }
}

/// Processor time by `/proc/PID/task/TID/stat` (proc_pid_stat(5)), of the thread and of the kernel for it.
fn taken(stat: &str) -> Option<Duration> {
    /// A tick of what the kernel tells there.
    const TICK: Duration = Duration::from_millis(10);
    // The name of the thread may have spaces, and brackets.
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    let mut fields = behind_the_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * ticks()?.saturating_add(ticks()?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn time_of_both_kinds_is_read_whatever_the_thread_is_called() {
        let stat = "7 (a) b (c) R 1 1 1 0 -1 64 1 0 0 0 250 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(taken(stat), Some(Duration::from_secs(3)));
        for wrong in [
            "",
            "7 a R 1",
            "7 (a) R 1 1",
            "7 (a) R 1 1 1 0 -1 64 1 0 0 0 x 50",
        ] {
            assert_eq!(taken(wrong), None, "{wrong}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_takes_time_and_waiting_takes_none() {
        let watched = Watched::this_thread();
        let short = Duration::from_millis(50);
        watched.begins(7);
        std::thread::sleep(2 * short);
        assert_eq!(watched.exceeds(short), None, "it only slept");
        let began = Instant::now();
        while watched.exceeds(short).is_none() {
            assert!(
                began.elapsed() < Duration::from_secs(600),
                "it works all the time"
            );
        }
        assert_eq!(watched.exceeds(short), Some(7));
        watched.begins(8);
        assert_eq!(watched.exceeds(short), None, "another case");
        watched.ends();
        assert_eq!(watched.exceeds(Duration::ZERO), None, "no case");
    }
}
