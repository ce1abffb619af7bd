//! Whom a campaign turns against: tasks of the stack, by name or by group.

use std::collections::BTreeSet;

use stack::{MANAGER, Role};

use super::heard::Heard;
use crate::Failure;
use crate::guest::Description;

/// Tasks, in the order of the description.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Their names; at least one.
    pub names: Vec<String>,
}

/// Names for several tasks.
const GROUPS: [(&str, &[Role]); 4] = [
    ("drivers", &[Role::Driver]),
    ("stores", &[Role::Storage]),
    ("below", &[Role::Driver, Role::Storage]),
    (
        "all",
        &[
            Role::Driver,
            Role::Storage,
            Role::Cache,
            Role::Naming,
            Role::Application,
            Role::Console,
        ],
    ),
];

impl Targets {
    /// The tasks that are meant.
    ///
    /// # Errors
    /// [`Failure::Usage`] names those there are.
    pub fn find(words: &[String], description: &Description) -> Result<Self, Failure> {
        let mut names = BTreeSet::new();
        let tasks = || description.stack.tasks.iter().filter(|task| !task.optional);
        for word in words {
            let group = GROUPS.iter().find(|(name, _)| name == word);
            let of_group = |role: Role| group.is_some_and(|(_, roles)| roles.contains(&role));
            let mut found: Vec<&str> = tasks()
                .filter(|task| task.name == *word || of_group(task.role))
                .map(|task| task.name.as_str())
                .collect();
            if word == MANAGER || word == "all" {
                found.push(MANAGER);
            }
            if found.is_empty() {
                let all: Vec<&str> = tasks().map(|task| task.name.as_str()).collect();
                return Err(Failure::Usage(format!(
                    "--targets: there is no {word}; there are {}, {MANAGER}, and the groups \
                     drivers, stores, below, all",
                    all.join(", ")
                )));
            }
            names.extend(found);
        }
        let order = tasks().map(|task| task.name.as_str()).chain([MANAGER]);
        Ok(Self {
            names: order
                .filter(|name| names.contains(name))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Whether a task that was killed serves again.
    pub fn is_back(&self, target: &str, heard: &Heard) -> bool {
        match target {
            // Who tells of deaths cannot tell of its own, and who passes that on must be there.
            "console" => heard.consoles > 0,
            MANAGER => heard.has_died(MANAGER),
            _ => heard.recovery_of(target).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::project::Project;

    #[test]
    fn tasks_are_found_by_name_and_by_group_and_a_wrong_one_names_those_there_are() {
        let project = Project::find().expect("tests run in a checkout");
        let mirror = Description::read(&project, "mirror").expect("a stack");
        let find = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Targets::find(&words, &mirror).map(|targets| targets.names)
        };
        assert_eq!(
            find(&["twinfs.1", "logical"]).expect("two"),
            ["twinfs.1", "logical"]
        );
        assert_eq!(
            find(&["drivers"]).expect("two"),
            ["virtio-blk.0", "virtio-blk.1"]
        );
        assert_eq!(
            find(&["all"]).expect("all").len(),
            10,
            "but the optional one"
        );
        let wrong = find(&["twinfs.7"]).unwrap_err().to_string();
        assert!(
            wrong.contains("twinfs.0") && wrong.contains("drivers"),
            "{wrong}"
        );
    }
}
