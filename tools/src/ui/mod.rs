//! What the user sees while work goes on: steps with a spinner on a terminal, plain lines in a pipe.
//!
//! Progress goes to standard error, results to standard output, so that a result can be piped on.

mod lines;
mod plain;
mod table;

use std::io::Write as _;
use std::time::{Duration, Instant};

use console::{Emoji, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use lines::Lines;
pub use plain::Plain;
pub use table::Table;

static TICK: Emoji<'_, '_> = Emoji("✓", "ok");
static CROSS: Emoji<'_, '_> = Emoji("✗", "FAILED");

/// Steps shorter than this are not timed on the screen.
const WORTH_TIMING: Duration = Duration::from_millis(500);

/// Takes colours away where `NO_COLOR` asks for it; `console` leaves them out in a pipe by itself.
pub fn respect_no_color() {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        console::set_colors_enabled(false);
        console::set_colors_enabled_stderr(false);
    }
}

/// A line of result, or several. Whoever reads it may have gone (`| head`); the work still goes on.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush());
}

/// Seconds, as people say it.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 90.0 => format!("{short:.0} s"),
        middle if middle < 5400.0 => format!("{:.0} min", middle / 60.0),
        long => format!("{:.1} h", long / 3600.0),
    }
}

/// Where progress goes.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    quiet: bool,
}

impl Ui {
    /// Progress on standard error; `quiet` for none at all.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Begins a step. It ends with [`Step::done`]; dropped before, it failed.
    #[must_use]
    pub fn step(&self, name: &str) -> Step {
        let bar = ProgressBar::with_draw_target(
            None,
            if self.quiet {
                ProgressDrawTarget::hidden()
            } else {
                ProgressDrawTarget::stderr()
            },
        );
        bar.set_style(spinner());
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Step {
            name: name.to_owned(),
            bar,
            quiet: self.quiet,
            begun: Instant::now(),
            ended: false,
        }
    }

    /// The line of something that is over already: there is nothing to spin, perhaps beside a step that
    /// does.
    pub fn result(&self, name: &str, failed: Option<&str>) {
        if !self.quiet {
            line(name, failed.is_none(), failed.unwrap_or_default(), "");
        }
    }

    /// A line of its own, for what is worth knowing but no step.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("  {}", style(text).for_stderr().dim());
        }
    }
}

/// A part of the work, on the screen while it goes on and as one line when it has ended.
#[derive(Debug)]
pub struct Step {
    name: String,
    bar: ProgressBar,
    quiet: bool,
    begun: Instant,
    ended: bool,
}

impl Step {
    /// What is being done now, after the name.
    pub fn progress(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// What is worth knowing beside what is being done.
    pub fn note(&self, text: &str) {
        let message = self.bar.message();
        let message = message.split(" · ").next().unwrap_or_default().to_owned();
        self.bar.set_message(format!("{message} · {text}"));
    }

    /// How far it is; turns the spinner into a bar.
    pub fn position(&self, done: u64, of: u64) {
        if self.bar.length() != Some(of) {
            self.bar.set_style(bar());
            self.bar.set_length(of);
        }
        self.bar.set_position(done);
    }

    /// Ends the step well, with its result in a few words.
    pub fn done(mut self, result: &str) {
        self.end(true, result);
    }

    /// Ends the step badly, with the reason.
    pub fn failed(mut self, reason: &str) {
        self.end(false, reason);
    }

    /// Ends the step without a line: what it did was no news.
    pub fn forget(mut self) {
        self.ended = true;
        self.bar.finish_and_clear();
    }

    /// What takes the step from the screen, from whatever thread.
    pub fn clearing(&self) -> impl Fn() + Send + use<> {
        let bar = self.bar.clone();
        move || bar.finish_and_clear()
    }

    /// Lets `print` write lines that stay, above this step.
    pub fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn end(&mut self, good: bool, result: &str) {
        self.ended = true;
        self.bar.finish_and_clear();
        if !self.quiet {
            line(&self.name, good, result, &self.time());
        }
    }

    fn time(&self) -> String {
        let elapsed = self.begun.elapsed();
        if elapsed < WORTH_TIMING {
            return String::new();
        }
        format!(
            " {}",
            style(format!("({:.1} s)", elapsed.as_secs_f64()))
                .for_stderr()
                .dim()
        )
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end(false, "");
        }
    }
}

/// Says how something ended.
fn line(name: &str, good: bool, result: &str, time: &str) {
    let mark = style(if good { TICK } else { CROSS }).for_stderr();
    let mark = if good {
        mark.green()
    } else {
        mark.red().bold()
    };
    let colon = if result.is_empty() { "" } else { ": " };
    eprintln!("{mark} {name}{colon}{result}{time}");
}

fn spinner() -> ProgressStyle {
    template("{spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg:.dim}")
}

fn bar() -> ProgressStyle {
    template("{spinner:.cyan} {prefix} {elapsed:.dim} {bar:24.cyan} {percent:>3}% {wide_msg:.dim}")
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The one line of an error, in red where there are colours, with its way out.
pub fn print_error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", style("error:").for_stderr().red().bold());
    if let Some(crate::Failure::Guest { tail, .. }) = error.downcast_ref() {
        print_tail(tail);
    }
}

/// The last lines of a guest's console, marked as such.
fn print_tail(tail: &[String]) {
    if tail.is_empty() {
        eprintln!("  (its console is empty)");
        return;
    }
    eprintln!("  the end of its console:");
    for line in tail {
        eprintln!("  {} {line}", style("|").for_stderr().dim());
    }
}
