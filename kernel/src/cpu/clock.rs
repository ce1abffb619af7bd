//! Time: the time-stamp counter for now, the local APIC's timer for later, both calibrated against
//! the interval timer that every PC has; the date from the real-time clock.

use abi::Scale;

use super::{
    apic,
    serial::{port_read, port_write},
};

/// Frequency of the interval timer (Intel 8254).
const PIT_HZ: u64 = 1_193_182;
/// It counts down from here once, which takes 55 ms.
const PIT_COUNT: u16 = u16::MAX;
/// How much of that is measured: 10 ms.
const CALIBRATION_TICKS: u64 = PIT_HZ / 100;
/// How often all counters are read together, to find a moment at which nothing came in between.
const SAMPLES: usize = 16;
/// How often calibration is tried. Under emulation the whole machine may stand still for longer
/// than the interval timer counts.
const ATTEMPTS: usize = 20;
/// How often the interval timer is read before it is taken to be broken.
const POLLS_MAX: u32 = 1_000_000;

/// All counters at one moment.
#[derive(Clone, Copy)]
struct Moment {
    ticks: u64,
    pit: u64,
    timer: u32,
    /// How long reading them took, in ticks.
    blur: u64,
}

impl Moment {
    fn now() -> Self {
        let before = ticks();
        // Latch channel 2, then its low and high byte.
        port_write(0x43, 0b1000_0000);
        let timer = apic::counted();
        let after = ticks();
        let pit = u64::from(port_read(0x42)) | u64::from(port_read(0x42)) << 8;
        Self {
            ticks: before,
            pit,
            timer,
            blur: after - before,
        }
    }

    /// The sharpest of several: reading the counters was not interrupted by the host.
    fn sharp() -> Self {
        let first = Self::now();
        (1..SAMPLES)
            .map(|_| Self::now())
            .fold(first, |a, b| if b.blur < a.blur { b } else { a })
    }
}

/// Ticks of the time-stamp counter and of the local APIC's timer while the interval timer counted
/// a number down; nothing if it came to its end meanwhile.
fn measure() -> Option<(u64, u64, u64)> {
    // Channel 2 counts down once while its gate is open; bit 5 of port 0x61 shows the end.
    let gate = port_read(0x61) & !0b10;
    port_write(0x61, gate & !1);
    port_write(0x43, 0b1011_0000);
    port_write(0x42, PIT_COUNT as u8);
    port_write(0x42, (PIT_COUNT >> 8) as u8);
    apic::start_counting();
    port_write(0x61, gate | 1);
    let start = Moment::sharp();
    for _ in 0..POLLS_MAX {
        if start.pit.saturating_sub(Moment::now().pit) >= CALIBRATION_TICKS {
            break;
        }
    }
    let end = Moment::sharp();
    let is_over = port_read(0x61) & 0b10_0000 != 0;
    let counted = start
        .pit
        .checked_sub(end.pit)
        .filter(|&counted| counted > 0)?;
    let timer = u64::from(end.timer.wrapping_sub(start.timer));
    (!is_over).then_some((end.ticks - start.ticks, timer, counted))
}

/// Where the time comes from.
pub struct Clock {
    /// The time-stamp counter; tasks read it themselves.
    pub counter: Scale,
    timer: Scale,
    /// Nanoseconds from the Unix epoch to time zero.
    pub epoch_ns: u64,
}

/// The time-stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: the instruction reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

impl Clock {
    /// Calibrates both counters.
    pub fn calibrate() -> Self {
        let origin = ticks();
        let measured = (0..ATTEMPTS).find_map(|_| measure());
        let (elapsed, timer, counted) = measured.expect("the interval timer counts");
        apic::set_timer(0);
        let frequency = |counts: u64| counts * PIT_HZ / counted;
        Self {
            counter: Scale::new(origin, frequency(elapsed)),
            timer: Scale::new(0, frequency(timer)),
            epoch_ns: real_time_s() * 1_000_000_000,
        }
    }

    /// Monotonic time since boot, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.counter.ns(ticks())
    }

    /// Raises the timer's interrupt in `ns` nanoseconds, or a little earlier if the timer does not
    /// reach as far.
    pub fn set_timer(&self, ns: u64) {
        let counts = self
            .timer
            .ticks(ns.min(1_000_000_000))
            .clamp(1, u64::from(u32::MAX));
        apic::set_timer(counts as u32);
    }
}

fn real_time_register(register: u8) -> u64 {
    port_write(0x70, 0x80 | register);
    u64::from(port_read(0x71))
}

/// Seconds since the Unix epoch, from the CMOS clock (Motorola MC146818), which QEMU runs in UTC.
fn real_time_s() -> u64 {
    const UPDATING: u64 = 0x80;
    const BINARY: u64 = 4;
    for _ in 0..POLLS_MAX / 100 {
        if real_time_register(0x0a) & UPDATING == 0 {
            break;
        }
    }
    let binary = real_time_register(0x0b) & BINARY != 0;
    let number = |register| {
        let value = real_time_register(register);
        if binary {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        }
    };
    let [second, minute, hour, day, month, year] = [0, 2, 4, 7, 8, 9].map(number);
    days_from_epoch(2000 + year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March.
fn days_from_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    days + (month * 153 + 2) / 5 + day - 1 - 719_468
}
