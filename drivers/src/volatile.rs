//! Loads and stores into memory that hardware shares: registers, and DMA memory.
//!
//! There are no references into such memory, only single accesses, each checked against the bounds
//! and its alignment. An access outside is a broken invariant of the driver and panics.

use core::ptr::NonNull;

/// A range of memory that hardware may read and write at any time.
#[derive(Debug)]
pub struct Volatile {
    start: NonNull<u8>,
    len: usize,
}

/// A pointer to memory that the kernel has mapped, unless the address is zero.
#[must_use]
pub fn pointer(address: u64) -> Option<NonNull<u8>> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize))
}

/// What can be loaded and stored at once.
pub trait Word: Copy + sealed::Sealed {}

mod sealed {
    /// Plain numbers: every bit pattern is a value.
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ty),+) => { $(impl sealed::Sealed for $word {} impl Word for $word {})+ };
}
words!(u8, u16, u32, u64);

impl Volatile {
    /// The range of `len` bytes at `start`.
    ///
    /// # Safety
    ///
    /// The range must be mapped, writable, for the rest of the task's life, and no Rust reference
    /// may ever point into it.
    #[must_use]
    pub unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// Bytes in the range.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of the range, if it is inside.
    #[must_use]
    pub fn part(&self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: it lies inside a range for which the caller of `new` promised the same.
        Some(unsafe { Self::new(self.start.add(offset), len) })
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        let fits = offset
            .checked_add(size_of::<T>())
            .is_some_and(|end| end <= self.len);
        assert!(fits, "an access at {offset} outside {} bytes", self.len);
        // SAFETY: the offset was just checked against the length of the range.
        let place = unsafe { self.start.add(offset) }.cast::<T>();
        assert!(place.is_aligned(), "a misaligned access at {offset}");
        place.as_ptr()
    }

    /// Loads a word, once.
    #[must_use]
    #[inline]
    pub fn load<T: Word>(&self, offset: usize) -> T {
        // SAFETY: `place` checked bounds and alignment, `new`'s caller promised mapped memory, and
        // any bits are a value of a `Word`.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Stores a word, once.
    #[inline]
    pub fn store<T: Word>(&self, offset: usize, value: T) {
        // SAFETY: `place` checked bounds and alignment, `new`'s caller promised writable memory
        // into which no reference points.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }

    /// Copies out, in words as far as possible.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let (words, rest) = into.as_chunks_mut::<8>();
        let tail = offset + 8 * words.len();
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.load::<u64>(offset + 8 * index).to_le_bytes();
        }
        for (index, byte) in rest.iter_mut().enumerate() {
            *byte = self.load(tail + index);
        }
    }

    /// Copies in, in words as far as possible.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let (words, rest) = from.as_chunks::<8>();
        let tail = offset + 8 * words.len();
        for (index, word) in words.iter().enumerate() {
            self.store(offset + 8 * index, u64::from_le_bytes(*word));
        }
        for (index, byte) in rest.iter().enumerate() {
            self.store(tail + index, *byte);
        }
    }
}
