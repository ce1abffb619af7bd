//! The restart manager, as far as it needs no kernel: what the console asks of it ([`control`]), the
//! rules by which it replaces what dies ([`policy`]), what it remembers and tells of that
//! ([`history`], [`events`]), and faults on request ([`injection`]).
//!
//! The task itself is `src/main.rs`. It starts the stack from its description, hears of deaths,
//! and does what the rules say. It never waits for a task that it manages.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod control;
pub mod events;
pub mod history;
pub mod injection;
pub mod policy;
pub mod suspect;

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
