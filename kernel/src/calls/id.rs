//! Numbers of calls.

/// Number of a call: the caller's handle and the callee's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(u64);

impl CallId {
    /// The call in a slot's `generation`th use.
    #[must_use]
    pub fn new(slot: usize, generation: u32) -> Self {
        Self((u64::from(generation) << 16) | slot as u64)
    }

    /// From a number that a task gave.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// As a number for a task.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The slot: one that there is, whatever the number; one that was forged fails on the rest.
    #[must_use]
    pub fn slot(self) -> usize {
        (self.0 & abi::CALL_SLOT_MASK) as usize
    }
}
