//! The queue against the specification, with the device's side written by hand.

use alloc::{rc::Rc, vec, vec::Vec};
use core::cell::RefCell;

use super::*;

const SIZE: u16 = 8;
/// Where the parts of a queue of eight are, counted by hand: the table has 128 bytes, the
/// available ring 22, and the used ring begins at the next multiple of four.
const AVAIL: usize = 128;
const USED: usize = 152;

#[derive(Clone)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.borrow()[offset..offset + N].try_into().unwrap()
    }
    fn set(&self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    /// What a device does to hand back a chain: entry, then index.
    fn hand_back(&self, index: u16, head: u32, len: u32) {
        let entry = USED + 4 + 8 * usize::from(index.wrapping_sub(1) % SIZE);
        self.set(entry, &head.to_le_bytes());
        self.set(entry + 4, &len.to_le_bytes());
        self.set(USED + 2, &index.to_le_bytes());
    }
}

impl DmaMemory for Shared {
    fn bus_address(&self) -> u64 {
        0x10_0000
    }
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
    fn load_u8(&self, offset: usize) -> u8 {
        u8::from_le_bytes(self.bytes(offset))
    }
    fn load_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }
    fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }
    fn store_u8(&self, offset: usize, value: u8) {
        self.set(offset, &value.to_le_bytes());
    }
    fn store_u16(&self, offset: usize, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }
    fn store_u32(&self, offset: usize, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }
    fn store_u64(&self, offset: usize, value: u64) {
        self.set(offset, &value.to_le_bytes());
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.set(offset, from);
    }
}

fn queue(event_index: bool) -> (Queue<Shared>, Shared) {
    let shared = Shared(Rc::new(RefCell::new(vec![
        0xaa;
        Queue::<Shared>::bytes(SIZE)
    ])));
    (Queue::new(shared.clone(), SIZE, event_index), shared)
}

#[test]
fn the_parts_lie_where_the_specification_puts_them() {
    let (queue, shared) = queue(true);
    assert_eq!(
        queue.areas(),
        [0x10_0000, 0x10_0000 + AVAIL as u64, 0x10_0000 + USED as u64]
    );
    assert_eq!(shared.len(), USED + 4 + 8 * 8 + 2);
    assert!(
        shared.0.borrow().iter().all(|&byte| byte == 0),
        "it starts empty"
    );
}

#[test]
fn chains_are_seen_when_published_and_not_before() {
    let (mut queue, shared) = queue(false);
    queue.push(5);
    queue.push(3);
    assert_eq!(shared.load_u16(AVAIL + 2), 0);
    assert!(queue.publish());
    assert_eq!(shared.load_u16(AVAIL + 2), 2);
    assert_eq!(
        [shared.load_u16(AVAIL + 4), shared.load_u16(AVAIL + 6)],
        [5, 3]
    );
    assert!(!queue.publish(), "nothing new to tell");
    // The device does not want to be told.
    shared.store_u16(USED, 1);
    queue.push(1);
    assert!(!queue.publish());
    assert_eq!(shared.load_u16(AVAIL + 2), 3);
}

#[test]
fn with_event_index_a_notification_is_due_when_the_index_passes_the_event() {
    // avail_event, chains published at a time, whether each time is told; also past the wrap.
    for (event, batch, told) in [
        (0, 1, [true, false, false]),
        (1, 1, [false, true, false]),
        (4, 2, [false, false, true]),
        (5, 3, [false, true, false]),
        (9, 1, [false, false, false]),
    ] {
        for turns in [0, 65_534_u16] {
            let (mut queue, shared) = queue(true);
            for index in 0..turns {
                queue.push(0);
                queue.publish();
                shared.hand_back(index.wrapping_add(1), 0, 0);
                assert!(matches!(queue.pop(), Ok(Some(_))));
            }
            shared.store_u16(USED + 4 + 8 * 8, turns.wrapping_add(event));
            for expected in told.into_iter().take(8 / batch) {
                (0..batch).for_each(|_| queue.push(0));
                assert_eq!(
                    queue.publish(),
                    expected,
                    "event {event} in steps of {batch}"
                );
            }
        }
    }
}

#[test]
fn what_comes_back_between_the_last_look_and_arming_is_not_missed() {
    let (mut queue, shared) = queue(true);
    queue.push(0);
    queue.push(1);
    queue.publish();
    shared.hand_back(1, 1, 7);
    assert_eq!(queue.pop(), Ok(Some(Used { head: 1, len: 7 })));
    assert_eq!(queue.pop(), Ok(None));
    // The device hands back the other one now; its event is still the old one: no interrupt.
    shared.hand_back(2, 0, 9);
    assert!(queue.arm(), "it is ready already");
    assert_eq!(shared.load_u16(AVAIL + 4 + 2 * 8), 1, "used_event");
    assert_eq!(queue.pop(), Ok(Some(Used { head: 0, len: 9 })));
    assert!(!queue.arm());
    assert_eq!(shared.load_u16(AVAIL + 4 + 2 * 8), 2, "used_event");
}

#[test]
fn more_back_than_out_is_an_error() {
    let (mut queue, shared) = queue(false);
    queue.push(0);
    queue.publish();
    queue.push(1);
    // The second was not published: the device cannot have had it.
    shared.hand_back(2, 0, 0);
    assert_eq!(queue.pop(), Err(RingBroken));
    shared.hand_back(u16::MAX, 0, 0);
    assert_eq!(queue.pop(), Err(RingBroken));
    shared.hand_back(1, 0, 0);
    assert!(matches!(queue.pop(), Ok(Some(_))));
}

#[test]
fn chains_are_linked_and_end() {
    let (_, shared) = queue(false);
    let piece = |address, len| Piece { address, len };
    let mut chain = Chain::new(&shared, 0, 2);
    chain.push(piece(0x1111, 16), false);
    chain.push(piece(0x2222, 512), true);
    assert_eq!(chain.last(piece(0x3333, 1), true), 5);
    let raw = |index: usize| shared.bytes::<16>(16 * index);
    assert_eq!(raw(2), *b"\x11\x11\0\0\0\0\0\0\x10\0\0\0\x01\0\x03\0");
    assert_eq!(raw(3), *b"\x22\x22\0\0\0\0\0\0\0\x02\0\0\x03\0\x04\0");
    assert_eq!(raw(4), *b"\x33\x33\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0");
    Chain::new(&shared, 0, 7).indirect(piece(0x4444, 48));
    assert_eq!(raw(7), *b"\x44\x44\0\0\0\0\0\0\x30\0\0\0\x04\0\0\0");
}
