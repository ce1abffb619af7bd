//! Tests that run on the host.

mod control;
mod restarts;
