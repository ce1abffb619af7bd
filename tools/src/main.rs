//! `galago`: builds the unikernel, boots it, and talks to it. See `cargo galago help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use galago::cli::Cli;
use galago::{Failure, commands, host, ui};

fn main() -> ExitCode {
    ui::respect_no_color();
    host::interrupt::clean_up_after_panics();
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::print_error(&error);
            ExitCode::from(Failure::status_of(&error))
        }
    }
}
