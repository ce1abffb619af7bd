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
mod deaths;
mod documented;
mod experiment;
mod faults;
mod files;
mod heard;
mod inject;
mod kill;
mod load;
mod moment;
mod postmark;
mod power_cut;
mod progress;
mod queue;
mod random;
mod record;
mod results;
mod rig;
mod subject;
mod summary;
mod targets;
mod workshop;

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
    let read = |stack: &str| Description::read(&Project::find()?, stack);
    match options {
        cli::Campaign::Kill(cli::Kill {
            experiments,
            targets: cli::Targets { targets },
            stack,
        }) => {
            let description = read(stack)?;
            let kind = Kill::new(targets, &description, experiments)?;
            let options = format!("--targets {}", targets.join(","));
            campaign("kill", stack, options, experiments, description).conduct(&kind)
        }
        cli::Campaign::PowerCut(cli::PowerCut { on, how }) => {
            let description = read(&on.stack)?;
            let kind = PowerCut::new(*how, &description, &on.experiments)?;
            let options = format!("--how {}", how.word());
            campaign(
                "power-cut",
                &on.stack,
                options,
                &on.experiments,
                description,
            )
            .conduct(&kind)
        }
        cli::Campaign::Fault(cli::Fault {
            on,
            targets: cli::Targets { targets },
            faults: cli::Faults { faults },
        }) => {
            let description = read(&on.stack)?;
            let found = Targets::find(targets, &description)?;
            let all = Faults::of_everything(faults, &found, &description)?;
            let (targets, faults) = (targets.join(","), faults.join(","));
            let options = format!("--targets {targets} --faults {faults}");
            let kind = Inject::new(all, found, &on.experiments);
            campaign("fault", &on.stack, options, &on.experiments, description).conduct(&kind)
        }
        cli::Campaign::Corrupt(cli::Corrupt {
            on,
            faults: cli::Faults { faults },
        }) => {
            let description = read(&on.stack)?;
            let found = Targets::find(&["all".to_owned()], &description)?;
            let all = Faults::by_type(faults, &description)?;
            let options = format!("--faults {}", faults.join(","));
            let kind = Inject::new(all, found, &on.experiments);
            campaign("corrupt", &on.stack, options, &on.experiments, description).conduct(&kind)
        }
        cli::Campaign::Summary(options) => summary::run(options),
    }
}

fn campaign<'a>(
    name: &'static str,
    stack: &'a str,
    options: String,
    experiments: &'a cli::Experiments,
    description: Description,
) -> Campaign<'a> {
    Campaign {
        name,
        stack,
        options,
        experiments,
        description,
    }
}
