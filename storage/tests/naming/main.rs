//! Tests of the naming layer over a fake file service that checks how it is used.
//!
//! Nothing here shares code with what it judges: the fake keeps files of its own, `fsck` reads
//! directories by the document of their format, and `model` is another file system in memory.

#![allow(dead_code)]

mod conformance;
mod costs;
mod crashes;
mod fake;
mod fsck;
mod support;
mod model;
mod random;
