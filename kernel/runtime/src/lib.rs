//! What a Galago task links: entry, heap, executor, client and server ends, logging.
//!
//! A task is one thread and one executor. It drains a whole batch of events, polls what they woke,
//! and only then waits again: one wait is one switch of address spaces, whatever the batch.
//!
//! ```ignore
//! runtime::main!(run);
//!
//! async fn run() {
//!     let below = Client(start::peers().next().expect("a device below").1);
//!     runtime::serve(64, move |request| async move { … request.reply(&answer) }).await
//! }
//! ```
#![no_std]

extern crate alloc;
#[cfg(not(guest))]
extern crate std;

use compiler_support as _;

mod call;
pub mod device;
mod entry;
mod executor;
mod fault;
mod heap;
pub mod inspect;
mod local;
mod logger;
pub mod manage;
#[cfg(guest)]
mod panic;
mod serve;
pub mod start;
pub mod surviving;
pub mod system;
pub mod time;

pub use call::Endpoint;
pub use executor::spawn;
pub use serve::{Request, serve};

#[doc(hidden)]
pub use entry::__run;

/// Makes an `async fn run()` the program. When it returns, the task ends with code 0.
#[macro_export]
macro_rules! main {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn galago_main() {
            $crate::__run($run());
        }
    };
}
