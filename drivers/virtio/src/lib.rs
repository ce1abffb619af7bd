//! The core of the virtio-blk driver: everything but the hardware.
//!
//! ```text
//!      driver    BlockDevice: checks requests, pins their data, waits for them; resets and retries
//!      transfer  one accepted request: its pinned pieces, how many of its parts are under way
//!      slot      one request as the device reads it: header, descriptor table, status
//!      queue     the split virtqueue: descriptors, available ring, used ring
//!      limits    what was negotiated
//!      platform  what it stands on: DMA memory, pins (and `virtio_drivers`' `Transport`)
//! ```
//!
//! The hardware is behind two traits: `virtio_drivers::transport::Transport` for the registers, and
//! [`Platform`] for memory. So the whole driver runs on a host against a simulated device, which
//! may misbehave as no emulator would. It knows no executor either: the placing task calls
//! [`Driver::turn`] when an interrupt came, when it was woken, or when the time named by the last
//! turn has come.
//!
//! *Why not `virtio_drivers`' own `VirtQueue`?* It takes slices, and a slice of memory that is not
//! mapped here (pinned pages of another task) cannot be made soundly. It also panics on descriptor
//! chains it did not expect, allocates an indirect table for every request, and publishes one
//! request at a time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod block;
mod bounce;
mod driver;
mod limits;
mod lookout;
mod pieces;
mod platform;
mod queue;
mod reset;
mod slot;
mod transfer;
mod wait;

pub use driver::{Driver, Options, Turn};
pub use limits::{Features, Limits};
pub use pieces::{PIECES_MAX, Piece, Pieces};
pub use platform::{DmaMemory, OutOfMemory, Platform};
pub use reset::Fault;

/// Most bytes of one request: as many pages as a grant has segments.
pub const TRANSFER_BYTES_MAX: usize = 64 * 4096;

/// Most requests the device is given at a time.
pub const DEPTH_MAX: u16 = 128;
