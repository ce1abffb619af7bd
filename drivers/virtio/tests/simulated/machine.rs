//! Memory of a machine that does not exist: who may touch what is checked at every access.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use storage::{
    Error, Result,
    buffer::{Lent, LentMemory, Side},
};
use virtio::{DmaMemory, OutOfMemory, Piece, Pieces, Platform};

/// Bus addresses start here, so that none is mistaken for an offset.
const BUS_BASE: u64 = 0x7_0000_0000;
const PAGE: usize = 4096;

/// Memory, what the device may reach of it, and what tasks have lent.
pub struct Machine {
    pub bytes: RefCell<Vec<u8>>,
    next: Cell<usize>,
    /// Allocated for DMA: start, length.
    dma: RefCell<Vec<(usize, usize)>>,
    /// Pinned, by token: start, length.
    pinned: RefCell<BTreeMap<u64, Vec<(usize, usize)>>>,
    tokens: Cell<u64>,
    /// Whether the driver said that the device is quiet.
    pub quiesced: Cell<bool>,
    /// Pages that may still be allocated.
    pub pages_left: Cell<usize>,
}

impl Machine {
    pub fn new() -> Rc<Self> {
        let bytes = 24 << 20;
        Rc::new(Self {
            bytes: RefCell::new(vec![0; bytes]),
            next: Cell::new(0),
            dma: RefCell::default(),
            pinned: RefCell::default(),
            tokens: Cell::new(1),
            quiesced: Cell::new(false),
            pages_left: Cell::new(bytes / PAGE),
        })
    }

    fn take_pages(&self, pages: usize) -> Option<usize> {
        self.pages_left
            .set(self.pages_left.get().checked_sub(pages)?);
        let start = self.next.get();
        self.next.set(start + pages * PAGE);
        Some(start)
    }

    /// Tokens with pinned memory.
    pub fn pinned_tokens(&self) -> usize {
        self.pinned.borrow().len()
    }

    /// Where a bus address is, if the device may reach all of the range.
    fn reach(&self, address: u64, len: usize) -> usize {
        let start = address.checked_sub(BUS_BASE).expect("no such bus address") as usize;
        let within =
            |&(first, size): &(usize, usize)| start >= first && start + len <= first + size;
        // Pieces that are merged may cross from one pinned page to the next.
        let covered = (start..start + len)
            .step_by(PAGE)
            .chain([start + len - 1])
            .all(|byte| {
                let holds = |&(first, size): &(usize, usize)| (first..first + size).contains(&byte);
                self.dma.borrow().iter().any(holds)
                    || self.pinned.borrow().values().flatten().any(holds)
            });
        let dma = self.dma.borrow().iter().any(within);
        assert!(
            dma || covered,
            "the device reaches {address:#x}, which is not its own"
        );
        start
    }

    /// The device reads.
    pub fn device_read(&self, address: u64, len: usize) -> Vec<u8> {
        let start = self.reach(address, len);
        self.bytes.borrow()[start..start + len].to_vec()
    }

    /// The device writes.
    pub fn device_write(&self, address: u64, from: &[u8]) {
        let start = self.reach(address, from.len());
        self.bytes.borrow_mut()[start..start + from.len()].copy_from_slice(from);
    }

    /// A task lends a buffer of these segment lengths (each in pages of its own that are not
    /// neighbours), the first byte of each at `offset` of its page.
    pub fn lend(self: &Rc<Self>, lens: &[usize], offset: usize) -> Loan {
        let mut pages = Vec::new();
        for &len in lens {
            let mut rest = len;
            let mut skip = offset;
            while rest > 0 {
                // A gap between any two pages: nothing may rely on neighbours.
                let start = self.take_pages(2).expect("room in the machine");
                let here = rest.min(PAGE - skip);
                pages.push((start + skip, here));
                rest -= here;
                skip = 0;
            }
        }
        let token = self.tokens.get();
        self.tokens.set(token + 1);
        Loan {
            machine: self.clone(),
            token,
            pages,
            ended: Cell::new(false),
        }
    }
}

/// Memory lent with a request.
pub struct Loan {
    machine: Rc<Machine>,
    token: u64,
    /// Start, length.
    pages: Vec<(usize, usize)>,
    /// The request has ended: its caller died.
    pub ended: Cell<bool>,
}

impl Loan {
    pub fn len(&self) -> usize {
        self.pages.iter().map(|&(_, len)| len).sum()
    }

    pub fn lent(&self, side: Side, offset: usize, len: usize) -> Lent<'_> {
        Lent {
            memory: self,
            side,
            offset,
            len,
        }
    }

    pub fn fill(&self, bytes: &[u8]) {
        self.copy_to(0, bytes).expect("fits");
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_from(Side::Receive, 0, &mut bytes).expect("fits");
        bytes
    }

    /// The parts of the pages that `len` bytes from `offset` are.
    fn parts(&self, offset: usize, len: usize) -> Vec<(usize, usize)> {
        let (mut skip, mut want) = (offset, len);
        let mut parts = Vec::new();
        for &(start, size) in &self.pages {
            let here = size.saturating_sub(skip).min(want);
            if here > 0 {
                parts.push((start + skip, here));
            }
            skip = skip.saturating_sub(size);
            want -= here;
        }
        assert_eq!(want, 0, "beyond the loan");
        parts
    }
}

impl LentMemory for Loan {
    fn copy_from(&self, _: Side, offset: usize, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        for (start, len) in self.parts(offset, into.len()) {
            into[done..done + len]
                .copy_from_slice(&self.machine.bytes.borrow()[start..start + len]);
            done += len;
        }
        Ok(())
    }
    fn copy_to(&self, offset: usize, from: &[u8]) -> Result<()> {
        let mut done = 0;
        for (start, len) in self.parts(offset, from.len()) {
            let mut bytes = self.machine.bytes.borrow_mut();
            bytes[start..start + len].copy_from_slice(&from[done..done + len]);
            done += len;
        }
        Ok(())
    }
    fn token(&self) -> u64 {
        self.token
    }
}

/// The machine as the driver's platform. The loans that can be pinned are registered by token.
pub struct Pins {
    pub machine: Rc<Machine>,
    pub loans: Rc<RefCell<BTreeMap<u64, Rc<Loan>>>>,
}

impl Platform for Pins {
    type Memory = Memory;

    fn allocate(&self, bytes: usize) -> std::result::Result<Memory, OutOfMemory> {
        assert!(
            self.machine.quiesced.get(),
            "DMA memory before the device was seen to be quiet"
        );
        let pages = bytes.div_ceil(PAGE);
        let start = self.machine.take_pages(pages).ok_or(OutOfMemory)?;
        self.machine.dma.borrow_mut().push((start, pages * PAGE));
        Ok(Memory {
            machine: self.machine.clone(),
            start,
            len: pages * PAGE,
        })
    }

    fn pin(&self, lent: &Lent<'_>, pieces: &mut Pieces) -> Result<()> {
        let token = lent.memory.token();
        let loan = self
            .loans
            .borrow()
            .get(&token)
            .cloned()
            .ok_or(Error::PeerDied)?;
        if loan.ended.get() {
            return Err(Error::PeerDied);
        }
        for (start, len) in loan.parts(lent.offset, lent.len) {
            self.machine
                .pinned
                .borrow_mut()
                .entry(token)
                .or_default()
                .push((start, len));
            let piece = Piece {
                address: BUS_BASE + start as u64,
                len: len as u32,
            };
            if !pieces.push(piece) {
                return Err(Error::NoMemory);
            }
        }
        Ok(())
    }

    fn unpin(&self, token: u64) {
        self.machine.pinned.borrow_mut().remove(&token);
    }

    fn quiesced(&self) -> std::result::Result<(), OutOfMemory> {
        assert!(!self.machine.quiesced.replace(true), "told twice");
        Ok(())
    }
}

/// DMA memory.
pub struct Memory {
    machine: Rc<Machine>,
    start: usize,
    len: usize,
}

impl Memory {
    fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(
            offset + N <= self.len && offset.is_multiple_of(N),
            "a bad access at {offset}"
        );
        self.machine.bytes.borrow()[self.start + offset..][..N]
            .try_into()
            .unwrap()
    }

    fn put<const N: usize>(&self, offset: usize, bytes: [u8; N]) {
        assert!(
            offset + N <= self.len && offset.is_multiple_of(N),
            "a bad access at {offset}"
        );
        self.machine.bytes.borrow_mut()[self.start + offset..][..N].copy_from_slice(&bytes);
    }
}

impl DmaMemory for Memory {
    fn bus_address(&self) -> u64 {
        BUS_BASE + self.start as u64
    }
    fn len(&self) -> usize {
        self.len
    }
    fn load_u8(&self, offset: usize) -> u8 {
        u8::from_le_bytes(self.get(offset))
    }
    fn load_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }
    fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.get(offset))
    }
    fn store_u8(&self, offset: usize, value: u8) {
        self.put(offset, value.to_le_bytes());
    }
    fn store_u16(&self, offset: usize, value: u16) {
        self.put(offset, value.to_le_bytes());
    }
    fn store_u32(&self, offset: usize, value: u32) {
        self.put(offset, value.to_le_bytes());
    }
    fn store_u64(&self, offset: usize, value: u64) {
        self.put(offset, value.to_le_bytes());
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        let start = self.start + offset;
        into.copy_from_slice(&self.machine.bytes.borrow()[start..start + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        let start = self.start + offset;
        self.machine.bytes.borrow_mut()[start..start + from.len()].copy_from_slice(from);
    }
}
