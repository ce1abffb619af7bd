//! The host side of Galago: what builds the guest, boots it in QEMU and talks to it.
//!
//! The program `galago` is a thin shell over this library, and so are the booted tests: both drive a
//! [`guest::Guest`], which is a running QEMU that cannot outlive its owner and on which every
//! wait has a deadline.

#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod failure;
pub mod guest;
pub mod host;
mod plot;
pub mod tree;
pub mod ui;

pub use failure::Failure;
