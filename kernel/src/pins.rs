//! Frames that a device may be reading or writing.
//!
//! A pin belongs to the device, not to the call it was made for: it holds its frame until the driver
//! unpins it or the device was seen to be reset. While the calls it was made through live, it is
//! *attached*: its frame is the one mapped at its owner. When one of them ends early, the owner gets
//! another frame and the pin is *detached*.

use alloc::vec::Vec;

use abi::{PINS_MAX, PINS_PER_DRIVER_MAX, ROLES_MAX};

use crate::{
    calls::{CALLS_MAX, CallId},
    frames::Frame,
};

/// Calls between a driver and the owner of the memory, at most.
pub const CHAIN_MAX: usize = 8;

/// The calls through which a driver reached memory, its own request first.
pub type Chain = heapless::Vec<CallId, CHAIN_MAX>;

/// A pinned page.
#[derive(Clone)]
pub struct Pin {
    /// The role that drives the device.
    pub driver: usize,
    /// The frame.
    pub frame: Frame,
    /// Whose memory it is.
    pub owner: usize,
    /// Where the owner has it mapped, a page's address.
    pub address: u64,
    /// The device writes to it.
    pub written: bool,
    /// The calls it was made through; empty once detached.
    pub chain: Chain,
    /// The request it was made for.
    pub token: CallId,
}

/// All pins, by the slot of the request they were made for, so that releasing a request's pins does
/// not look at anyone else's.
pub struct Pins {
    slots: Vec<Vec<Pin>>,
    counts: [usize; ROLES_MAX],
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            slots: (0..CALLS_MAX).map(|_| Vec::new()).collect(),
            counts: [0; ROLES_MAX],
        }
    }
}

impl Pins {
    /// How many more a driver may have.
    #[must_use]
    pub fn room(&self, driver: usize) -> usize {
        let of_driver = PINS_PER_DRIVER_MAX.saturating_sub(self.counts[driver]);
        of_driver.min(PINS_MAX.saturating_sub(self.count()))
    }

    /// Adds what one driver pinned for one request.
    pub fn add(&mut self, pins: Vec<Pin>) {
        let Some(first) = pins.first() else { return };
        self.counts[first.driver] += pins.len();
        let of_request = &mut self.slots[first.token.slot()];
        if of_request.is_empty() {
            *of_request = pins;
        } else {
            of_request.extend(pins);
        }
    }

    /// Takes out what a driver pinned for a request, and gives each pin to `release`.
    pub fn take_request(&mut self, driver: usize, token: CallId, release: impl FnMut(Pin)) {
        let pins = &mut self.slots[token.slot()];
        let before = pins.len();
        pins.extract_if(.., |pin| pin.driver == driver && pin.token == token)
            .for_each(release);
        self.counts[driver] -= before - pins.len();
        give_back(pins);
    }

    /// Takes out everything of a device that was reset.
    pub fn take_device(&mut self, driver: usize, mut release: impl FnMut(Pin)) {
        for pins in &mut self.slots {
            let before = pins.len();
            pins.extract_if(.., |pin| pin.driver == driver)
                .for_each(&mut release);
            self.counts[driver] -= before - pins.len();
            give_back(pins);
        }
    }

    /// The pins that were made through a call.
    pub fn through(&mut self, call: CallId) -> impl Iterator<Item = &mut Pin> + '_ {
        self.slots
            .iter_mut()
            .flatten()
            .filter(move |pin| pin.chain.contains(&call))
    }

    /// The requests whose device writes to one of these frames, which are sorted, while it still is where
    /// its owner expects it; once for each such page.
    pub fn writing_to<'a>(&'a self, frames: &'a [Frame]) -> impl Iterator<Item = CallId> + 'a {
        self.slots
            .iter()
            .flatten()
            .filter(|pin| pin.written && !pin.chain.is_empty())
            .filter(|pin| frames.binary_search(&pin.frame).is_ok())
            .map(|pin| pin.token)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// An empty list takes no memory: there are as many as calls.
fn give_back(pins: &mut Vec<Pin>) {
    if pins.is_empty() {
        *pins = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(driver: usize, token: CallId, frame: u64, chain: &[CallId]) -> Pin {
        let chain = Chain::from_slice(chain).unwrap();
        Pin {
            driver,
            frame: Frame(frame),
            owner: 9,
            address: frame << 12,
            written: true,
            chain,
            token,
        }
    }

    #[test]
    fn pins_go_with_their_request_and_not_with_its_slot() {
        let (old, new) = (CallId::new(7, 1), CallId::new(7, 2));
        let mut pins = Pins::default();
        pins.add(vec![pin(1, old, 10, &[])]);
        pins.add(vec![pin(1, new, 11, &[new])]);
        let mut taken = Vec::new();
        pins.take_request(1, new, |pin| taken.push(pin.frame));
        assert_eq!(
            taken,
            [Frame(11)],
            "an earlier request in the same slot keeps its pages"
        );
        pins.take_request(2, old, |_| panic!("another driver's pin"));
        assert_eq!(pins.count(), 1);
        pins.take_device(1, |pin| taken.push(pin.frame));
        assert_eq!((taken, pins.count()), (vec![Frame(11), Frame(10)], 0));
    }

    #[test]
    fn a_call_in_the_middle_of_the_chain_reaches_the_pin() {
        let chain = [CallId::new(3, 1), CallId::new(2, 1), CallId::new(1, 1)];
        let mut pins = Pins::default();
        pins.add(vec![pin(1, chain[0], 10, &chain)]);
        assert_eq!(pins.through(chain[1]).count(), 1);
        pins.through(chain[1]).for_each(|pin| pin.chain.clear());
        assert_eq!(pins.through(chain[2]).count(), 0);
    }

    #[test]
    fn a_driver_has_its_own_bound_and_a_forged_request_has_no_pins() {
        let mut pins = Pins::default();
        let token = CallId::new(1, 1);
        for frame in 0..PINS_PER_DRIVER_MAX as u64 {
            pins.add(vec![pin(1, token, frame, &[token])]);
        }
        assert_eq!((pins.room(1), pins.room(2)), (0, PINS_PER_DRIVER_MAX));
        for forged in [u64::MAX, 0xffff, 0xf801, 0x800] {
            let forged = CallId::from_number(forged);
            pins.take_request(1, forged, |_| panic!("a forged number names nothing"));
        }
        pins.take_request(1, token, drop);
        assert_eq!((pins.count(), pins.slots[1].capacity()), (0, 0));
    }

    #[test]
    fn pins_take_no_more_memory_than_the_kernel_has_for_them() {
        let mut pins = Pins::default();
        let drivers = PINS_MAX / PINS_PER_DRIVER_MAX;
        for driver in 0..drivers {
            // In as many requests as there are, all of which have been pinned through before.
            for slot in 0..CALLS_MAX {
                let token = CallId::new(slot, 1);
                pins.add(
                    (0..128)
                        .map(|frame| pin(driver, token, frame, &[]))
                        .collect(),
                );
                pins.take_request(driver, token, drop);
            }
            let token = CallId::new(driver, 2);
            let all = 0..pins.room(driver) as u64;
            pins.add(all.map(|frame| pin(driver, token, frame, &[])).collect());
        }
        assert_eq!((pins.count(), pins.room(drivers)), (PINS_MAX, 0));
        let kept: usize = pins.slots.iter().map(Vec::capacity).sum();
        assert!(kept * size_of::<Pin>() < 8 << 20, "room for {kept} pins");
        (0..drivers).for_each(|driver| pins.take_device(driver, drop));
        assert_eq!(pins.room(drivers), PINS_PER_DRIVER_MAX);
        assert_eq!(pins.slots.iter().map(Vec::capacity).sum::<usize>(), 0);
    }

    #[test]
    fn only_a_device_that_writes_and_is_attached_is_in_the_way_of_a_swap() {
        let (read, written, detached) = (CallId::new(1, 1), CallId::new(2, 1), CallId::new(3, 1));
        let mut pins = Pins::default();
        pins.add(vec![Pin {
            written: false,
            ..pin(1, read, 10, &[read])
        }]);
        pins.add(vec![pin(1, written, 10, &[written])]);
        pins.add(vec![pin(1, detached, 10, &[])]);
        pins.add(vec![pin(1, CallId::new(4, 1), 11, &[CallId::new(4, 1)])]);
        assert!(pins.writing_to(&[Frame(10), Frame(12)]).eq([written]));
    }
}
