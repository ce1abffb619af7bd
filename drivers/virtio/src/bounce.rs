//! One buffer of DMA memory, for data that the device cannot reach where they are.
//!
//! Data of a task are pinned and never copied. The exceptions: memory of the driver's own task (if a
//! layer is placed in it too), which the kernel pins for nobody, and a block scattered over more
//! pieces than the device takes in a request. Both go through here, one request at a time.

use alloc::rc::Rc;
use core::cell::RefCell;

use storage::{Error, Result};

use crate::{Platform, TRANSFER_BYTES_MAX, wait::WaitList};

enum Place<M> {
    /// Not needed yet.
    Unallocated,
    Free(M),
    Lent,
}

/// The buffer, and who waits for it.
pub struct Bounce<P: Platform> {
    place: RefCell<Place<P::Memory>>,
    freed: WaitList,
}

impl<P: Platform> Bounce<P> {
    /// Nothing is allocated before the first use.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            place: RefCell::new(Place::Unallocated),
            freed: WaitList::default(),
        })
    }

    /// Waits for the buffer. [`Error::NoMemory`] if it cannot be allocated.
    pub async fn borrow(self: &Rc<Self>, platform: &P) -> Result<Borrowed<P>> {
        let memory = self
            .freed
            .until(|| {
                let mut place = self.place.borrow_mut();
                match core::mem::replace(&mut *place, Place::Lent) {
                    Place::Free(memory) => Some(Ok(memory)),
                    Place::Lent => None,
                    Place::Unallocated => {
                        let memory = platform.allocate(TRANSFER_BYTES_MAX);
                        if memory.is_err() {
                            *place = Place::Unallocated;
                        }
                        Some(memory.map_err(|_| Error::NoMemory))
                    }
                }
            })
            .await?;
        Ok(Borrowed {
            memory: Some(memory),
            owner: self.clone(),
        })
    }
}

/// The buffer, until this is dropped. A transfer holds it as long as the device may touch it.
pub struct Borrowed<P: Platform> {
    /// Present until the drop.
    memory: Option<P::Memory>,
    owner: Rc<Bounce<P>>,
}

impl<P: Platform> Borrowed<P> {
    /// The memory.
    pub fn memory(&self) -> &P::Memory {
        self.memory.as_ref().expect("held until dropped")
    }
}

impl<P: Platform> Drop for Borrowed<P> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            *self.owner.place.borrow_mut() = Place::Free(memory);
            self.owner.freed.wake_all();
        }
    }
}
