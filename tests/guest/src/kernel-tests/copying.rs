//! The functions that copy, fill and compare memory (`compiler-support`), at every short length and alignment.

use alloc::{boxed::Box, vec::Vec};
use core::hint::black_box;

use crate::{Test, bench::Bench, ensure};

pub const TESTS: &[Test] = &[(
    "memory is copied, filled and compared to the byte",
    |bench| Box::pin(to_the_byte(bench)),
)];

/// Longer than what is moved at a time, several times over.
const LEN_MAX: usize = 133;
/// Offsets from a word's address.
const OFFSETS: usize = 9;
const AREA: usize = LEN_MAX + 2 * OFFSETS;

/// Bytes unlike each other, computed and not copied.
fn pattern() -> Vec<u8> {
    (0..AREA).map(|at| (at * 7 + 1) as u8).collect()
}

async fn to_the_byte(_: &mut Bench) -> crate::Outcome {
    for len in 0..=LEN_MAX {
        for (from, to) in (0..OFFSETS).flat_map(|from| (0..OFFSETS).map(move |to| (from, to))) {
            let source = pattern();
            let is_inside = |at: usize| (to..to + len).contains(&at);
            let (from, len) = (black_box(from), black_box(len));

            let mut copied = alloc::vec![0xee_u8; AREA];
            copied[to..to + len].copy_from_slice(&source[from..from + len]);
            let expected = |at: usize| match is_inside(at) {
                true => source[at - to + from],
                false => 0xee,
            };
            let wrong = (0..AREA).find(|&at| black_box(copied[at]) != expected(at));
            ensure!(
                wrong.is_none(),
                "{len} bytes copied from {from} to {to}: {wrong:?}"
            );

            let mut moved = pattern();
            moved.copy_within(from..from + len, to);
            let expected = |at: usize| match is_inside(at) {
                true => source[at - to + from],
                false => source[at],
            };
            let wrong = (0..AREA).find(|&at| black_box(moved[at]) != expected(at));
            ensure!(
                wrong.is_none(),
                "{len} bytes moved from {from} to {to}: {wrong:?}"
            );

            let mut filled = pattern();
            filled[to..to + len].fill(black_box(0xa5));
            let expected = |at: usize| if is_inside(at) { 0xa5 } else { source[at] };
            let wrong = (0..AREA).find(|&at| black_box(filled[at]) != expected(at));
            ensure!(wrong.is_none(), "{len} bytes filled at {to}: {wrong:?}");

            let same = source[from..from + len] == copied[to..to + len];
            ensure!(same, "{len} bytes compared at {from} and {to}");
        }
    }
    Ok(())
}
