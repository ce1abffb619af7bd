//! What the tests that cross crates have in common: an oracle, random operations, comparisons,
//! and the stack to try them on.
#![recursion_limit = "256"]
#![forbid(unsafe_code)]

pub mod compare;
pub mod logging;
pub mod model;
pub mod operation;
pub mod outcome;
pub mod overwrites;
pub mod processor;
pub mod random;
pub mod session;
pub mod stack;
pub mod tree;
