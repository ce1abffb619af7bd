//! The logical layer: logical files made of physical files on several file stores (paper, section
//! II-A), and the global checkpoints that hold them together (section IV-C).
//!
//! ```text
//!              file calls, logical numbers
//!   ┌─────────────────────────────────────────────┐
//!   │ service      the calls                      │   mapping   blocks of the mapping in memory
//!   │ copies       on one copy, on all copies     │   entry     their bytes
//!   │ checkpoint   sync                           │   choose    which stores, which checkpoint
//!   │ attach       format, attach                 │   volume    what is loaded
//!   │ stores       calls, deaths                  │   resync    copies after a power failure
//!   │ equal        copies that differ             │   tally     what was found of them
//!   └─────────────────────────────────────────────┘
//!        file store calls, physical numbers
//! ```
//!
//! The mapping says for every logical file where its copies are. It is a file itself, mirrored on
//! every store and part of every checkpoint; see `docs/formats/mapping.md`. Nothing else is kept on
//! disk, so that after a crash the stores and the mapping agree by loading one checkpoint.
//!
//! One failed store costs redundancy, not service: as long as a copy is left, a bad checksum, a
//! dead disk or a missing one is not seen above. One *crashed* store (its task died) is different:
//! its copies are as of the last checkpoint, the others' are newer. Then all of them, and this
//! layer, start again from the last checkpoint; see [`Logical::restart_needed`].

mod attach;
mod checkpoint;
mod choose;
mod copies;
mod entry;
mod equal;
mod mapping;
mod mapping_io;
mod resync;
mod service;
mod stores;
mod tally;
mod volume;

use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;

use crate::{Error, Result, file::FileStore};

pub use entry::COPIES_MAX as STORES_MAX;
pub use stores::RestartReason;
use stores::Stores;
use volume::Volume;

/// The logical layer over a list of file stores.
///
/// It is loaded by `attach` or `format`; until then its calls are [`Error::NotLoaded`].
pub struct Logical<S> {
    stores: Stores<S>,
    volume: RefCell<Option<Rc<Volume>>>,
    /// Held by what may only happen one at a time: attach, format, sync.
    barrier: async_lock::Mutex<()>,
}

impl<S: FileStore> Logical<S> {
    /// A logical layer over these stores, in any order: a volume's parts are told apart by what
    /// they say of themselves. `None` is a store that is missing from the start. Of a volume there
    /// are at most [`STORES_MAX`].
    #[must_use]
    pub fn new(stores: Vec<Option<S>>) -> Self {
        Self {
            stores: Stores::new(stores),
            volume: RefCell::default(),
            barrier: async_lock::Mutex::new(()),
        }
    }

    /// Waits until the layer must end, and all stores with it.
    ///
    /// Whoever places the layer awaits this beside its calls, and on return ends the layer and all
    /// of its stores; new ones then load the last checkpoint, and the cache goes on from there. Calls that were
    /// under way when a store died never return, so that its death is never an error above. One
    /// future may wait at a time.
    pub async fn restart_needed(&self) -> RestartReason {
        self.stores.restart_needed().await
    }

    /// Whether [`Self::restart_needed`] would return at once.
    #[must_use]
    pub fn needs_restart(&self) -> Option<RestartReason> {
        self.stores.needs_restart()
    }

    fn volume(&self) -> Result<Rc<Volume>> {
        self.volume.borrow().clone().ok_or(Error::NotLoaded)
    }
}
