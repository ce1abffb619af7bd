//! When to look at the ring although no interrupt came.
//!
//! An interrupt that got lost would leave a request with us until it is overdue, and the next one as well: a disk with ten
//! seconds for each request. So while the device has something, the ring is looked at ten times a second. What is found
//! then, and no interrupt told of, makes the next look come sooner; one that comes makes them rare again.
//!
//! The time of the next look stays as it is when requests come and go, so that it costs a timer for each look, and not
//! for each request.

/// Time from one look to the next as long as interrupts come, nanoseconds.
const LOOK_NS_MAX: u64 = 100_000_000;

/// The same after a look that found what no interrupt had told of, nanoseconds.
const LOOK_NS_MIN: u64 = 1_000_000;

pub struct Lookout {
    interval_ns: u64,
    next_ns: u64,
    /// An interrupt came since the last look.
    heard: bool,
    /// It was said that interrupts are lost.
    told: bool,
}

impl Default for Lookout {
    fn default() -> Self {
        Self {
            interval_ns: LOOK_NS_MAX,
            next_ns: u64::MAX,
            heard: false,
            told: false,
        }
    }
}

impl Lookout {
    /// When to look next, nanoseconds; `u64::MAX` for never.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// The interrupt came.
    pub fn heard(&mut self) {
        self.heard = true;
        self.interval_ns = LOOK_NS_MAX;
    }

    /// The ring was looked at: whether anything was there, and whether the device has something still.
    pub fn looked(&mut self, now_ns: u64, found: bool, is_busy: bool) {
        if now_ns >= self.next_ns {
            let was_lost = found && !self.heard;
            self.interval_ns = if was_lost {
                LOOK_NS_MIN
            } else {
                LOOK_NS_MAX.min(2 * self.interval_ns)
            };
            if was_lost && !core::mem::replace(&mut self.told, true) {
                log::warn!("virtio-blk: a request was done and no interrupt told of it");
            }
            self.next_ns = u64::MAX;
        }
        if is_busy && self.next_ns == u64::MAX {
            self.heard = false;
            self.next_ns = now_ns.saturating_add(self.interval_ns);
        }
    }
}
