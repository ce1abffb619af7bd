//! Links the kernel, which is without `std` only in the guest.

fn main() {
    link::kernel();
    link::mark_guest();
}
