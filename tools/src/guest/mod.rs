//! A guest: the unikernel, running in QEMU, and the lines that lead to it.
//!
//! ```text
//!            galago                         QEMU
//!   Console  <── lines, tail ── socket ──── COM1   text, for people
//!   Link     <── JSON lines ─── socket ──── COM2   events and commands, for programs
//!   Monitor  <── QMP ────────── socket ──── QEMU itself: reset, quit
//!   Child    ── kill ───────────────────── process
//! ```
//!
//! `galago` listens on the three sockets before QEMU starts and QEMU connects to them, so that not a
//! byte of the guest's is lost and no order of start-up matters.

mod archive;
pub mod build;
mod complaints;
mod console;
mod description;
mod disk_work;
mod ending;
mod events;
mod inbox;
pub mod kernel_tests;
mod link;
mod machine;
mod monitor;
mod prepare;
mod request;
mod restarts;
mod running;
mod sockets;
mod write_log;

pub use self::archive::Archive;
pub use self::console::Console;
pub use self::description::{Description, with_argument};
pub use self::disk_work::DiskWork;
pub use self::ending::{BootEnd, is_refusal};
pub use self::events::{Done, Event};
pub use self::machine::{Accelerator, Disk, Machine};
pub use self::monitor::Monitor;
pub use self::prepare::Prepared;
pub use self::request::Request;
pub use self::restarts::{Recoveries, Restarts, Times};
pub use self::running::{Condition, End, Guest, Heard, succeeded};
pub use self::write_log::WriteLog;
