//! Images made by someone who means harm: mutated where the format has structure, with every checksum put
//! right again up to the root, or nothing but a checksum error would ever be seen.
//!
//! ```text
//!   volume ─▶ walk (format) ─▶ a block of some kind ─▶ change ─▶ its parent's pointer ─▶ … ─▶ root, sealed
//!                                                                                          │
//!   mount, read everything, write, rename, delete, sync, mount again   ◀───────────────────┘
//! ```
//!
//! Errors are fine. A panic, a hang, memory or requests without bound are not; nor is data that is wrong
//! without an error, in a file that no change was made to. Of what was forged so that it holds, there is no
//! truth, and only the robustness counts.

mod fuzz;
mod image;
mod mutate;
mod spoil;
mod using;
mod volume;

pub use fuzz::{Memory, Options, Outcome, fuzz};

#[cfg(test)]
mod tests;
