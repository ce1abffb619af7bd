//! From ticks of the processor's counter to nanoseconds and back, without division or overflow. The
//! kernel calibrates once; tasks read the same counter themselves.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// How fast the time-stamp counter runs, and where it was at boot.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Scale {
    origin: u64,
    /// Nanoseconds a tick, as a fixed-point number with 32 bits of fraction.
    ns_per_tick: u64,
    /// Ticks a nanosecond, likewise.
    ticks_per_ns: u64,
}

impl Scale {
    /// A counter that stands still at time zero.
    pub const STOPPED: Self = Self {
        origin: 0,
        ns_per_tick: 0,
        ticks_per_ns: 0,
    };

    /// A counter that read `origin` at time zero and runs at `frequency_hz`.
    #[must_use]
    pub fn new(origin: u64, frequency_hz: u64) -> Self {
        let frequency_hz = u128::from(frequency_hz.max(1));
        let fixed = |numerator: u128, denominator: u128| {
            u64::try_from((numerator << 32) / denominator).unwrap_or(u64::MAX)
        };
        Self {
            origin,
            ns_per_tick: fixed(1_000_000_000, frequency_hz),
            ticks_per_ns: fixed(frequency_hz, 1_000_000_000),
        }
    }

    /// The time at which the counter reads `ticks`.
    #[must_use]
    pub fn ns(&self, ticks: u64) -> u64 {
        let elapsed = ticks.saturating_sub(self.origin);
        ((u128::from(elapsed) * u128::from(self.ns_per_tick)) >> 32) as u64
    }

    /// How many ticks `ns` nanoseconds take.
    #[must_use]
    pub fn ticks(&self, ns: u64) -> u64 {
        let ticks = (u128::from(ns) * u128::from(self.ticks_per_ns)) >> 32;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_ticks_is_a_year() {
        let scale = Scale::new(1_000, 2_600_000_000);
        let year_s: u64 = 365 * 86_400;
        let ns = scale.ns(1_000 + year_s * 2_600_000_000);
        assert!(
            ns.abs_diff(year_s * 1_000_000_000) < 10_000_000,
            "off by less than 10 ms: {ns}"
        );
        assert_eq!(
            scale.ns(0),
            0,
            "a counter behind its origin is at time zero"
        );
        assert!(scale.ticks(1_000_000).abs_diff(2_600_000) <= 1);
        assert_eq!(scale.ticks(u64::MAX), u64::MAX);
    }
}
