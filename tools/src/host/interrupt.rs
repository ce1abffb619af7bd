//! Ctrl-C, SIGTERM and SIGHUP: give the terminal back, end the children, remove the folders, leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use super::processes;

type Restore = Box<dyn Fn() + Send>;

static RESTORE: Mutex<Option<Restore>> = Mutex::new(None);

/// The first signal only asks, and whether it has come.
static ASKS: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit status after Ctrl-C, as shells have it.
pub const STATUS: i32 = 130;

/// Arranges that a signal leaves nothing behind. It is done when there is something for the first time.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It fails only where a program has a handler of its own, which then decides.
        let _ = ctrlc::set_handler(|| {
            if ASKS.load(Ordering::Relaxed) && !ASKED.swap(true, Ordering::Relaxed) {
                eprintln!("\nending what is under way; once more ends it at once");
                return;
            }
            restore_terminal();
            eprintln!("\ninterrupted");
            processes::end_all_and_exit(STATUS);
        });
    });
}

/// Arranges the same for a panic, which otherwise ends the program without a destructor run.
pub fn clean_up_after_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore_terminal();
        report(panic);
        processes::try_end_all();
    }));
}

/// What must be undone on the terminal if a signal comes. `None` when nothing is to be undone.
pub fn on_interrupt(restore: Option<Restore>) {
    *RESTORE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = restore;
}

/// Undoes it now.
pub fn restore_terminal() {
    // A panic may come while it is being set.
    if let Ok(restore) = RESTORE.try_lock()
        && let Some(restore) = restore.as_ref()
    {
        restore();
    }
}

/// As long as this lives, the first signal only asks to end: see [`asked`]. The second ends as ever.
#[derive(Debug)]
pub struct AskFirst(());

impl AskFirst {
    /// From now on.
    #[must_use]
    pub fn new() -> Self {
        install();
        ASKS.store(true, Ordering::Relaxed);
        Self(())
    }
}

impl Default for AskFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for AskFirst {
    fn drop(&mut self) {
        ASKS.store(false, Ordering::Relaxed);
    }
}

/// Whether a signal has asked to end.
#[must_use]
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
