//! The storage stack on a host.
//!
//! - [`ImageFile`]: a disk that is a file.
//! - [`SystemClock`]: the host's time.
//! - [`System`]: naming over the cache over a logical layer, in one process.
//! - [`Group`]: the layers below the cache as if each were a task, to be killed at any message.
//!
//! The whole stack over images, for a program that reads or makes volumes:
//!
//! ```no_run
//! # use storage_host::{ImageFile, SystemClock, stack};
//! # use storage::vfs::FileSystem;
//! let disks = ["left.img", "right.img"].map(|path| ImageFile::open(path).ok());
//! let system = stack(disks, SystemClock);
//! let status = system.run(system.client(0).statfs());
//! ```
#![forbid(unsafe_code)]

mod clock;
mod group;
mod image;
mod life;
mod system;

pub use clock::SystemClock;
pub use group::{Disk, DriverLink, Group, LogicalLink, StoreLink};
pub use image::ImageFile;
pub use life::{Kill, Moment, Victim};
pub use system::{System, stack};
