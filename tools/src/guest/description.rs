//! The description of a stack, as the user named it: read and checked before anything is built.

use stack::Stack;

use crate::Failure;
use crate::host::project::Project;

/// A description that can be started, its text and what it means.
#[derive(Clone, Debug)]
pub struct Description {
    /// For the guest, which reads it again.
    pub text: String,
    /// What it says.
    pub stack: Stack,
}

impl Description {
    /// Reads the description that is called `name`: one of `qemu/stacks`, or a file.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is none, or with the first mistake in it.
    pub fn read(project: &Project, name: &str) -> Result<Self, Failure> {
        let text = project.stack(name)?;
        let stack = Stack::parse(&text).map_err(|mistakes| {
            let first = mistakes
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            let more = match mistakes.len() {
                0 | 1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            Failure::Usage(format!(
                "stack {name}: {first}{more}; see qemu/stacks for stacks that work"
            ))
        })?;
        Ok(Self { text, stack })
    }

    /// Where a tar goes beside `disks` disks: in the first place for a disk that the stack can do
    /// without, so that it never stands where a store expects its disk.
    #[must_use]
    pub fn place_for_tar(&self, disks: usize) -> Option<u32> {
        self.stack
            .spare_disks()
            .find(|number| *number as usize >= disks)
    }
}

/// A stack description in which every task that runs `program` has the argument.
#[must_use]
pub fn with_argument(description: &str, program: &str, key: &str, value: &str) -> String {
    let task = |task: &str| {
        if !task
            .lines()
            .any(|line| line == format!("program = \"{program}\""))
        {
            return task.to_owned();
        }
        let is_arguments = |line: &&str| line.starts_with("arguments = \"");
        let before = task
            .lines()
            .find(is_arguments)
            .unwrap_or("arguments = \"\"");
        let words = before
            .trim_start_matches("arguments = \"")
            .trim_end_matches('"');
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.retain(|word| word.split('=').next() != Some(key));
        let new = format!("{key}={value}");
        words.push(&new);
        let arguments = format!("arguments = \"{}\"", words.join(" "));
        let others = task.lines().filter(|line| !is_arguments(line));
        // After the program's line, which is in the task's table for sure.
        others
            .flat_map(|line| {
                let is_program = line.starts_with("program = ");
                [Some(line.to_owned()), is_program.then(|| arguments.clone())]
            })
            .flatten()
            .fold(String::new(), |text, line| text + &line + "\n")
    };
    let tasks: Vec<String> = description.split("[[task]]").map(task).collect();
    tasks.join("[[task]]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_never_takes_the_place_of_a_disk_that_is_missing() {
        let project = Project::find().expect("tests run in a checkout");
        let mirror = Description::read(&project, "mirror").expect("a stack");
        assert_eq!(mirror.place_for_tar(1), Some(2));
        assert_eq!(mirror.place_for_tar(2), Some(2));
        assert_eq!(mirror.place_for_tar(3), None, "a third disk has it");
        let single = Description::read(&project, "single").expect("a stack");
        assert_eq!(single.place_for_tar(1), Some(1));
    }
}
