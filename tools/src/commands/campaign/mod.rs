//! `campaign`: guests are put through experiments by the thousand, each of which can be repeated alone.
//!
//! ```text
//!   seed, number ──> choices ──┐
//!                              v
//!   rig (a thread): guest ── work below /eNUMBER ── injection ── verification ──> record
//!                                                                                   │
//!   rig …                                                                           v
//!                                                             a line of JSON, shown and appended
//! ```

mod conduct;
mod experiment;
mod faults;
mod files;
mod heard;
mod inject;
mod kill;
mod load;
mod moment;
mod power_cut;
mod progress;
mod random;
mod record;
mod results;
mod rig;
mod subject;
mod summary;
mod targets;

use anyhow::Result;

use self::conduct::Campaign;
use self::faults::Faults;
use self::inject::Inject;
use self::kill::Kill;
use self::power_cut::PowerCut;
use self::targets::Targets;
use crate::cli::campaign as cli;
use crate::guest::Description;
use crate::host::project::Project;

/// Makes the experiments of a campaign, or sums up what was made.
pub fn run(options: &cli::Campaign) -> Result<()> {
    match options {
        cli::Campaign::Kill(options) => {
            let description = Description::read(&Project::find()?, &options.stack)?;
            let kind = Kill::new(&options.targets, &description, &options.experiments)?;
            Campaign {
                name: "kill",
                stack: &options.stack,
                options: format!("--targets {}", options.targets.join(",")),
                experiments: &options.experiments,
                description,
            }
            .conduct(&kind)
        }
        cli::Campaign::PowerCut(options) => {
            let description = Description::read(&Project::find()?, &options.stack)?;
            let kind = PowerCut::new(options.how, &description, &options.experiments)?;
            Campaign {
                name: "power-cut",
                stack: &options.stack,
                options: format!("--how {}", options.how.word()),
                experiments: &options.experiments,
                description,
            }
            .conduct(&kind)
        }
        cli::Campaign::Fault(options) => {
            let description = Description::read(&Project::find()?, &options.stack)?;
            let targets = Targets::find(&options.targets, &description)?;
            let faults = Faults::of_everything(&options.faults, &targets, &description)?;
            Campaign {
                name: "fault",
                stack: &options.stack,
                options: format!(
                    "--targets {} --faults {}",
                    options.targets.join(","),
                    options.faults.join(",")
                ),
                experiments: &options.experiments,
                description,
            }
            .conduct(&Inject::new(faults, targets, &options.experiments))
        }
        cli::Campaign::Corrupt(options) => {
            let description = Description::read(&Project::find()?, &options.stack)?;
            let targets = Targets::find(&["all".to_owned()], &description)?;
            let faults = Faults::by_type(&options.faults, &description)?;
            Campaign {
                name: "corrupt",
                stack: &options.stack,
                options: format!("--faults {}", options.faults.join(",")),
                experiments: &options.experiments,
                description,
            }
            .conduct(&Inject::new(faults, targets, &options.experiments))
        }
        cli::Campaign::Summary(options) => summary::run(options),
    }
}
