//! A page, and how it is shared.
//!
//! A page is handed down as a segment of a write while the cache goes on: so it is counted
//! ([`PageRef`]). Whoever finds himself the only holder may change it in place; a writer who finds
//! it on its way down changes a fresh copy instead, and what is on its way stays stable. The box
//! within the count keeps the page aligned (one segment for DMA) without padding the counters to a
//! page of their own.

use alloc::{boxed::Box, rc::Rc};

use crate::BLOCK_BYTES;

/// The bytes of a page, aligned so that a page is one frame of physical memory.
#[repr(align(4096))]
pub(super) struct Page(pub [u8; BLOCK_BYTES]);

/// A page that may be on its way down while the cache holds it.
pub(super) type PageRef = Rc<Box<Page>>;

/// A fresh page of zeros.
pub(super) fn zeroed() -> PageRef {
    Rc::new(Box::new(Page([0; BLOCK_BYTES])))
}

/// The page that byte `offset` of a file is in.
pub(super) fn page_of(offset: u64) -> u64 {
    offset / BLOCK_BYTES as u64
}

/// How many pages the first `size` bytes of a file are.
pub(super) fn pages_in(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64)
}

/// The byte of a file at which a page begins.
pub(super) fn start_of(page: u64) -> u64 {
    page * BLOCK_BYTES as u64
}
