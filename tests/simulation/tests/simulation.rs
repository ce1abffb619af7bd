//! The simulation of itself: the same case is the same run, and what it cannot find it would not tell.

use simulation::{Case, Counts, run};

/// A thread with room for the futures of the whole stack, unoptimised.
fn on_a_large_stack<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
    thread.expect("a thread").join().expect("the test holds")
}

fn counts(seed: u64) -> Counts {
    on_a_large_stack(move || {
        let case = Case {
            steps: Some(4_000),
            ..Case::new(seed)
        };
        run(&case).unwrap_or_else(|violation| panic!("seed {seed}: {}", violation.what))
    })
}

#[test]
fn the_same_seed_is_the_same_run() {
    let mut hashes = Vec::new();
    for seed in 0..6 {
        let (first, second) = (counts(seed), counts(seed));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.operations > 0, "seed {seed}: nothing was done");
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 6, "different seeds are different runs");
}
