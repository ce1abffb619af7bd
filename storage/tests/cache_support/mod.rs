//! What the cache's tests share: a layer below that is made of memory and dies on command.
#![allow(dead_code, unused_imports)]

mod below;
mod checksum;
mod mortal;
mod random;
mod rig;
mod script;

pub use below::{Below, State, StoredFile, SyncPoint, Volume};
pub use mortal::Mortal;
pub use random::{Random, yield_now};
pub use rig::{Rig, Ticks, write_all, write_of};
pub use script::{Expected, Model, Step, any_step, check, run, small, step};

pub const PAGE: usize = 4096;
