//! Trees of files on the host: what is in them, as a tar, and as one checksum.
//!
//! The checksum is computed here by code that shares nothing with the guest's, so that the two agree only
//! if the guest stored what it was given.

mod checksum;
mod entries;
mod import;
mod made_up;
mod pack;

pub use self::checksum::checksum;
pub use self::entries::{Content, Entry, Tree};
pub use self::import::checked_import;
pub use self::made_up::made_up;
pub use self::pack::{pack, unpack};
