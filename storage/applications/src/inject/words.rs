//! Values of keys that several kinds of faults have.

use alloc::{
    format,
    string::{String, ToString},
};

use storage::point::Point;

use super::KEYS;
use crate::{arguments::Arguments, values};

/// Keys that mean nothing to this kind of fault are a mistake.
pub fn only(arguments: &Arguments, allowed: &[&str], what: &str) -> Result<(), String> {
    let strange = KEYS
        .iter()
        .find(|key| arguments.value(key).is_some() && !allowed.contains(key));
    match strange {
        Some(key) => Err(format!("{key}= means nothing to {what}")),
        None => Ok(()),
    }
}

/// A whole number.
pub fn number(arguments: &Arguments, key: &str, default: u64) -> Result<u64, String> {
    Ok(arguments.parsed(key, values::number)?.unwrap_or(default))
}

/// A time from a millisecond to an hour; zero if nothing is said.
pub fn milliseconds(arguments: &Arguments, key: &str) -> Result<u32, String> {
    const HOUR_NS: u64 = 3_600_000_000_000;
    match arguments.parsed(key, values::duration_ns)? {
        None => Ok(0),
        Some(ns) if (1_000_000..=HOUR_NS).contains(&ns) => Ok((ns / 1_000_000) as u32),
        Some(_) => Err(format!("{key}: expected 1ms to 60m")),
    }
}

/// Sectors, the last included.
pub fn range(arguments: &Arguments, key: &str) -> Result<Option<(u64, u64)>, String> {
    let Some(text) = arguments.value(key) else {
        return Ok(None);
    };
    let bounds = text.split_once('-').unwrap_or((text, text));
    match (values::number(bounds.0), values::number(bounds.1)) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some((first, last))),
        _ => Err(format!("{key}: expected sectors such as 2048-4095")),
    }
}

/// One in how many.
pub fn one_in(arguments: &Arguments) -> Result<Option<u32>, String> {
    let Some(text) = arguments.value("rate") else {
        return Ok(None);
    };
    let number = text
        .strip_prefix("1/")
        .and_then(|text| values::number_32(text).ok());
    match number {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err("rate: expected such as 1/100".into()),
    }
}

/// The number of the point that `at=` names.
pub fn point(arguments: &Arguments) -> Result<Option<u32>, String> {
    let Some(name) = arguments.value("at") else {
        return Ok(None);
    };
    let point = Point::of_name(name)
        .ok_or_else(|| format!("at: there is no point `{name}`; `inject` lists them"))?;
    Ok(Some(point as u32))
}

/// Of keys that exclude each other, at most one.
pub fn at_most_one(arguments: &Arguments, keys: &[&str]) -> Result<(), String> {
    let mut said = keys.iter().filter(|key| arguments.value(key).is_some());
    match (said.next(), said.next()) {
        (Some(one), Some(other)) => Err(format!("either {one}= or {other}=, not both")),
        _ => Ok(()),
    }
}

/// What is said of a key, if it is not what goes without saying.
pub fn told(text: &mut String, key: &str, value: impl ToString, default: impl ToString) {
    let value = value.to_string();
    if value != default.to_string() {
        text.push_str(&format!(" {key}={value}"));
    }
}
