//! Panics are answers here: kept for the report, and the next case goes on.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

thread_local! {
    /// What this thread's last panic said; `None` while panics are nobody's answer.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does it; what the panic said, if it panics.
///
/// # Errors
/// The panic's text and place.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = CAUGHT.with_borrow_mut(|caught| {
                caught
                    .as_mut()
                    .map(|text| *text = info.to_string())
                    .is_some()
            });
            if !ours {
                usual(info);
            }
        }));
    });
    let outer = CAUGHT.replace(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(work));
    let text = CAUGHT.replace(outer).unwrap_or_default();
    result.map_err(|_| text)
}
