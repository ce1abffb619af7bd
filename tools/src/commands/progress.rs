//! The guest's `progress` events on a step of the screen.

use crate::guest::Event;
use crate::ui::Step;

/// Shows how far a command is: `done` of `total`, and `text`, whichever the guest tells.
pub fn show(step: &Step, event: &Event) {
    if let (Some(done), Some(total)) = (event.number("done"), event.number("total")) {
        step.position(done, total);
    }
    if let Some(text) = event.text("text") {
        step.progress(text);
    }
}
