//! Memory that outlives the instance that writes it (`DESIGN.md`, section 3), and records in it.
//!
//! A layer that keeps its state there is rebuilt after its own death: [`Memory`] is where, in the guest the
//! role's memory that the kernel keeps, on a host [`Heap`]; [`Table`] keeps records of a fixed size in
//! such pages, each of which is either as it was before the last update or as it is after, whenever
//! the instance dies.
//!
//! The instance that dies may have written anywhere first. So whoever finds the memory treats it as
//! untrusted input: what was being changed when the instance died is told from what was changed by
//! mistake, and the latter is reported as lost, never taken for an older version.

mod heap;
mod table;

use core::{
    ops::{Deref, DerefMut},
    sync::atomic::{Ordering, compiler_fence},
};

use xxhash_rust::xxh64::xxh64;
use zerocopy::IntoBytes;

pub use heap::{Heap, HeapPage};
pub use table::{Found, Opened, RecordId, Table};

use crate::BLOCK_BYTES;

/// Bytes of a word: what [`Memory::store`] stores at once.
pub const WORD_BYTES: usize = 8;

/// Words in a page.
pub const PAGE_WORDS: usize = BLOCK_BYTES / WORD_BYTES;

/// Memory that outlives the instance that writes it, in pages counted from zero. Clones are the same
/// memory, seen by the same instance.
pub trait Memory: Clone {
    /// A page, held by nobody else while this lives. Its first content is zero.
    type Page: Deref<Target = [u8; BLOCK_BYTES]> + DerefMut + 'static;

    /// How many pages earlier instances have left. They are those with the lowest numbers.
    fn left(&self) -> usize;

    /// The page of a number; the memory grows to have it. `None` if somebody holds it, or if there is no
    /// memory for it.
    fn page(&self, index: usize) -> Option<Self::Page>;

    /// Stores a word, in the order of the program: an instance that dies has made all stores before
    /// some point, and none after it. Plain writes to a page have no such order among themselves.
    fn store(&self, page: &mut Self::Page, word: usize, value: u64) {
        ordered();
        let at = word * WORD_BYTES;
        page[at..at + WORD_BYTES].copy_from_slice(&value.to_le_bytes());
        ordered();
    }
}

/// All that was written to memory before is written before all that is written after.
///
/// One thread writes, and it is the same one that is stopped: so it is the compiler alone that could
/// change the order.
fn ordered() {
    compiler_fence(Ordering::SeqCst);
}

/// The checksum of these words: XXH64 of their bytes. Whatever changes a single word changes it, and of changes
/// of several it misses one in 2^64.
#[must_use]
pub fn digest(seed: u64, words: &[u64]) -> u64 {
    xxh64(words.as_bytes(), seed)
}

/// A word of a page.
#[must_use]
pub fn word(page: &[u8; BLOCK_BYTES], index: usize) -> u64 {
    let mut bytes = [0; WORD_BYTES];
    bytes.copy_from_slice(&page[index * WORD_BYTES..][..WORD_BYTES]);
    u64::from_le_bytes(bytes)
}
