//! What guests of a campaign are booted from, and what of their machine an experiment may choose.

use std::path::PathBuf;

use anyhow::Result;

use super::random::Random;
use crate::guest::{Accelerator, Description, Disk, Machine, Prepared, with_argument};

/// Memory of a guest in MiB.
pub const MEMORY_MIB: u32 = 512;

/// Sizes of the cache: the usual one, and some that make it write early and often.
const CACHE_PAGES: [Option<u32>; 4] = [None, Some(2048), Some(512), Some(256)];

/// Experiments in a row with the same cache, so that not each of them boots.
const SAME_SETTING: u64 = 32;

/// What of the machine an experiment may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Pages of the cache, where the stack's description leaves it the usual size.
    pub cache_pages: Option<u32>,
    /// The file stores overwrite data where they are.
    pub in_place: bool,
}

impl Setting {
    /// The machine of experiment `number`; in brief, the same for all.
    pub fn for_number(seed: u64, number: u64, brief: bool) -> Self {
        let number = if brief { 0 } else { number };
        let mut random = Random::new(!seed, number / SAME_SETTING);
        Self {
            cache_pages: *random.pick(&CACHE_PAGES),
            in_place: random.one_in(2),
        }
    }
}

/// What a campaign needs to boot guests.
pub struct Workshop {
    /// The guest's programs.
    pub prepared: Prepared,
    /// Who executes guests.
    pub accelerator: Accelerator,
    /// The stack's name or file.
    pub stack: String,
    /// What is in it.
    pub description: Description,
    /// What is booted, by its hash.
    pub build: String,
}

impl Workshop {
    /// A machine that boots from these images.
    pub fn machine(&self, setting: Setting, images: &[PathBuf]) -> Result<Machine> {
        let mut machine = self.prepared.machine(&self.stack, MEMORY_MIB)?;
        machine.accelerator = self.accelerator;
        machine.disks = Disk::numbered(images.iter().cloned());
        let text = &mut machine.archive.description;
        if let Some(pages) = setting.cache_pages {
            *text = with_argument(text, "cache", "pages", &pages.to_string());
        }
        if setting.in_place {
            *text = with_argument(text, "twinfs", "overwrite", "in-place");
        }
        Ok(machine)
    }

    /// Disks that the stack cannot do without.
    pub fn disks(&self) -> usize {
        let tasks = self.description.stack.tasks.iter();
        tasks
            .filter(|task| task.device.is_some() && !task.optional)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::project::Project;

    #[test]
    fn every_setting_makes_a_stack_that_can_be_started() {
        let project = Project::find().expect("tests run in a checkout");
        for name in project.stack_names() {
            let text = project.stack(&name).expect("a stack");
            let text = with_argument(&text, "cache", "pages", "512");
            let text = with_argument(&text, "twinfs", "overwrite", "in-place");
            let stack = stack::Stack::parse(&text).unwrap_or_else(|it| panic!("{name}: {it:?}"));
            for task in &stack.tasks {
                let has = |word: &str| task.arguments.split(' ').any(|it| it == word);
                assert_eq!(
                    has("pages=512"),
                    task.program == "cache",
                    "{name}: {}",
                    task.arguments
                );
                assert_eq!(
                    has("overwrite=in-place"),
                    task.program == "twinfs",
                    "{name}"
                );
                assert!(!has("pages=16384"));
            }
        }
    }
}
