//! A task that does not answer a ping, and whether that is enough to end it.
//!
//! It may only be starved, on a machine that is busy: so it is ended when it has had its share of the processor since the
//! deadline and still has not waited for events, or when it has answered at none of many looks. These are counted, not
//! timed: of a machine that stood still, because its host slept, nobody's silence says anything.

/// A ping that is not answered by now makes a suspect, nanoseconds.
pub const DEADLINE_NS: u64 = 2_000_000_000;

/// How often a suspect is looked at, nanoseconds.
pub const LOOK_NS: u64 = 100_000_000;

/// Processor time that a suspect may use before it is ended, nanoseconds.
const SHARE_NS: u64 = 300_000_000;

/// At so many looks silence is the end, whatever the reason: 20 s after the ping, of those in which the machine ran.
const LOOKS_MAX: u64 = (20_000_000_000 - DEADLINE_NS) / LOOK_NS;

/// A task that has not answered a ping by the deadline.
pub struct Suspect {
    sent_ns: u64,
    looks: u64,
    /// What it had used of the processor at the first look, nanoseconds.
    used_ns: Option<u64>,
}

impl Suspect {
    /// The ping was sent at `sent_ns` nanoseconds since boot.
    pub fn new(sent_ns: u64) -> Self {
        Self {
            sent_ns,
            looks: 0,
            used_ns: None,
        }
    }

    /// Looks at it: when it last waited for events, in nanoseconds since boot, and how much of the processor it has used,
    /// in nanoseconds.
    pub fn is_to_be_ended(&mut self, last_wait_ns: u64, cpu_ns: u64) -> bool {
        self.looks += 1;
        let base_ns = *self.used_ns.get_or_insert(cpu_ns);
        let has_waited = last_wait_ns >= self.sent_ns;
        let had_its_share = cpu_ns.saturating_sub(base_ns) >= SHARE_NS;
        (!has_waited && had_its_share) || self.looks > LOOKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT_NS: u64 = 5_000_000_000;

    #[test]
    fn who_runs_and_does_not_wait_is_ended_after_its_share() {
        let mut suspect = Suspect::new(SENT_NS);
        assert!(!suspect.is_to_be_ended(SENT_NS - 1, 7_000_000_000));
        assert!(!suspect.is_to_be_ended(SENT_NS - 1, 7_000_000_000 + SHARE_NS - 1));
        assert!(suspect.is_to_be_ended(SENT_NS - 1, 7_000_000_000 + SHARE_NS));
    }

    #[test]
    fn who_gets_no_processor_is_looked_at_for_twenty_seconds() {
        let mut suspect = Suspect::new(SENT_NS);
        let is_spared = |_: &u64| !suspect.is_to_be_ended(SENT_NS - 1, 0);
        let looks = (0..).take_while(is_spared).count() as u64;
        assert_eq!(DEADLINE_NS + looks * LOOK_NS, 20_000_000_000);
    }

    #[test]
    fn who_waits_and_says_nothing_has_as_long() {
        let mut suspect = Suspect::new(SENT_NS);
        let is_spared = |look: &u64| !suspect.is_to_be_ended(SENT_NS, look * SHARE_NS);
        assert_eq!((0..).take_while(is_spared).count() as u64, LOOKS_MAX);
    }
}
