//! Tests that run on the host.

mod control;
mod events;
mod restarts;
