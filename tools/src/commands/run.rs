//! `run`: console commands from the command line, for scripts.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::accidents::{Accidents, restarts_at_once};
use super::script::split;
use crate::Failure;
use crate::cli::Run;
use crate::guest::{BootEnd, Event, Guest, Machine, Request, is_refusal, succeeded};
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
    let mut session = Session {
        guest,
        machine: &machine,
        limit,
        printer,
        accidents: Accidents::default(),
    };
    for command in &commands {
        match session.run(command) {
            Ok(Next::Command) => {}
            Ok(Next::Nothing) => return Ok(()),
            Err(error) => {
                // What went well before is kept all the same.
                if is_refusal(&error) {
                    let _ = session.power_off(POWER_OFF_LIMIT);
                }
                return Err(error);
            }
        }
    }
    session.power_off(POWER_OFF_LIMIT)
}

/// What comes after a command.
enum Next {
    Command,
    /// The machine is off.
    Nothing,
}

/// A script at work.
struct Session<'a> {
    guest: Guest,
    machine: &'a Machine,
    /// How long each command may take.
    limit: Duration,
    printer: Printer,
    accidents: Accidents,
}

impl Session<'_> {
    fn run(&mut self, command: &str) -> Result<Next> {
        match command {
            "poweroff" => return self.power_off(self.limit).map(|()| Next::Nothing),
            _ if restarts_at_once(command) => {
                let printer = &mut self.printer;
                let end = self
                    .guest
                    .end_boot(command, self.limit, |event| printer.event(event));
                self.printer.clear();
                self.begin_again(command, end?)?;
            }
            _ => self.ordinary(command)?,
        }
        Ok(Next::Command)
    }

    /// A command after which this boot goes on, unless an accident comes that was ordered before.
    fn ordinary(&mut self, command: &str) -> Result<()> {
        let id = self.guest.start(command)?;
        let (printer, limit) = (&mut self.printer, self.limit);
        let each = |event: &Event| printer.event(event);
        let done = if self.accidents.may_happen(command) {
            self.guest.finish_or_reset(id, command, limit, each)
        } else {
            self.guest.finish(id, command, limit, each).map(Some)
        };
        self.printer.clear();
        let Some(done) = done? else {
            let told = format!("`{command}` was cut off: the machine starts again");
            self.printer.ui.note(&told);
            return self.begin_again(command, BootEnd::Reset);
        };
        let result = succeeded(command, done)?;
        self.accidents.note(command, &result);
        note_sync(self.machine, command, &result)
    }

    /// Waits for the next boot.
    fn begin_again(&mut self, command: &str, end: BootEnd) -> Result<()> {
        if end == BootEnd::Closed {
            return Err(self.guest.ended_while(&format!("`{command}`")));
        }
        self.accidents.machine_has_restarted();
        let printer = &mut self.printer;
        self.guest
            .wait_booted(self.limit, |event| printer.event(event))
    }

    /// Switches the machine off; once more if an accident comes first that was ordered before.
    fn power_off(&mut self, limit: Duration) -> Result<()> {
        const COMMAND: &str = "poweroff";
        loop {
            let printer = &mut self.printer;
            let end = self
                .guest
                .end_boot(COMMAND, limit, |event| printer.event(event))?;
            match end {
                BootEnd::Closed => return self.guest.expect_off(limit),
                BootEnd::Reset if self.accidents.may_happen(COMMAND) => {
                    self.begin_again(COMMAND, end)?;
                }
                BootEnd::Reset => return Err(self.guest.reset_while(&format!("`{COMMAND}`"))),
            }
        }
    }
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
