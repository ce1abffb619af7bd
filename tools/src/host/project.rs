//! Where the project and its build results lie.

use std::path::{Path, PathBuf};

use crate::Failure;
use crate::failure::reason;

/// The folders of one checkout.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
    target: PathBuf,
}

impl Project {
    /// The checkout that the program was started from: cargo says where, else the current folder
    /// or one above it.
    ///
    /// # Errors
    /// [`Failure::Usage`] outside a checkout.
    pub fn find() -> Result<Self, Failure> {
        let start = std::env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .or_else(|| std::env::current_dir().ok())
            .unwrap_or_else(|| PathBuf::from("."));
        let root = root_above(&start).ok_or_else(|| {
            Failure::Usage(format!(
                "{} is in no Galago checkout; change to one and run `cargo galago …` there",
                start.display()
            ))
        })?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(&folder).unwrap_or_else(|_| folder.into()),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The folder with `README.md`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds, and where images go.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// `target/galago`: what is remembered between runs.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.target.join("galago")
    }

    /// The text of a stack description, by the name of a file in `qemu/stacks` or by path.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the stacks there are.
    pub fn stack(&self, name: &str) -> Result<String, Failure> {
        let named = self.root.join("qemu/stacks").join(format!("{name}.toml"));
        let path = if named.is_file() {
            named
        } else {
            PathBuf::from(name)
        };
        std::fs::read_to_string(&path).map_err(|error| {
            Failure::Usage(format!(
                "stack {name}: {}; give a file, or one of: {}",
                reason(&error),
                self.stack_names().join(", ")
            ))
        })
    }

    /// The names that [`Project::stack`] knows, sorted.
    #[must_use]
    pub fn stack_names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.root.join("qemu/stacks"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
            .collect();
        names.sort();
        names
    }
}

fn root_above(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|folder| folder.join("qemu/stacks").is_dir())
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_found_by_name_and_by_path_and_a_wrong_one_names_those_there_are() {
        let project = Project::find().expect("tests run in a checkout");
        let by_name = project.stack("mirror").expect("the everyday stack");
        let path = project.root().join("qemu/stacks/mirror.toml");
        assert_eq!(
            project
                .stack(path.to_str().expect("text"))
                .expect("by path"),
            by_name
        );
        let wrong = project.stack("no-such-stack").unwrap_err().to_string();
        assert!(wrong.contains("mirror"), "{wrong}");
    }
}
