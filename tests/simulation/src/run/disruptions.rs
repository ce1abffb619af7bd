//! What goes wrong in a run: tasks are killed, a disk fails.

use storage::faulty::{Action, Direction, RULES_MAX, Rule};

use super::{KILLS_IN_A_ROW_MAX, Run};
use crate::{kernel::Counted, machine::Machine};

/// Effects before which a task dies in the middle of a poll: less than two to the power of less than this.
const EFFECTS_LOG_MAX: u64 = 12;

/// Calls and answers before which a task dies: less than this.
const MESSAGES_MAX: u32 = 16;

impl Run<'_> {
    /// Takes note of what the only disk has done.
    pub(super) fn note_misdeeds(&mut self, machine: &Machine) {
        let misdeeds = machine.misdeeds(0);
        if misdeeds != self.last_boot {
            self.last_boot = misdeeds;
            self.shared.may_fail.set(true);
            let (lies, strays) = (
                self.misdeeds.lies + misdeeds.lies,
                self.misdeeds.strays + misdeeds.strays,
            );
            self.shared.oracle.borrow_mut().disk_did(lies, strays);
        }
    }

    /// Takes note whether a disk has lied.
    pub(super) fn note_lies(&mut self, machine: &Machine) {
        self.lied |= machine.misdeeds(self.mix.failing).lies > 0;
    }

    /// The disk that this run has fail does so in one more way.
    pub(super) fn harm(&mut self, machine: &Machine) {
        self.next.fault = self.after(self.mix.fault_steps);
        let action = self.random.pick(&self.mix.faults);
        let direction = match action {
            Action::Corrupt { .. } => self.random.pick(&[Direction::Reads, Direction::Both]),
            _ => Direction::Both,
        };
        let rule = Rule {
            direction,
            skip: self.random.below(20),
            times: Some(1 + self.random.below(8)),
            one_in: 1 + self.random.below(3) as u32,
            seed: self.random.number(),
            ..Rule::new(action)
        };
        // Of what the only disk does wrong, all is counted.
        let is_full = self.mix.only_disk_fails() && machine.rules(self.mix.failing) == RULES_MAX;
        if is_full {
            return;
        }
        // Rules that are done make room for others, and count no more then.
        self.note_lies(machine);
        if self.disrupts() && machine.harm(self.mix.failing, rule) {
            let mut counts = self.counts.get();
            counts.faults += 1;
            self.counts.set(counts);
        }
    }

    /// Whether the next kill or cut is carried out.
    pub(super) fn disrupts(&mut self) -> bool {
        self.disruptions += 1;
        !self.case.spares(self.disruptions)
    }

    pub(super) fn kill(&mut self, machine: &Machine) {
        self.next.kill = self.after(self.mix.kill_steps);
        if self.kills_in_a_row >= KILLS_IN_A_ROW_MAX {
            return;
        }
        let victim = self.random.pick(&self.mix.victims);
        // Most polls have a handful of effects; one that takes over what a predecessor has left has thousands.
        let range = 1 << self.random.below(EFFECTS_LOG_MAX);
        let effects = self.random.below(range) as u32;
        let mid_poll = self.random.one_in(2);
        if !self.disrupts() {
            return;
        }
        self.kills_in_a_row += 1;
        if self.mix.mid_poll && mid_poll {
            let (counted, effects) = match self.mix.mid_talk {
                true => (Counted::Messages, effects % MESSAGES_MAX),
                false => (Counted::Effects, effects),
            };
            machine.kernel.kill_soon(victim, counted, effects);
        } else {
            machine.kernel.kill_at_once(victim);
        }
    }
}
