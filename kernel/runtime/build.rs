//! Says whether this is a build for the guest, which has no `std`.

fn main() {
    link::mark_guest();
}
