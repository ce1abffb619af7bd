//! Tests of the whole stack, booted in QEMU and driven over the serial console.
//!
//! `cargo galago test --only booted` runs them with everything they need; `cargo test -p booted-tests`
//! does the same where QEMU is there. Each test has images of its own in a temporary folder under
//! `target`.

#![forbid(unsafe_code)]

mod bed;
mod bugs;
mod campaigns;
mod console;
mod costs;
mod disks;
mod every_fault;
mod faulty;
mod files;
mod fsync;
mod host_program;
mod import;
mod inject;
mod kills;
mod lost;
mod manager;
mod power_cut;
mod readme;
mod reset;
mod script;
mod write_order;
