//! A virtio block device, written from the specification (virtio 1.2) and not from the driver.
//!
//! It checks what a driver must do, serves requests in any order, tells the driver only when
//! asked to, looks at the ring only when notified, and misbehaves on demand.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use super::machine::Machine;

pub const INDIRECT: u64 = 1 << 28;
pub const EVENT_IDX: u64 = 1 << 29;
pub const VERSION_1: u64 = 1 << 32;
pub const SIZE_MAX: u64 = 1 << 1;
pub const SEG_MAX: u64 = 1 << 2;
pub const RO: u64 = 1 << 5;
pub const BLK_SIZE: u64 = 1 << 6;
pub const FLUSH: u64 = 1 << 9;
pub const DISCARD: u64 = 1 << 13;
pub const WRITE_ZEROES: u64 = 1 << 14;
pub const ALL: u64 = INDIRECT
    | EVENT_IDX
    | VERSION_1
    | SIZE_MAX
    | SEG_MAX
    | BLK_SIZE
    | FLUSH
    | DISCARD
    | WRITE_ZEROES;

/// What the device does to a request instead of serving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, ever.
    Silence,
    /// This status; the data are not moved.
    Status(u8),
    /// All is well, but it says that it wrote this many bytes more (or fewer).
    Length(i32),
    /// It hands back this descriptor instead.
    Head(u32),
    /// It hands the request back twice.
    Twice,
    /// It moves the used index by this much more.
    Jump(u16),
    /// It says that it needs a reset.
    NeedsReset,
}

/// The device, as its own side sees it.
pub struct Device {
    machine: Rc<Machine>,
    pub disk: Vec<u8>,
    /// What it offers.
    pub features: u64,
    pub size_max: u32,
    pub seg_max: u32,
    pub block: u32,
    pub queue_max: u32,
    /// Most sectors in a discard or write-zeroes.
    pub range_max: u32,
    /// It refuses FEATURES_OK.
    pub refuses_features: bool,
    /// It refuses to enable the queue.
    pub refuses_queue: bool,
    /// It does not finish a reset.
    pub hangs_in_reset: bool,
    /// Looks at the status during a reset that do not see it finished yet.
    pub reset_looks: u32,
    /// For the next requests, in the order in which they are served.
    pub faults: VecDeque<Option<Fault>>,
    /// For all requests after those.
    pub always: Option<Fault>,
    /// Serves no request while set.
    pub paused: bool,
    /// Serves requests in the order in which they came.
    pub in_order: bool,

    pub(super) accepted: u64,
    pub(super) status: u8,
    pub(super) looks_left: u32,
    pub(super) queue: Option<[u64; 4]>,
    pub(super) available: u16,
    pub(super) used: u16,
    pub(super) notified: bool,
    pub(super) waiting: Vec<u16>,
    random: u64,

    /// Interrupts that wait to be taken: for the queue, for the configuration.
    pub interrupts: (bool, bool),
    /// Notifications so far.
    pub notifications: u64,
    /// Requests taken out of the ring so far, by type.
    pub served: Vec<u32>,
    /// Resets so far.
    pub resets: u32,
}

impl Device {
    pub fn new(machine: &Rc<Machine>, sectors: usize, features: u64) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            machine: machine.clone(),
            disk: vec![0xee; sectors * 512],
            features,
            size_max: 1 << 20,
            seg_max: 126,
            block: 512,
            queue_max: 256,
            range_max: 64,
            refuses_features: false,
            refuses_queue: false,
            hangs_in_reset: false,
            reset_looks: 2,
            faults: VecDeque::new(),
            always: None,
            paused: false,
            in_order: false,
            accepted: 0,
            // As an earlier instance of the driver left it.
            status: 15,
            looks_left: 0,
            queue: None,
            available: 0,
            used: 0,
            notified: false,
            waiting: Vec::new(),
            random: 42,
            interrupts: (false, false),
            notifications: 0,
            served: Vec::new(),
            resets: 0,
        }))
    }

    fn u16_at(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.machine.device_read(address, 2).try_into().unwrap())
    }

    /// Takes what is new in the available ring, if it was notified, and serves a few requests in
    /// an order of its own. Whether anything happened.
    pub fn step(&mut self) -> bool {
        let Some([size, descriptors, driver, device]) = self.queue else {
            return false;
        };
        if self.status & 4 == 0 || self.paused {
            return false;
        }
        if std::mem::take(&mut self.notified) {
            let end = self.u16_at(driver + 2);
            let fresh = end.wrapping_sub(self.available);
            assert!(
                u64::from(fresh) + self.waiting.len() as u64 <= size,
                "more than the queue holds"
            );
            while self.available != end {
                let at = driver + 4 + 2 * (u64::from(self.available) % size);
                self.waiting.push(self.u16_at(at));
                self.available = self.available.wrapping_add(1);
            }
            if self.accepted & EVENT_IDX != 0 {
                let at = device + 4 + 8 * size;
                self.machine.device_write(at, &self.available.to_le_bytes());
                // More may have come before the driver could see that it must notify.
                self.notified = self.u16_at(driver + 2) != self.available;
            }
        }
        let mut any = false;
        for _ in 0..3 {
            if self.waiting.is_empty() {
                break;
            }
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let index = (self.random >> 33) as usize % self.waiting.len();
            let head = self.waiting.remove(if self.in_order { 0 } else { index });
            any |= self.serve(head, size, descriptors, driver, device);
        }
        any
    }

    fn serve(&mut self, head: u16, size: u64, descriptors: u64, driver: u64, device: u64) -> bool {
        let fault = self.faults.pop_front().unwrap_or(self.always);
        match fault {
            Some(Fault::Silence) => return false,
            Some(Fault::NeedsReset) => {
                self.status |= 64;
                self.interrupts.1 = true;
                return true;
            }
            _ => {}
        }
        let chain = self.chain(head, size, descriptors);
        let status = match fault {
            Some(Fault::Status(status)) => Some(status),
            _ => None,
        };
        let written = self.request(&chain, status);
        let len = match fault {
            Some(Fault::Length(more)) => written.wrapping_add_signed(more),
            _ => written,
        };
        let id = match fault {
            Some(Fault::Head(head)) => head,
            _ => head.into(),
        };
        let before = self.used;
        for _ in 0..if fault == Some(Fault::Twice) { 2 } else { 1 } {
            let at = device + 4 + 8 * (u64::from(self.used) % size);
            self.machine.device_write(at, &id.to_le_bytes());
            self.machine.device_write(at + 4, &len.to_le_bytes());
            self.used = self.used.wrapping_add(1);
        }
        if let Some(Fault::Jump(by)) = fault {
            self.used = self.used.wrapping_add(by);
        }
        self.machine
            .device_write(device + 2, &self.used.to_le_bytes());
        // 2.7.7.2: interrupt if the used index has passed used_event; or unless told not to.
        let wanted = if self.accepted & EVENT_IDX != 0 {
            let event = self.u16_at(driver + 4 + 2 * size);
            let moved = self.used.wrapping_sub(before);
            self.used.wrapping_sub(event).wrapping_sub(1) < moved
        } else {
            self.u16_at(driver) & 1 == 0
        };
        self.interrupts.0 |= wanted;
        true
    }

    /// The memory of a chain: address, length, whether the device writes it.
    fn chain(&self, head: u16, size: u64, descriptors: u64) -> Vec<(u64, u32, bool)> {
        let (mut table, mut count, mut next) = (descriptors, size, u64::from(head));
        let mut chain = Vec::new();
        let mut indirect = false;
        loop {
            assert!(next < count, "a descriptor outside its table");
            let raw = self.machine.device_read(table + 16 * next, 16);
            let address = u64::from_le_bytes(raw[..8].try_into().unwrap());
            let len = u32::from_le_bytes(raw[8..12].try_into().unwrap());
            let flags = u16::from_le_bytes(raw[12..14].try_into().unwrap());
            if flags & 4 != 0 {
                assert!(
                    self.accepted & INDIRECT != 0,
                    "a table that was not negotiated"
                );
                assert!(
                    flags == 4 && !indirect && chain.is_empty(),
                    "a table inside a chain"
                );
                assert!(len > 0 && len.is_multiple_of(16), "a table of odd length");
                indirect = true;
                (table, count, next) = (address, u64::from(len / 16), 0);
                continue;
            }
            assert!(len > 0, "an empty descriptor");
            chain.push((address, len, flags & 2 != 0));
            assert!(chain.len() as u64 <= size, "a chain longer than the queue");
            if flags & 1 == 0 {
                break;
            }
            next = u16::from_le_bytes(raw[14..16].try_into().unwrap()).into();
        }
        let first_written = chain.iter().position(|part| part.2).unwrap_or(chain.len());
        assert!(
            chain[first_written..].iter().all(|part| part.2),
            "read parts after written ones"
        );
        chain
    }

    /// Serves a request (5.2.6); returns how many bytes were written.
    fn request(&mut self, chain: &[(u64, u32, bool)], status: Option<u8>) -> u32 {
        let header = self.machine.device_read(chain[0].0, 16);
        assert!(chain[0].1 == 16 && !chain[0].2, "no header");
        let kind = u32::from_le_bytes(header[..4].try_into().unwrap());
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap());
        let (&(status_at, status_len, status_written), data) = chain[1..].split_last().unwrap();
        assert!(status_len == 1 && status_written, "no status");
        self.served.push(kind);
        if self.accepted & SEG_MAX != 0 {
            assert!(
                data.len() <= self.seg_max as usize,
                "more than seg_max segments"
            );
        }
        if self.accepted & SIZE_MAX != 0 && kind <= 1 {
            assert!(
                data.iter().all(|part| part.1 <= self.size_max),
                "longer than size_max"
            );
        }
        let bytes: u32 = data.iter().map(|part| part.1).sum();
        let mut written = 1;
        if status.is_none() {
            match kind {
                0 | 1 => {
                    assert!(
                        bytes > 0 && bytes.is_multiple_of(self.block),
                        "a part of a block"
                    );
                    assert!(
                        (sector * 512).is_multiple_of(self.block.into()),
                        "off its place"
                    );
                    let mut at = sector as usize * 512;
                    for &(address, len, write) in data {
                        assert_eq!(write, kind == 0, "data in the wrong direction");
                        let place = at..at + len as usize;
                        if kind == 0 {
                            self.machine.device_write(address, &self.disk[place]);
                            written += len;
                        } else {
                            assert!(self.features & RO == 0, "a write to a read-only device");
                            let from = self.machine.device_read(address, len as usize);
                            self.disk[place].copy_from_slice(&from);
                        }
                        at += len as usize;
                    }
                }
                4 => assert!(data.is_empty() && sector == 0 && self.accepted & FLUSH != 0),
                11 | 13 => {
                    let feature = if kind == 11 { DISCARD } else { WRITE_ZEROES };
                    assert!(
                        self.accepted & feature != 0,
                        "a request that was not negotiated"
                    );
                    assert!(bytes == 16 && !data[0].2, "one range");
                    let range = self.machine.device_read(data[0].0, 16);
                    let first = u64::from_le_bytes(range[..8].try_into().unwrap()) as usize;
                    let count = u32::from_le_bytes(range[8..12].try_into().unwrap());
                    let block = self.block as usize / 512;
                    assert!(first.is_multiple_of(block) && (count as usize).is_multiple_of(block));
                    let flags = u32::from_le_bytes(range[12..].try_into().unwrap());
                    assert!(
                        count > 0 && count <= self.range_max && flags == 0,
                        "a bad range"
                    );
                    let fill = if kind == 11 { 0xdd } else { 0 };
                    self.disk[first * 512..(first + count as usize) * 512].fill(fill);
                }
                _ => panic!("an unknown request {kind}"),
            }
        }
        self.machine.device_write(status_at, &[status.unwrap_or(0)]);
        written
    }
}
