//! How programs of the guest are linked: what their build scripts tell cargo.
//!
//! Checks of the whole workspace (`cargo clippy --workspace`) compile guest and host packages in one
//! graph, where host packages bring in `std` and its panic handler; only builds under the profile
//! `guest` are without. Cargo tells a build script no more of a custom profile than what it inherits
//! from, but the output folder carries its name.

#![forbid(unsafe_code)]

use std::path::Path;

/// The profile under which everything in the guest is built.
const PROFILE: &str = "guest";

/// Links the binaries of this package as tasks.
pub fn task() {
    link(concat!(env!("CARGO_MANIFEST_DIR"), "/../task.ld"));
}

/// Links the binary of this package as the image that QEMU boots by PVH.
pub fn kernel() {
    link(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel.ld"));
}

fn link(script: &str) {
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,norelro",
        "-Wl,--build-id=none",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{script}");
    println!("cargo::rerun-if-changed={script}");
}

/// Gives this package `cfg(guest)` where it is built for the guest.
pub fn mark_guest() {
    println!("cargo::rustc-check-cfg=cfg(guest)");
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_some_and(|name| name == PROFILE) {
        println!("cargo::rustc-cfg=guest");
    }
}
