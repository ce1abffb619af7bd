//! Tests of the naming layer over a fake file service that checks how it is used.
//!
//! Nothing here shares code with what it judges: the fake keeps files of its own, `fsck` reads
//! directories by the document of their format, and `model` is another file system in memory.

mod appends;
mod conformance;
mod costs;
mod crashes;
mod damage;
mod fake;
mod fsck;
mod interleaved;
mod lost_replies;
mod model;
mod periodic;
mod random;
mod restarts;
mod scale;
mod support;
mod together;
mod wild;
mod world;
