//! `run`: console commands from the command line, for scripts.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::script::split;
use crate::Failure;
use crate::cli::Run;
use crate::guest::{Event, Guest, Machine, Request, succeeded};
use crate::ui::{self, Step, Ui};

/// How long the guest may take to switch itself off when all is done.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// Boots, runs the commands in order up to the first that fails, and ends.
pub fn run(options: &Run) -> Result<()> {
    let commands: Vec<String> = options
        .command
        .iter()
        .flat_map(|text| split(text))
        .collect();
    if commands.is_empty() {
        return Err(Failure::Usage("no command in -c; write for instance -c 'ls /'".into()).into());
    }
    let ends = commands.iter().position(|command| command == "poweroff");
    if ends.is_some_and(|index| index + 1 < commands.len()) {
        let what = "`poweroff` ends the machine: expected no command after it".into();
        return Err(Failure::Usage(what).into());
    }
    let ui = Ui::new(options.json);
    let machine = Request::check(&options.machine)?.prepare(&ui)?;
    let limit = Duration::from_secs(options.timeout);
    let mut guest = Guest::boot(&machine, None)?;
    let mut printer = Printer {
        json: options.json,
        step: None,
        ui,
    };
    let ready = guest.wait_ready(limit)?;
    printer.event(&ready);
    for command in &commands {
        let outcome = match command.as_str() {
            "poweroff" => return guest.power_off(limit, |event| printer.event(event)),
            "reboot" | "reset" => guest.restart(command, limit, |event| printer.event(event)),
            _ => one(&mut guest, command, limit, &mut printer)
                .and_then(|result| note_sync(&machine, command, &result)),
        };
        match outcome {
            Ok(()) => {}
            // What went well before is kept all the same.
            Err(error) if is_refusal(&error) => {
                let _ = guest.power_off(POWER_OFF_LIMIT, |event| printer.event(event));
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
    guest.power_off(POWER_OFF_LIMIT, |event| printer.event(event))
}

/// Whether a command failed, and not the guest.
fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::Check(_)))
}

/// Notes in the logs of the disks' writes, if there are any, that a sync has returned.
fn note_sync(machine: &Machine, command: &str, result: &Value) -> Result<()> {
    let logs = machine.disks.iter().filter_map(|disk| disk.log.as_ref());
    let checkpoint = result["checkpoint"].as_u64().filter(|_| command == "sync");
    for (log, checkpoint) in logs.zip(std::iter::repeat(checkpoint)) {
        checkpoint.map_or(Ok(()), |checkpoint| log.mark(checkpoint))?;
    }
    Ok(())
}

fn one(guest: &mut Guest, command: &str, limit: Duration, printer: &mut Printer) -> Result<Value> {
    let id = guest.start(command)?;
    let ended = guest.finish(id, command, limit, |event| printer.event(event));
    printer.clear();
    succeeded(command, ended?)
}

/// Shows what the guest says.
struct Printer {
    json: bool,
    step: Option<Step>,
    ui: Ui,
}

impl Printer {
    fn event(&mut self, event: &Event) {
        if self.json {
            ui::print(&event.to_string());
            return;
        }
        match event.kind() {
            "output" => {
                self.clear();
                ui::print(event.text("text").unwrap_or_default());
            }
            "progress" => {
                let step = self.step.get_or_insert_with(|| self.ui.step(""));
                super::progress::show(step, event);
            }
            _ => {}
        }
    }

    fn clear(&mut self) {
        if let Some(step) = self.step.take() {
            step.forget();
        }
    }
}
