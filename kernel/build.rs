//! Links the kernel as an image that QEMU boots by PVH. As for `cfg(guest)`, see the runtime's build
//! script.

use std::path::Path;

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel.ld");
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

    println!("cargo::rustc-check-cfg=cfg(guest)");
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_some_and(|name| name == "guest") {
        println!("cargo::rustc-cfg=guest");
    }
}
