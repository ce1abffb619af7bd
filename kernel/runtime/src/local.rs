//! State of the task's one thread in a `static`.

use core::cell::{RefCell, RefMut};

/// A cell that only the task's thread touches.
pub struct Local<T>(RefCell<T>);

// SAFETY: a task has one thread, and nothing interrupts it within its own address space.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    /// A cell with this in it.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Borrows it. Nothing of the runtime keeps a borrow while it calls code of others.
    pub fn borrow(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}
