//! What of a fault may be seen, by the documents (`docs/campaigns.md`), and what was.

use super::subject::{Subject, Told};
use crate::Failure;
use crate::guest::Condition;

/// What may be seen of a fault, by the documents. A guest that ends otherwise than by an orderly stop: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shows {
    /// A delay.
    Nothing,
    /// Errors, or an orderly stop of the machine.
    Errors,
    /// The same, or wrong data: the answers of one task to two calls are mixed up, and both are in order.
    Wrong,
    /// Errors, an orderly stop, or nobody answers any more: of who serves nobody but its user.
    Silence,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A command was answered with an error.
    Error,
    /// The stack stopped in good order.
    GaveUp,
    /// Nobody answers, or the work does not end.
    Silence,
    /// A file does not hold what it must, a store is missing, a name is there that must not.
    Wrong,
    /// The machine ended otherwise.
    Ended,
}

impl Seen {
    /// What an error of an experiment shows, with the guest as it is now.
    pub fn by(error: &anyhow::Error, subject: &mut Subject) -> Self {
        if error.is::<Told>() {
            return Self::Error;
        }
        match error.downcast_ref() {
            Some(Failure::Guest { .. }) => match subject.guest.condition() {
                Condition::Running => Self::Silence,
                Condition::GaveUp => Self::GaveUp,
                Condition::Ended => Self::Ended,
            },
            _ => Self::Wrong,
        }
    }
}

impl Shows {
    /// Whether the documents allow it.
    pub fn allows(self, seen: Seen) -> bool {
        match seen {
            Seen::Error | Seen::GaveUp => self >= Self::Errors,
            Seen::Silence => self == Self::Silence,
            Seen::Wrong => self == Self::Wrong,
            Seen::Ended => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_ends_is_never_documented_and_wrong_data_of_mixed_up_answers_alone() {
        let all = [
            Seen::Error,
            Seen::GaveUp,
            Seen::Silence,
            Seen::Wrong,
            Seen::Ended,
        ];
        let allowed = |shows: Shows| all.map(|seen| shows.allows(seen));
        assert_eq!(allowed(Shows::Nothing), [false; 5]);
        assert_eq!(allowed(Shows::Errors), [true, true, false, false, false]);
        assert_eq!(allowed(Shows::Wrong), [true, true, false, true, false]);
        assert_eq!(allowed(Shows::Silence), [true, true, true, false, false]);
    }
}
