//! Who the task is, why it starts, whom it may call, and what it was told.

pub use abi::MANAGER;
use abi::{START_INFO_ADDRESS, Scale, Start, StartInfo};

use crate::Endpoint;

fn info() -> &'static StartInfo {
    // SAFETY: the kernel maps the start information there, read-only, in every task, before it runs.
    unsafe { &*(START_INFO_ADDRESS as *const StartInfo) }
}

/// The task's role, such as `twinfs.0`.
#[must_use]
pub fn name() -> &'static str {
    info().name.as_str()
}

/// The task's role number.
#[must_use]
pub fn role() -> u64 {
    info().role
}

/// Counts the instances of the role, from one.
#[must_use]
pub fn generation() -> u64 {
    info().generation
}

/// Whether the task stands in for an instance that died.
#[must_use]
pub fn is_restart() -> bool {
    info().start == Start::Restart as u64
}

/// How the time-stamp counter runs.
pub(crate) fn counter() -> Scale {
    info().clock
}

/// Nanoseconds from the Unix epoch to boot.
pub(crate) fn epoch_ns() -> u64 {
    info().epoch_ns
}

/// The text that the stack description gives the task.
#[must_use]
pub fn arguments() -> &'static str {
    let info = info();
    let len = (info.arguments_len as usize).min(info.arguments.len());
    core::str::from_utf8(&info.arguments[..len]).unwrap_or_default()
}

/// The value of `key` in arguments of the form `key=value key=value`.
#[must_use]
pub fn argument(key: &str) -> Option<&'static str> {
    arguments()
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find_map(|(name, value)| (name == key).then_some(value))
}

/// Milliseconds that others may take to answer this task, from its argument `patience_ms`; for ever if
/// there is none.
fn patience_ns() -> u64 {
    let ms = argument("patience_ms").and_then(|text| text.parse::<u64>().ok());
    ms.map_or(u64::MAX, |ms| ms.saturating_mul(1_000_000))
}

/// Whom the task may call, in the order of its description, each with the patience that the description
/// gives the task.
pub fn peers() -> impl Iterator<Item = (&'static str, Endpoint)> {
    let info = info();
    let patience_ns = patience_ns();
    let count = (info.peer_count as usize).min(info.peers.len());
    info.peers[..count].iter().map(move |peer| {
        let endpoint = Endpoint::new(peer.role).with_patience(patience_ns);
        (peer.name.as_str(), endpoint)
    })
}

/// The peer of a name.
#[must_use]
pub fn peer(name: &str) -> Option<Endpoint> {
    peers().find_map(|(other, endpoint)| (other == name).then_some(endpoint))
}
