//! What the tasks of the storage layers have in common: arguments from their descriptions.
#![no_std]
#![forbid(unsafe_code)]

use core::str::FromStr;

use runtime::start;

/// The value of an argument from the stack description, or `default` where it is not given. One
/// that is no such value is said to be ignored.
#[must_use]
pub fn argument<T: FromStr>(key: &str, default: T) -> T {
    let Some(text) = start::argument(key) else {
        return default;
    };
    text.parse().unwrap_or_else(|_| {
        log::warn!("argument {key}={text} makes no sense here, and is ignored");
        default
    })
}

/// Whether an argument is `on` or `off`; as [`argument`].
#[must_use]
pub fn switch(key: &str, default: bool) -> bool {
    argument(key, Switch(default)).0
}

struct Switch(bool);

impl FromStr for Switch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}
