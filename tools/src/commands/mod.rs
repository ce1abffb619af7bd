//! The commands, one a file.

mod accidents;
mod boot;
mod campaign;
mod checkers;
mod costs;
mod demo;
mod measure;
mod mutants;
mod progress;
mod run;
mod script;
mod setup;
mod simulate;
mod test;

use anyhow::Result;

use crate::cli::{Cli, Command};

/// Does what the command line says.
///
/// # Errors
/// With the one line that the user gets; [`crate::Failure`] decides on the exit status.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Setup => setup::run(),
        Command::Boot(options) => boot::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Costs(options) => costs::run(&options),
        Command::Measure(options) => measure::run(&options),
        Command::Mutants(options) => mutants::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::CheckOrder(options) => checkers::check_order(&options),
        Command::FuzzImages(options) => checkers::fuzz_images(&options),
        Command::CrashStates(options) => checkers::crash_states(&options),
        Command::Test(options) => test::run(&options),
        Command::Campaign(options) => campaign::run(&options),
    }
}
