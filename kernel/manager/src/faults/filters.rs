//! Rules in the filters before disks. Filters are asked with a deadline: the manager waits for no task.

use alloc::vec::Vec;

use manager::injection::{Listed, What};
use runtime::{Endpoint, time};
use storage::{Error, Result, faulty};

use crate::stack_of_tasks::Tasks;

/// The program that is a filter of faulty disks.
const FILTER: &str = "faulty";

/// How long a filter may take to answer, nanoseconds.
pub const FILTER_NS: u64 = 5_000_000_000;

impl Tasks {
    /// All of them that are part of the stack.
    pub fn filters(&self) -> impl Iterator<Item = usize> {
        let tasks = 0..self.stack.tasks.len();
        tasks.filter(|&task| self.stack.tasks[task].program == FILTER && !self.is_out(task))
    }

    /// The filter of this name, or the one before the driver of this name.
    pub fn filter(&self, name: &str) -> Result<usize> {
        let task = self.find(name).ok_or(Error::NotFound)?;
        let mut filters = self.filters();
        let before = |&filter: &usize| {
            filter == task || self.stack.tasks[filter].calls.iter().any(|it| it == name)
        };
        filters.find(before).ok_or(Error::NotPermitted)
    }

    /// How to give a filter rules.
    pub fn control(&self, filter: usize) -> faulty::Client<Endpoint> {
        faulty::Client(self.endpoint(filter))
    }

    /// The rules of all filters that answer.
    pub async fn rules(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        for filter in self.filters() {
            let asked = self.control(filter);
            let Some(Ok(rules)) = time::with_deadline(FILTER_NS, asked.rules()).await else {
                continue;
            };
            listed.extend(rules.iter().map(|armed| Listed {
                number: armed.number,
                target: self.name(filter).into(),
                what: What::Disk(armed.rule),
                hits: armed.acted,
                left: armed.left(),
                misses: 0,
                armed: None,
            }));
        }
        listed
    }

    /// Removes the rules of these numbers; how many that were.
    pub async fn remove_rules(&self, meant: impl Fn(u32) -> bool) -> u32 {
        let mut removed = 0;
        for filter in self.filters() {
            let asked = self.control(filter);
            let Some(Ok(rules)) = time::with_deadline(FILTER_NS, asked.rules()).await else {
                continue;
            };
            for rule in rules.iter().filter(|rule| meant(rule.number)) {
                let gone = time::with_deadline(FILTER_NS, asked.remove(rule.number)).await;
                removed += u32::from(gone == Some(Ok(())));
            }
        }
        removed
    }
}
