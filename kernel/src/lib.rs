//! The kernel's pure parts: what can be decided without touching hardware, and so be tested on a
//! host. The image around them (`main.rs`) boots, maps, switches and enforces.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod archive;
pub mod calls;
pub mod frames;
pub mod image;
pub mod log_ring;
pub mod pins;
pub mod run_queue;

/// Bytes of a page, as addresses are counted.
pub const PAGE: u64 = abi::PAGE_BYTES as u64;

/// A set of roles, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleSet(pub u64);

impl RoleSet {
    /// The set of one role.
    #[must_use]
    pub fn of(role: usize) -> Self {
        Self(1 << role)
    }

    /// Adds a role.
    pub fn insert(&mut self, role: usize) {
        self.0 |= 1 << role;
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes the lowest role out.
    pub fn pop(&mut self) -> Option<usize> {
        let role = self.0.trailing_zeros() as usize;
        if role == 64 {
            return None;
        }
        self.0 &= self.0 - 1;
        Some(role)
    }
}
