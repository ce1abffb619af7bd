//! `mutants`: the test of the test. Breaks recovery in ways that the simulation must find, one at a time, in
//! a copy of the tree, and says how many runs it took.

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
use crate::host::lines;
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
struct Found {
    /// Runs until then, each with the next seed.
    runs: u64,
    /// The first line of the violation.
    what: String,
}

/// Tries the mutants and prints a table.
pub fn run(options: &Mutants) -> Result<()> {
    let ui = Ui::new(options.json);
    let project = Project::find()?;
    let mutants = list(project.root())?;
    let wanted = |mutant: &&Mutant| {
        let only = options.only.as_ref();
        only.is_none_or(|only| mutant.name.contains(only))
    };
    let mutants: Vec<&Mutant> = mutants.iter().filter(wanted).collect();
    if mutants.is_empty() {
        return Err(Failure::Usage(format!("no mutant of this name; all are in {LIST}")).into());
    }
    let copy = Copy::new(&project)?;
    let mut table = Table::new(["mutant", "runs until found", "as"]);
    let mut missed = 0;
    for mutant in mutants {
        let step = ui.step(&mutant.name);
        let found = copy.try_mutant(mutant, options, &step)?;
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
            .build(mutant, step)
            .and_then(|()| self.search(options, step));
        fs::write(&path, text)?;
        found
    }

    fn build(&self, mutant: &Mutant, step: &Step) -> Result<()> {
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
        let what = format!("{} does not build:\n{}", mutant.name, tail.join("\n"));
        Err(Failure::Check(what).into())
    }

    /// Runs the simulation until it finds something.
    fn search(&self, options: &Mutants, step: &Step) -> Result<Option<Found>> {
        let program = self.target.join(PROFILE).join(SIMULATION.name);
        let request = json!({
            "case": { "seed": options.seed },
            "runs": options.runs,
            "failures": 1,
            "whole": true,
        });
        let mut command = Command::new(program);
        command.arg("run").arg(request.to_string());
        let (mut what, mut summary) = (None, None);
        lines::run(&mut command, |line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            match event["event"].as_str() {
                Some("progress") => step.progress(event["text"].as_str().unwrap_or_default()),
                Some("failure") if what.is_none() => what = Some(event["what"].clone()),
                Some("summary") => summary = Some(event),
                _ => {}
            }
        })?;
        let Some(summary) = summary else {
            // It ended the whole program: found as well, but nobody counted.
            let what = "the program ended".to_owned();
            return Ok(Some(Found { runs: 0, what }));
        };
        Ok(what.map(|what| Found {
            runs: summary["runs"].as_u64().unwrap_or(0),
            what: first_line(what.as_str().unwrap_or_default()),
        }))
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
