//! Programs of the host that check the stack by running it in their own process, many times over.
//!
//! They are built optimised (the profile `checks`), get what they are to do as one word and one JSON object,
//! and print a line of JSON for each event:
//!
//! | event | fields |
//! | --- | --- |
//! | `progress` | `done`, `total` (zero if not known), `text` |
//! | `failure` | `id`, `what`, `replay`: the arguments of `cargo galago` that do it once more |
//! | `refused` | `what`: it makes no sense, and nothing was tried |
//! | `summary` | at the end, once: `text`, and figures |

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use super::interrupt;
use super::lines;
use super::project::Project;
use crate::Failure;
use crate::ui::{self, Step, Ui};

/// A program of a package.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The package.
    pub package: &'static str,
    /// Its binary.
    pub name: &'static str,
}

/// What the screen shows of a run.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The name of the step.
    pub step: &'a str,
    /// Failures and the summary are lines of JSON on standard output.
    pub json: bool,
    /// Lines that are no events are shown, on standard error, too.
    pub others: bool,
}

impl Program {
    /// Builds the program and has it do something; shows how far it is, and every failure.
    ///
    /// # Errors
    /// [`Failure::Check`] if there was a failure, or the program ended without a summary; [`Failure::Usage`] if what is
    /// to be done makes no sense; [`Failure::Host`] if it does not build.
    pub fn run(self, task: &str, options: &impl Serialize, shown: Shown<'_>) -> Result<()> {
        let ui = Ui::new(shown.json);
        let project = Project::find()?;
        let path = self.build(&project, &ui)?;
        let step = ui.step(shown.step);
        let mut report = Report::default();
        let mut command = Command::new(path);
        command
            .current_dir(project.root())
            .arg(task)
            .arg(serde_json::to_string(options)?);
        // Whoever interrupts it still learns how far it was.
        let last = report.last.clone();
        let clear = step.clearing();
        interrupt::on_interrupt(Some(Box::new(move || {
            clear();
            if let Ok(text) = last.try_lock() {
                eprint!("\n{text}");
            }
        })));
        let ended = lines::run(&mut command, |line| report.line(line, &step, shown));
        interrupt::on_interrupt(None);
        let ended = ended.with_context(|| format!("cannot run {}", self.name))?;
        if let Some(what) = report.refused {
            step.forget();
            return Err(Failure::Usage(what).into());
        }
        let Some(summary) = &report.summary else {
            step.failed("it ended early");
            let tail = report.other.join("\n");
            let last = match report.said().as_str() {
                "" => String::new(),
                text => format!("; the last it said: {text}"),
            };
            let what = format!("{task} ended early{last}\n{tail}");
            return Err(Failure::Check(what.trim_end().to_owned()).into());
        };
        let text = summary["text"].as_str().unwrap_or_default();
        if report.failures > 0 || !ended.success {
            step.failed(text);
            return Err(Failure::Check(format!("{} failed", report.failures.max(1))).into());
        }
        step.done(text);
        Ok(())
    }

    fn build(self, project: &Project, ui: &Ui) -> Result<PathBuf> {
        let step = ui.step(&format!("Building {}", self.name));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(project.root())
            .args(["build", "--profile", PROFILE, "--color", "never"])
            .args(["--package", self.package, "--bin", self.name])
            .arg("--target-dir")
            .arg(project.target());
        let (mut text, mut fresh) = (String::new(), true);
        let built = lines::run_in_order(&mut cargo, |line| {
            if line.trim_start().starts_with("Compiling ") {
                fresh = false;
            }
            step.progress(line.trim());
            text.push_str(line);
            text.push('\n');
        })
        .context("cannot run cargo")?;
        if !built {
            drop(step);
            eprint!("{text}");
            let what = format!("{} does not build; see above", self.name);
            return Err(Failure::Host(what).into());
        }
        if fresh {
            step.forget();
        } else {
            step.done("");
        }
        Ok(project.target().join(PROFILE).join(self.name))
    }
}

/// The profile in `Cargo.toml`, and the folder of what is built by it.
pub const PROFILE: &str = "checks";

/// Time between two lines of progress where there is no terminal.
const PLAIN_PROGRESS: Duration = Duration::from_secs(10);

/// Lines that are no events, kept for an early end.
const OTHER_MAX: usize = 40;

/// What a program has said.
#[derive(Debug, Default)]
struct Report {
    failures: u64,
    /// Why nothing was tried.
    refused: Option<String>,
    summary: Option<Value>,
    /// The last progress.
    last: Arc<Mutex<String>>,
    /// When it was told to those who have no terminal.
    told: Option<Instant>,
    other: Vec<String>,
}

impl Report {
    fn said(&self) -> MutexGuard<'_, String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells progress where no line can be written over.
    fn tell_plainly(&mut self, text: &str) {
        if std::io::stderr().is_terminal() {
            return;
        }
        if self
            .told
            .is_none_or(|told| told.elapsed() >= PLAIN_PROGRESS)
        {
            self.told = Some(Instant::now());
            eprintln!("{text}");
        }
    }

    fn line(&mut self, line: &str, step: &Step, shown: Shown<'_>) {
        let json = shown.json;
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        match text("event") {
            "progress" => {
                let number = |name: &str| event[name].as_u64().unwrap_or(0);
                if number("total") > 0 {
                    step.position(number("done"), number("total"));
                }
                step.progress(text("text"));
                text("text").clone_into(&mut self.said());
                if !json {
                    self.tell_plainly(text("text"));
                }
            }
            "failure" => {
                self.failures += 1;
                let (id, what, again) = (text("id"), text("what"), text("replay"));
                step.above(|| {
                    if json {
                        ui::print(line);
                    } else {
                        eprintln!("{id}: {what}\n  again: cargo galago {again}");
                    }
                });
            }
            "refused" => self.refused = Some(text("what").to_owned()),
            "summary" => {
                if json {
                    ui::print(line);
                }
                self.summary = Some(event);
            }
            _ if shown.others => step.above(|| eprintln!("{line}")),
            _ if self.other.len() < OTHER_MAX => self.other.push(line.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_an_early_end_keeps_what_was_said_last() {
        let step = Ui::new(true).step("test");
        let mut report = Report::default();
        let shown = Shown {
            step: "test",
            json: true,
            others: false,
        };
        for line in [
            r#"{"event":"progress","done":1,"total":3,"text":"one of three"}"#,
            r#"{"event":"failure","id":"7","what":"it does not hold","replay":"check --case 7"}"#,
            "thread main panicked",
        ] {
            report.line(line, &step, shown);
        }
        assert_eq!((report.failures, report.summary.is_some()), (1, false));
        assert_eq!(report.said().as_str(), "one of three");
        assert_eq!(report.other, ["thread main panicked"]);
        report.line(
            r#"{"event":"refused","what":"no such thing"}"#,
            &step,
            shown,
        );
        assert_eq!(report.refused.as_deref(), Some("no such thing"));
        report.line(r#"{"event":"summary","text":"done"}"#, &step, shown);
        assert!(report.summary.is_some());
        step.forget();
    }
}
