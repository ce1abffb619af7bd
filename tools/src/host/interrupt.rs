//! Ctrl-C, SIGTERM and SIGHUP: end the guests, give the terminal back, leave.

use std::sync::Mutex;

type Restore = Box<dyn Fn() + Send>;

static RESTORE: Mutex<Option<Restore>> = Mutex::new(None);

/// The exit status after Ctrl-C, as shells have it.
pub const STATUS: i32 = 130;

/// Arranges that a signal leaves nothing behind. Once a program; a second call changes nothing.
pub fn install() {
    // It fails only where a handler exists already, which then is ours.
    let _ = ctrlc::set_handler(|| {
        super::processes::end_all();
        restore_terminal();
        eprintln!("\ninterrupted");
        std::process::exit(STATUS);
    });
}

/// What must be undone on the terminal if a signal comes. `None` when nothing is to be undone.
pub fn on_interrupt(restore: Option<Restore>) {
    *RESTORE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = restore;
}

/// Undoes it now.
pub fn restore_terminal() {
    if let Ok(restore) = RESTORE.lock()
        && let Some(restore) = restore.as_ref()
    {
        restore();
    }
}
