//! What the console does with text, without the runtime: parsing, line editing, the lines of the
//! second serial port, tables. Tested on the host; the tasks themselves are in `src/bin`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arguments;
pub mod benches;
pub mod bugs;
pub mod editor;
pub mod inject;
pub mod kills;
pub mod link;
pub mod losses;
pub mod records;
pub mod text;
pub mod values;
pub mod words;
