//! Which logical file number a new file gets.
//!
//! The lower layers know which numbers are in use; a window of that bitmap is here, and the next
//! one is read when it is used up, round and round. Numbers freed since the last checkpoint count
//! as used until the next: after a crash the old file may be there again, and nothing may be left
//! that meant the new one.

use alloc::{boxed::Box, collections::BTreeMap};

use crate::{
    Error, Result,
    buffer::Sink,
    file::{FileNumber, FileService},
};

/// Bytes of bitmap in a window.
const WINDOW_BYTES: usize = 4096;
/// Numbers in a window.
const WINDOW_NUMBERS: u64 = WINDOW_BYTES as u64 * 8;
/// Most windows that are looked through for one number: 2^31 files.
const WINDOWS_MAX: u64 = 1 << 16;

type Bits = Box<[u8; WINDOW_BYTES]>;

fn no_bits() -> Bits {
    Box::new([0; WINDOW_BYTES])
}

/// The allocator.
pub struct Numbers {
    /// The first number that may be given.
    lowest: u64,
    /// Which window `used` is.
    window: u64,
    /// In use, or not to be used before the next checkpoint.
    used: Bits,
    /// No number before this bit of the window is free.
    cursor: usize,
    /// Freed since the last checkpoint, by window.
    freed: BTreeMap<u64, Bits>,
}

impl Numbers {
    /// Reads the first window.
    pub async fn load<F: FileService>(below: &F, lowest: FileNumber) -> Result<Self> {
        let mut numbers = Self {
            lowest: lowest.0,
            window: lowest.0 / WINDOW_NUMBERS,
            used: no_bits(),
            cursor: 0,
            freed: BTreeMap::new(),
        };
        let (used, _) = numbers.read(below, numbers.window).await?;
        numbers.used = used;
        Ok(numbers)
    }

    /// Takes a free number. `numbers` is only borrowed between the calls to `below`; the caller
    /// lets no other allocation run meanwhile.
    pub async fn allocate<F: FileService>(
        numbers: &core::cell::RefCell<Self>,
        below: &F,
    ) -> Result<FileNumber> {
        let first_window = numbers.borrow().lowest / WINDOW_NUMBERS;
        let mut wrapped = false;
        for _ in 0..WINDOWS_MAX {
            if let Some(number) = numbers.borrow_mut().take() {
                return Ok(number);
            }
            let mut next = numbers.borrow().window + 1;
            let mut read = Self::read_window(below, next).await?;
            if read.1 == 0 && !wrapped {
                // Beyond the last number in use. Lower ones may have become free: they come first,
                // so that what is indexed by number stays small.
                wrapped = true;
                next = first_window;
                read = Self::read_window(below, next).await?;
            }
            let mut numbers = numbers.borrow_mut();
            numbers.mask(next, &mut read.0);
            numbers.window = next;
            numbers.used = read.0;
            numbers.cursor = 0;
        }
        Err(Error::NoSpace)
    }

    /// Gives back a number whose file was not created after all.
    pub fn give_back(&mut self, number: FileNumber) {
        if number.0 / WINDOW_NUMBERS == self.window {
            let bit = (number.0 % WINDOW_NUMBERS) as usize;
            self.used[bit / 8] &= !(1 << (bit % 8));
            self.cursor = self.cursor.min(bit);
        }
    }

    /// Notes that the file of this number was deleted.
    pub fn free(&mut self, number: FileNumber) {
        let bit = (number.0 % WINDOW_NUMBERS) as usize;
        let window = self
            .freed
            .entry(number.0 / WINDOW_NUMBERS)
            .or_insert_with(no_bits);
        window[bit / 8] |= 1 << (bit % 8);
    }

    /// Notes that the file of this number could not be deleted after all.
    pub fn keep(&mut self, number: FileNumber) {
        let bit = (number.0 % WINDOW_NUMBERS) as usize;
        if let Some(window) = self.freed.get_mut(&(number.0 / WINDOW_NUMBERS)) {
            window[bit / 8] &= !(1 << (bit % 8));
        }
    }

    /// Notes that a checkpoint was made: what was freed before it can be used again.
    pub fn checkpoint(&mut self) {
        if let Some(freed) = self.freed.get(&self.window) {
            for (used, freed) in self.used.iter_mut().zip(freed.iter()) {
                *used &= !freed;
            }
            self.cursor = 0;
        }
        self.freed.clear();
    }

    /// The first free number of the window, which is then used.
    fn take(&mut self) -> Option<FileNumber> {
        let bytes = &self.used[self.cursor / 8..];
        let Some(byte) = bytes.iter().position(|&byte| byte != u8::MAX) else {
            self.cursor = WINDOW_BYTES * 8 - 1;
            return None;
        };
        let byte = self.cursor / 8 + byte;
        let bit = byte * 8 + self.used[byte].trailing_ones() as usize;
        self.used[byte] |= 1 << (bit % 8);
        self.cursor = bit;
        Some(FileNumber(self.window * WINDOW_NUMBERS + bit as u64))
    }

    async fn read<F: FileService>(&self, below: &F, window: u64) -> Result<(Bits, usize)> {
        let mut read = Self::read_window(below, window).await?;
        self.mask(window, &mut read.0);
        Ok(read)
    }

    /// A window as the layers below have it, and how many bytes of it carry information.
    async fn read_window<F: FileService>(below: &F, window: u64) -> Result<(Bits, usize)> {
        let mut bits = no_bits();
        let first = FileNumber(window * WINDOW_NUMBERS);
        let known = below.numbers(first, Sink::local(&mut bits[..])).await?;
        bits.get_mut(known..).ok_or(Error::Protocol)?.fill(0);
        Ok((bits, known))
    }

    /// Marks as used what must not be given: reserved numbers, and those freed since the last
    /// checkpoint.
    fn mask(&self, window: u64, bits: &mut Bits) {
        let first = window * WINDOW_NUMBERS;
        for reserved in first..self.lowest.clamp(first, first + WINDOW_NUMBERS) {
            let bit = (reserved - first) as usize;
            bits[bit / 8] |= 1 << (bit % 8);
        }
        if let Some(freed) = self.freed.get(&window) {
            for (used, freed) in bits.iter_mut().zip(freed.iter()) {
                *used |= freed;
            }
        }
    }
}
