//! What a task finds when it starts: a read-only page with who it is, why, whom it may call, and how
//! to tell the time.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Scale;

/// Where the page with the [`StartInfo`] is mapped in every task.
pub const START_INFO_ADDRESS: u64 = 0x7000_0000_0000;

/// Bytes of argument text a task can be started with.
pub const ARGUMENTS_BYTES_MAX: usize = 1024;

/// Peers a task can be allowed to call.
pub const PEERS_MAX: usize = 16;

/// The name of a role or a program: up to 31 bytes of text, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Name {
    /// The text, then zeros.
    pub bytes: [u8; 32],
}

impl Name {
    /// The empty name.
    pub const EMPTY: Self = Self { bytes: [0; 32] };

    /// A name of this text, or nothing if it is longer than 31 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes[..31]
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self { bytes })
    }

    /// The text; a forged name that is not text reads as `?`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self
            .bytes
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.bytes.len());
        core::str::from_utf8(&self.bytes[..len]).unwrap_or("?")
    }
}

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a task starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Start {
    /// For the first time since boot.
    Fresh = 0,
    /// In the place of an instance that died.
    Restart = 1,
}

/// A role that the task may call.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Peer {
    /// Its name, such as `twinfs.0`.
    pub name: Name,
    /// Its number, what [`crate::CallDescriptor::callee`] takes.
    pub role: u64,
}

impl Peer {
    /// No peer.
    pub const NONE: Self = Self {
        name: Name::EMPTY,
        role: 0,
    };
}

/// Who the task is, why it starts, whom it may call, and what it was told.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct StartInfo {
    /// The task's own role.
    pub name: Name,
    /// The task's own role number.
    pub role: u64,
    /// Counts the instances of the role, from one.
    pub generation: u64,
    /// A [`Start`] as a number.
    pub start: u64,
    /// From the processor's time-stamp counter, which the task reads itself, to the monotonic time.
    pub clock: Scale,
    /// Nanoseconds from the Unix epoch to boot.
    pub epoch_ns: u64,
    /// How many of `peers` are in use.
    pub peer_count: u64,
    /// Whom the task may call.
    pub peers: [Peer; PEERS_MAX],
    /// Bytes of `arguments` in use.
    pub arguments_len: u64,
    /// Text from the stack description, for instance `device=0 offset=16`.
    pub arguments: [u8; ARGUMENTS_BYTES_MAX],
}
