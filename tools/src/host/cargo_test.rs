//! `cargo test`, read as it runs: counts, a line for each test program, and the whole text of what fails.

use std::ops::AddAssign;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::lines;
use super::project::Project;
use crate::Failure;
use crate::ui::{Step, Ui};

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl Count {
    /// Counts one test.
    pub fn add(&mut self, passed: bool) {
        *if passed {
            &mut self.passed
        } else {
            &mut self.failed
        } += 1;
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// `cargo test` in the project, running on past failures.
#[must_use]
pub fn command(project: &Project) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(project.root())
        .args(["test", "--no-fail-fast", "--color", "never"]);
    cargo.arg("--target-dir").arg(project.target());
    cargo
}

/// Runs it. `each` says whether every test gets a line, or only every test program.
///
/// # Errors
/// [`Failure::Host`] with the compiler's messages if the tests do not build.
pub fn run(cargo: &mut Command, ui: &Ui, each: bool) -> Result<Count> {
    let mut report = Report {
        ui: *ui,
        each,
        step: None,
        parser: Parser::default(),
    };
    let success =
        lines::run_in_order(cargo, |line| report.line(line)).context("cannot run cargo")?;
    report.program_gone();
    let Report { step, parser, .. } = report;
    if let Some(step) = step {
        step.forget();
    }
    if !success && parser.count.failed == 0 {
        eprint!("{}", parser.text);
        return Err(Failure::Host("the tests do not build; see above".into()).into());
    }
    Ok(parser.count)
}

struct Report {
    ui: Ui,
    each: bool,
    step: Option<Step>,
    parser: Parser,
}

impl Report {
    /// Counts and shows the program under way as failed, if there is one: it ended without a result.
    fn program_gone(&mut self) {
        if let Some(text) = self.parser.crashed() {
            if let Some(step) = self.step.take() {
                step.failed("it crashed");
            }
            eprint!("{text}");
        }
    }

    fn line(&mut self, line: &str) {
        let step = self
            .step
            .get_or_insert_with(|| self.ui.step("Building the tests"));
        match self.parser.line(line) {
            Some(Seen::Building(what)) => step.progress(&what),
            Some(Seen::Program(name)) => {
                self.program_gone();
                self.parser.begin();
                // One line on the screen at a time.
                if let Some(step) = self.step.take() {
                    step.forget();
                }
                self.step = Some(self.ui.step(&name));
            }
            Some(Seen::Test { name, passed }) if self.each => {
                step.above(|| self.ui.result(&name, (!passed).then_some("see below")));
            }
            Some(Seen::Test { name, .. }) => step.progress(&name),
            Some(Seen::End { count, text }) => {
                let Some(step) = self.step.take() else { return };
                match count {
                    Count {
                        passed: 0,
                        failed: 0,
                    } => step.forget(),
                    Count { passed, failed: 0 } => step.done(&format!("{passed} passed")),
                    Count { failed, .. } => {
                        step.failed(&format!("{failed} failed"));
                        eprint!("{text}");
                    }
                }
            }
            None => {}
        }
    }
}

/// What a line of `cargo test` tells.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Building(String),
    Program(String),
    Test { name: String, passed: bool },
    End { count: Count, text: String },
}

/// Reads the output of `cargo test`.
#[derive(Debug, Default)]
struct Parser {
    /// Of all programs that have ended.
    count: Count,
    /// A test program has begun and not ended.
    under_way: bool,
    /// What it has printed, or cargo.
    text: String,
}

impl Parser {
    /// A test program begins.
    fn begin(&mut self) {
        self.under_way = true;
        self.text.clear();
    }

    /// What the program under way printed before it ended without a result, which counts as a failure.
    fn crashed(&mut self) -> Option<String> {
        let crashed = std::mem::take(&mut self.under_way);
        self.count.failed += u64::from(crashed);
        crashed.then(|| std::mem::take(&mut self.text))
    }

    fn line(&mut self, line: &str) -> Option<Seen> {
        let trimmed = line.trim();
        if let Some(what) = trimmed.strip_prefix("Compiling ") {
            return Some(Seen::Building(what.to_owned()));
        }
        if let Some(program) = program_name(trimmed) {
            return Some(Seen::Program(program));
        }
        self.text.push_str(line);
        self.text.push('\n');
        if let Some(count) = trimmed.strip_prefix("test result: ").and_then(result) {
            self.count += count;
            self.under_way = false;
            return Some(Seen::End {
                count,
                text: std::mem::take(&mut self.text),
            });
        }
        let (name, outcome) = trimmed.strip_prefix("test ")?.rsplit_once(" ... ")?;
        match outcome {
            "ok" => Some(Seen::Test {
                name: name.to_owned(),
                passed: true,
            }),
            "FAILED" => Some(Seen::Test {
                name: name.to_owned(),
                passed: false,
            }),
            _ => None,
        }
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/storage-d0fd)` or `Doc-tests storage`.
fn program_name(line: &str) -> Option<String> {
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} (examples in documents)"));
    }
    let (what, path) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once(" (")?;
    let file = path.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    let source = what.strip_prefix("unittests ").unwrap_or(what);
    Some(if source == "src/lib.rs" {
        name.to_owned()
    } else {
        format!("{name} ({source})")
    })
}

/// `ok. 32 passed; 0 failed; 0 ignored; …`
fn result(text: &str) -> Option<Count> {
    let mut numbers = text.split(['.', ';']).skip(1).map(|part| {
        let (number, _) = part.trim().split_once(' ')?;
        number.parse::<u64>().ok()
    });
    Some(Count {
        passed: numbers.next()??,
        failed: numbers.next()??,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling storage v0.1.0 (/src/storage)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 1.63s
     Running unittests src/lib.rs (target/debug/deps/storage-d0fdb7eddc7b47de)

running 2 tests
test twinfs::tests::both ... ok
test cache::tests::replays ... FAILED

failures:
    cache::tests::replays

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.06s

     Running tests/crash.rs (target/debug/deps/crash-73c4be1d7419ed8d)

running 12 tests
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests storage
";

    #[test]
    fn tests_programs_and_totals_are_read() {
        let mut parser = Parser::default();
        let seen: Vec<Seen> = OUTPUT
            .lines()
            .filter_map(|line| parser.line(line))
            .collect();
        let test = |name: &str, passed| Seen::Test {
            name: name.into(),
            passed,
        };
        assert_eq!(
            seen[0],
            Seen::Building("storage v0.1.0 (/src/storage)".into())
        );
        assert_eq!(seen[1], Seen::Program("storage".into()));
        assert_eq!(seen[2], test("twinfs::tests::both", true));
        assert_eq!(seen[3], test("cache::tests::replays", false));
        let Seen::End { count, text } = &seen[4] else {
            panic!("{:?}", seen[4])
        };
        assert_eq!(
            *count,
            Count {
                passed: 1,
                failed: 1
            }
        );
        assert!(text.contains("failures:"));
        assert_eq!(seen[5], Seen::Program("crash (tests/crash.rs)".into()));
        assert_eq!(
            seen[7],
            Seen::Program("storage (examples in documents)".into())
        );
        assert_eq!(
            parser.count,
            Count {
                passed: 13,
                failed: 1
            }
        );
    }
    #[test]
    fn a_program_that_crashes_between_two_others_is_a_failure_that_shows_its_text() {
        const OUTPUT: &str = "\
     Running unittests src/lib.rs (target/debug/deps/one-1)
running 2 tests
test a ... ok
thread caused non-unwinding panic. aborting.
     Running unittests src/lib.rs (target/debug/deps/two-2)
test result: ok. 1 passed; 0 failed; 0 ignored
";
        let mut parser = Parser::default();
        let mut crashes = Vec::new();
        for line in OUTPUT.lines() {
            if let Some(Seen::Program(_)) = parser.line(line) {
                crashes.extend(parser.crashed());
                parser.begin();
            }
        }
        assert_eq!(parser.crashed(), None, "the last one ended");
        assert_eq!(crashes.len(), 1);
        assert!(crashes[0].contains("aborting"), "{crashes:?}");
        let count = Count {
            passed: 1,
            failed: 1,
        };
        assert_eq!(parser.count, count);
    }
}
