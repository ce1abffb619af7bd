//! Links the binaries of this package as Galago tasks.

fn main() {
    link::task();
}
