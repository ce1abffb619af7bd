//! `mutants`: the test of the test. Breaks recovery in ways that the simulation must find, one at a time, in
//! a copy of the tree, and says how many runs it took. The copy as it is must pass the same runs (the control): what
//! fails there is no mutant found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::Mutants;
use crate::commands::simulate::SIMULATION;
use crate::host::lines::{self, Ended};
use crate::host::program::PROFILE;
use crate::host::project::Project;
use crate::ui::{self, Step, Table, Ui};

/// The list, in the tree.
const LIST: &str = "tests/simulation/mutants.toml";

/// A replacement of text that breaks a mechanism of recovery.
#[derive(Debug, Deserialize)]
struct Mutant {
    name: String,
    /// The rule that is gone.
    stands_for: String,
    /// The file, from the root of the tree.
    file: PathBuf,
    find: String,
    replace: String,
}

#[derive(Debug, Deserialize)]
struct List {
    mutant: Vec<Mutant>,
}

/// How a mutant was found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Runs until then, each with the next seed.
    runs: u64,
    /// The first line of the violation.
    what: String,
}

/// Runs with which the control begins. It goes on to as many as a mutant needed.
const CONTROL_RUNS: u64 = 100;

/// Tries the mutants and prints a table.
pub fn run(options: &Mutants) -> Result<()> {
    let ui = Ui::new(options.json);
    let project = Project::find()?;
    let mutants = list(project.root())?;
    let mutants = chosen(&mutants, &options.only)?;
    let copy = Copy::new(&project)?;
    let step = ui.step("control");
    copy.build("the copy", &step)?;
    fs::copy(copy.program(), copy.control())?;
    let mut controlled = 0;
    copy.control_up_to(
        CONTROL_RUNS.min(options.runs),
        &mut controlled,
        options,
        &step,
    )?;
    step.done("the copy as it is passes");
    let mut table = Table::new(["mutant", "runs until found", "as"]);
    let mut missed = 0;
    for mutant in mutants {
        let step = ui.step(&mutant.name);
        let found = copy.try_mutant(mutant, options, &step)?;
        if let Some(found) = &found {
            copy.control_up_to(found.runs, &mut controlled, options, &step)?;
        }
        let (runs, what) = match &found {
            Some(found) => (found.runs.to_string(), found.what.clone()),
            None => (
                format!("not in {}", options.runs),
                mutant.stands_for.clone(),
            ),
        };
        missed += u64::from(found.is_none());
        if options.json {
            let runs = found.as_ref().map(|found| found.runs);
            let name = &mutant.name;
            ui::print(&json!({ "mutant": name, "runs": runs, "what": what }).to_string());
        }
        if found.is_some() {
            step.done(&format!("found in {runs} runs"));
        } else {
            step.failed("not found");
        }
        table.row([mutant.name.clone(), runs, what]);
    }
    if !options.json {
        ui::print(&table.to_string());
    }
    match missed {
        0 => Ok(()),
        missed => Err(Failure::Check(format!("{missed} mutants were not found")).into()),
    }
}

fn list(root: &Path) -> Result<Vec<Mutant>> {
    let text =
        fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{LIST} is wrong"))?;
    Ok(list.mutant)
}

/// Those whose names contain one of `only`; all, if that is empty.
///
/// # Errors
/// [`Failure::Usage`] for one of `only` that is in no name.
fn chosen<'a>(mutants: &'a [Mutant], only: &[String]) -> Result<Vec<&'a Mutant>> {
    let is_in = |text: &String| mutants.iter().any(|mutant| mutant.name.contains(text));
    if let Some(text) = only.iter().find(|text| text.is_empty() || !is_in(text)) {
        let what = format!("no mutant has `{text}` in its name; all are in {LIST}");
        return Err(Failure::Usage(what).into());
    }
    let wanted =
        |mutant: &&Mutant| only.is_empty() || only.iter().any(|text| mutant.name.contains(text));
    Ok(mutants.iter().filter(wanted).collect())
}

impl Mutant {
    /// The file with the mutation in it.
    fn apply(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => {
                let (name, file) = (&self.name, self.file.display());
                let what = format!("{name}: its text is {count} times in {file}, not once");
                Err(Failure::Check(what).into())
            }
        }
    }
}

/// A copy of the tree, and what is built of it. It is kept, so that the next time less is to be built.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new(project: &Project) -> Result<Self> {
        let folder = project.target().join("mutants");
        let copy = Self {
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        let target = project.target();
        copy_folder(project.root(), &copy.tree, &|path| path != target)
            .with_context(|| format!("cannot copy the tree to {}", copy.tree.display()))?;
        Ok(copy)
    }

    /// Applies a mutant, builds, runs, and puts the file back.
    fn try_mutant(&self, mutant: &Mutant, options: &Mutants, step: &Step) -> Result<Option<Found>> {
        let path = self.tree.join(&mutant.file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", mutant.file.display()))?;
        fs::write(&path, mutant.apply(&text)?)?;
        let found = self
            .build(&mutant.name, step)
            .and_then(|()| search(&self.program(), options.seed, options.runs, step));
        fs::write(&path, text)?;
        found
    }

    /// What is built.
    fn program(&self) -> PathBuf {
        self.target.join(PROFILE).join(SIMULATION.name)
    }

    /// What was built before anything was broken.
    fn control(&self) -> PathBuf {
        self.target.join("control")
    }

    /// Sees that the copy as it is passes so many runs; the first `controlled` of them it has passed.
    fn control_up_to(
        &self,
        runs: u64,
        controlled: &mut u64,
        options: &Mutants,
        step: &Step,
    ) -> Result<()> {
        // Threads that were at work when one found something may be ahead by some runs.
        let runs = runs.next_multiple_of(CONTROL_RUNS);
        if runs <= *controlled {
            return Ok(());
        }
        let first = options.seed.wrapping_add(*controlled);
        if let Some(found) = search(&self.control(), first, runs - *controlled, step)? {
            let what = format!("the simulation fails with nothing broken: {}", found.what);
            return Err(Failure::Check(what).into());
        }
        *controlled = runs;
        Ok(())
    }

    fn build(&self, what: &str, step: &Step) -> Result<()> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&self.tree)
            .args(["build", "--profile", PROFILE, "--color", "never"])
            .args(["--package", SIMULATION.package, "--bin", SIMULATION.name])
            .arg("--target-dir")
            .arg(&self.target);
        let built = lines::run(&mut cargo, |line| step.progress(line.trim()))?;
        if built.success {
            return Ok(());
        }
        let tail: Vec<_> = built.tail.into_iter().collect();
        let what = format!("{what} does not build:\n{}", tail.join("\n"));
        Err(Failure::Check(what).into())
    }
}

/// Runs the simulation until it finds something.
fn search(program: &Path, seed: u64, runs: u64, step: &Step) -> Result<Option<Found>> {
    let request = json!({
        "case": { "seed": seed },
        "runs": runs,
        "failures": 1,
        "whole": true,
    });
    let mut command = Command::new(program);
    command.arg("run").arg(request.to_string());
    let mut said = Said::default();
    let ended = lines::run(&mut command, |line| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if event["event"] == "progress" {
            step.progress(event["text"].as_str().unwrap_or_default());
        }
        said.note(&event);
    })?;
    said.found(&ended)
}

/// What the simulation has said.
#[derive(Default)]
struct Said {
    /// Runs of which it told in passing.
    done: u64,
    /// The first violation.
    what: Option<String>,
    /// Runs in the end.
    runs: Option<u64>,
}

impl Said {
    fn note(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("progress") => self.done = event["done"].as_u64().unwrap_or(self.done),
            Some("failure") if self.what.is_none() => {
                self.what = Some(first_line(event["what"].as_str().unwrap_or_default()));
            }
            Some("summary") => self.runs = event["runs"].as_u64(),
            _ => {}
        }
    }

    /// What came of it. A program that has not run the simulation to its end has found nothing, unless it said so or
    /// what is simulated has ended it.
    fn found(self, ended: &Ended) -> Result<Option<Found>> {
        // Illegal instruction, breakpoint, abort, bus error, wrong arithmetic, wrong address.
        const CRASHES: [i32; 6] = [4, 5, 6, 7, 8, 11];
        let runs = self.runs.unwrap_or(self.done);
        let crash = ended.signal.filter(|signal| CRASHES.contains(signal));
        match (self.what, self.runs, crash) {
            (Some(what), ..) => Ok(Some(Found { runs, what })),
            (None, Some(1..), _) if ended.success => Ok(None),
            (None, None, Some(signal)) => {
                let what = format!("the program ended by signal {signal}");
                Ok(Some(Found { runs, what }))
            }
            _ => {
                let tail: Vec<_> = ended.tail.iter().rev().take(3).rev().cloned().collect();
                let what = format!("the simulation has not run:\n{}", tail.join("\n"));
                Err(Failure::Check(what).into())
            }
        }
    }
}

/// What fits a cell of a table.
fn first_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(CHARACTERS_MAX).collect()
}

/// Makes `to` like `from`, as far as `wanted` says; hidden files do not count. Files that are the same keep
/// their times, so that nothing is built for them.
fn copy_folder(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.') && name != ".cargo";
        if hidden || !wanted(&path) {
            continue;
        }
        let copy = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy, wanted)?;
        } else {
            let bytes = fs::read(&path)?;
            if fs::read(&copy).ok().as_ref() != Some(&bytes) {
                fs::write(&copy, bytes)?;
            }
        }
        names.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_applies_once_and_changes_something() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mutants = list(&root).expect("the list");
        assert!(mutants.len() >= 14, "{} mutants", mutants.len());
        let mut names = BTreeSet::new();
        for mutant in &mutants {
            assert!(names.insert(&mutant.name), "{} twice", mutant.name);
            assert!(!mutant.stands_for.is_empty(), "{}", mutant.name);
            let text = fs::read_to_string(root.join(&mutant.file)).expect("the file");
            let mutated = mutant.apply(&text).expect("it applies once");
            assert_ne!(mutated, text, "{}", mutant.name);
        }
    }

    #[test]
    fn each_name_that_is_asked_for_chooses_a_mutant() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mutants = list(&root).expect("the list");
        let chosen = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&text| text.into()).collect();
            chosen(&mutants, &only).map(|chosen| chosen.len())
        };
        assert_eq!(chosen(&[]).expect("all"), mutants.len());
        let both = ["created-twice", "flush-does-not-wait"];
        assert_eq!(chosen(&both).expect("two"), 2);
        for wrong in [&["created-twice", "nonsense"][..], &[""]] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }

    fn said(lines: &[&str], success: bool, signal: Option<i32>) -> Result<Option<Found>> {
        let mut said = Said::default();
        for line in lines {
            said.note(&serde_json::from_str(line).expect("JSON"));
        }
        let tail = lines.iter().map(|&line| line.into()).collect();
        said.found(&Ended {
            success,
            signal,
            tail,
        })
    }

    #[test]
    fn what_did_not_run_has_found_nothing() {
        let progress = r#"{"event":"progress","done":7,"text":""}"#;
        let failure = r#"{"event":"failure","what":"lost\nand more"}"#;
        let summary = r#"{"event":"summary","runs":9}"#;
        let found = |runs, what: &str| {
            let what = what.to_owned();
            Some(Found { runs, what })
        };
        assert_eq!(said(&[summary], true, None).expect("it ran"), None);
        let failed = said(&[failure, summary], false, None);
        assert_eq!(failed.expect("it ran"), found(9, "lost"));
        let ended = said(&[progress, failure], false, None);
        assert_eq!(ended.expect("it ran"), found(7, "lost"));
        let aborted = said(&[progress], false, Some(6)).expect("it ran");
        assert_eq!(aborted, found(7, "the program ended by signal 6"));
        let nothing = r#"{"event":"summary","runs":0}"#;
        for (lines, success, signal) in [
            (&[][..], false, None),
            (&[], true, None),
            (&[progress], false, Some(9)),
            (&[nothing], true, None),
            (&[summary], false, None),
        ] {
            let error = said(lines, success, signal).expect_err("it has not run");
            assert!(error.to_string().contains("has not run"), "{error}");
        }
    }

    #[test]
    fn a_copy_follows_the_tree_and_leaves_out_what_is_not_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a")).expect("folders");
        fs::create_dir_all(from.join("target")).expect("folders");
        fs::write(from.join("a/b"), "1").expect("a file");
        fs::write(from.join(".hidden"), "1").expect("a file");
        let copy = || {
            copy_folder(&from, &to, &|path| !path.ends_with("target")).expect("it is copied");
        };
        copy();
        assert_eq!(fs::read(to.join("a/b")).expect("there"), b"1");
        assert!(!to.join("target").exists() && !to.join(".hidden").exists());
        fs::remove_file(from.join("a/b")).expect("removed");
        copy();
        assert!(!to.join("a/b").exists());
    }
}
