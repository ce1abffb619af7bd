//! The storage stack on a host.
//!
//! - [`ImageFile`]: a disk that is a file.
//! - [`SystemClock`]: the host's time.
#![forbid(unsafe_code)]

mod clock;
mod group;
mod image;
mod life;

pub use clock::SystemClock;
pub use group::{Disk, DriverLink, Group, LogicalLink, StoreLink};
pub use image::ImageFile;
pub use life::{Kill, Moment, Victim};
