//! The commands, in groups.

mod appends;
mod bench;
mod contents;
mod disks;
mod files;
mod help;
mod inject;
mod kill;
mod names;
mod power;
mod system;
mod trees;
mod volume;

use crate::shell::Command;

/// All groups, in the order of `help`.
pub const GROUPS: &[(&str, &[Command])] = &[
    ("Files", files::COMMANDS),
    ("Names and attributes", names::COMMANDS),
    ("Trees", trees::COMMANDS),
    ("Contents", contents::COMMANDS),
    ("Disks", disks::COMMANDS),
    ("Volume", volume::COMMANDS),
    ("Tasks", system::COMMANDS),
    ("Kills", kill::COMMANDS),
    ("Faults", inject::COMMANDS),
    ("Benchmarks", bench::COMMANDS),
    ("Machine", power::COMMANDS),
    ("Console", help::COMMANDS),
];

/// Makes a [`Command`] of an `async fn`.
macro_rules! command {
    ($name:literal, $usage:literal, $summary:literal, [$($example:literal),+], $takes:expr, $run:path) => {
        $crate::shell::Command {
            name: $name,
            usage: $usage,
            summary: $summary,
            examples: &[$($example),+],
            keys: &[],
            takes: $takes,
            run: |context| alloc::boxed::Box::pin($run(context)),
        }
    };
}
use command;
