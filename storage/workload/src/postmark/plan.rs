//! Which operations a run consists of: PostMark's algorithm, without a file system.
//!
//! The plan follows from the parameters alone, so what should exist after a run can be computed
//! again at any time, for instance after a reboot.
//!
//! Source: PostMark 1.53 (J. Katcher, "PostMark: A New File System Benchmark", Network Appliance
//! TR3022, and the program itself, whose order of random numbers is kept).

use super::{
    parameters::Parameters,
    random::Random,
    table::{File, Table},
};

/// One operation on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read all of it.
    Read(File),
    /// Append so many bytes to the file, which is as given before.
    Append(File, u32),
    /// Create it, of this size.
    Create(File),
    /// Delete it.
    Delete(File),
}

/// A transaction: a read or an append, then a creation or a deletion; each may fall out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The read or append. Nothing if switched off, or if the file to append to is full.
    pub access: Option<Step>,
    /// The creation or deletion. Nothing if switched off, or if the table is full.
    pub change: Option<Step>,
}

/// Tells the operations of a run one after the other.
pub struct Plan {
    parameters: Parameters,
    random: Random,
    table: Table,
    created: u32,
}

impl Plan {
    /// The plan of a run with these parameters, which must have been checked.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let mut random = Random::new(parameters.seed);
        // The original fills a buffer of twice the largest size with random text first.
        for _ in 0..2 * u64::from(parameters.size_max) {
            random.next();
        }
        Self {
            parameters: parameters.clone(),
            random,
            table: Table::new(parameters.files),
            created: 0,
        }
    }

    /// The next creation; nothing if the table is full.
    pub fn create(&mut self) -> Option<Step> {
        let place = self.table.find_free()?;
        let spread = self.parameters.subdirectories > 1;
        let subdirectory = if spread {
            self.random.below(self.parameters.subdirectories)
        } else {
            0
        };
        self.created += 1;
        let (min, max) = (self.parameters.size_min, self.parameters.size_max);
        let size = min + self.random.below(max - min);
        let file = File {
            number: self.created,
            subdirectory,
            size,
        };
        self.table.set(place, file);
        Some(Step::Create(file))
    }

    /// The next transaction; nothing if there are no files left.
    pub fn transaction(&mut self) -> Option<Transaction> {
        if self.table.used() == 0 {
            return None;
        }
        let access = match self.parameters.bias_read {
            None => None,
            Some(bias) if self.random.below(10) < u32::from(bias) => {
                let place = self.table.find_used(&mut self.random)?;
                Some(Step::Read(self.table.get(place)))
            }
            Some(_) => {
                let place = self.table.find_used(&mut self.random)?;
                self.append(place)
            }
        };
        let change = match self.parameters.bias_create {
            None => None,
            Some(bias) if self.random.below(10) < u32::from(bias) => self.create(),
            Some(_) => {
                let place = self.table.find_used(&mut self.random)?;
                Some(self.delete(place))
            }
        };
        Some(Transaction { access, change })
    }

    /// The next deletion at the end of the run, in the order of the table; `place` counts the
    /// places from zero and is moved on.
    pub fn delete_next(&mut self, place: &mut usize) -> Option<Step> {
        while *place < self.table.len() {
            *place += 1;
            if self.table.get(*place - 1).size > 0 {
                return Some(self.delete(*place - 1));
            }
        }
        None
    }

    /// Files that there are now.
    #[must_use]
    pub fn files(&self) -> usize {
        self.table.used()
    }

    /// The files that there are now, in the order of the table.
    pub fn each_file(&self) -> impl Iterator<Item = File> {
        (0..self.table.len())
            .map(|place| self.table.get(place))
            .filter(|file| file.size > 0)
    }

    /// Goes through the creations and `transactions` transactions at once.
    pub fn skip_to_end(&mut self) {
        for _ in 0..self.parameters.files {
            self.create();
        }
        for _ in 0..self.parameters.transactions {
            if self.transaction().is_none() {
                break;
            }
        }
    }

    fn append(&mut self, place: usize) -> Option<Step> {
        let file = self.table.get(place);
        if file.size >= self.parameters.size_max {
            return None;
        }
        let len = self.random.below(self.parameters.size_max - file.size) + 1;
        self.table.set(
            place,
            File {
                size: file.size + len,
                ..file
            },
        );
        Some(Step::Append(file, len))
    }

    fn delete(&mut self, place: usize) -> Step {
        let file = self.table.get(place);
        self.table.set(place, File::default());
        Step::Delete(file)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// What `strace` shows of the original's first creations with these parameters.
    #[test]
    fn the_first_files_are_those_of_the_original() {
        let mut plan = Plan::new(&Parameters {
            seed: 7,
            files: 100,
            size_min: 1000,
            size_max: 5000,
            subdirectories: 5,
            ..Parameters::default()
        });
        let created: Vec<_> = core::iter::from_fn(|| plan.create())
            .map(|step| match step {
                Step::Create(file) => (file.subdirectory, file.number, file.size),
                other => panic!("{other:?}"),
            })
            .take(8)
            .collect();
        let original = [
            (0, 1, 4096 + 805),
            (4, 2, 1733),
            (0, 3, 2073),
            (2, 4, 1228),
            (1, 5, 3259),
            (1, 6, 3124),
            (0, 7, 3334),
            (0, 8, 3742),
        ];
        assert_eq!(created, original);
    }

    #[test]
    fn a_run_that_only_deletes_ends_when_there_are_no_files() {
        let mut plan = Plan::new(&Parameters {
            files: 10,
            bias_create: Some(0),
            ..Parameters::default()
        });
        for _ in 0..10 {
            plan.create();
        }
        assert_eq!(core::iter::from_fn(|| plan.transaction()).count(), 10);
        assert_eq!(plan.files(), 0);
    }
}
