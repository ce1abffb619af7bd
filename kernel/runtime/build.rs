//! Says whether this is a build for the guest.
//!
//! Checks of the whole workspace (`cargo clippy --workspace`) compile guest and host packages in one
//! graph, where host packages bring in `std` and its panic handler; only builds under the profile
//! `guest` are without. Cargo tells a build script no more of a custom profile than what it inherits
//! from, but the output folder carries its name.

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(guest)");
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_some_and(|name| name == "guest") {
        println!("cargo::rustc-cfg=guest");
    }
}
