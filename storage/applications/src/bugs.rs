//! Bugs as real code has them, each a line of `inject`: three that the Loris paper describes (section
//! VI-C), and more. `docs/faults.md` says what each stands for.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// Its name.
    pub name: &'static str,
    /// What is injected: a fault, a target that another may stand in for, and the rest.
    pub line: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
}

const fn bug(name: &'static str, line: &'static str, summary: &'static str) -> Bug {
    Bug {
        name,
        line,
        summary,
    }
}

/// All bugs, the paper's first.
pub const BUGS: &[Bug] = &[
    bug(
        "recursion",
        "stack-overrun twinfs.0 after=20",
        "paper: recursion runs over the end of the stack",
    ),
    bug(
        "array-overrun",
        "static-overrun twinfs.0 after=20",
        "paper: a static array is overrun, an assertion fails later",
    ),
    bug(
        "pool-deadlock",
        "pool-exhaustion logical after=20",
        "paper: all buffers are taken, and their owners wait for one more",
    ),
    bug("leak", "leak twinfs.0", "memory is never freed"),
    bug(
        "double-free",
        "double-free cache after=5",
        "a block is freed twice, and two owners get it",
    ),
    bug(
        "use-after-free",
        "use-after-free twinfs.0 after=5",
        "a block is written to after it was freed",
    ),
    bug(
        "off-by-one",
        "off-by-one logical after=5",
        "one byte too many is written",
    ),
    bug(
        "null-pointer",
        "null-pointer naming after=5",
        "a missing check before a pointer is followed",
    ),
    bug(
        "divide-by-zero",
        "divide-by-zero cache after=5",
        "an average over nothing",
    ),
    bug(
        "wild-pointer",
        "wild-write twinfs.0 after=5 writes=64",
        "stores through a pointer that was never set",
    ),
    bug(
        "bad-vtable",
        "bad-jump logical after=5",
        "a call through an overwritten table of functions",
    ),
    bug(
        "smashed-return",
        "smashed-stack twinfs.0 after=5",
        "a buffer on the stack overruns return addresses",
    ),
    bug(
        "flipped-bit",
        "bit-flip cache after=5",
        "memory without ECC",
    ),
    bug(
        "missed-wake-up",
        "missed-wake-up logical after=5",
        "a condition is signalled before anybody waits for it",
    ),
    bug(
        "lost-reply",
        "lost-reply twinfs.0 after=5",
        "an early return forgets to answer",
    ),
    bug(
        "reply-twice",
        "double-reply logical after=5",
        "an error path answers what was answered",
    ),
    bug(
        "wrong-reply",
        "wrong-reply virtio-blk.0 after=5",
        "two requests share a tag",
    ),
    bug(
        "garbage-reply",
        "garbage-reply twinfs.0 after=5",
        "an answer from memory that was never initialised",
    ),
    bug(
        "livelock",
        "livelock logical after=5",
        "two futures wake each other for ever",
    ),
    bug(
        "dead-timer",
        "late-timers virtio-blk.0",
        "a timer queue ordered the wrong way round",
    ),
    bug(
        "stuck-interrupt",
        "stuck-interrupt virtio-blk.0",
        "an interrupt is masked and never unmasked",
    ),
    bug(
        "size-overflow",
        "size-overflow cache after=5",
        "a product of sizes wraps round",
    ),
    bug(
        "unbounded-queue",
        "unbounded-queue naming",
        "a queue that nobody bounds",
    ),
    bug(
        "self-modified",
        "write-to-code logical after=5",
        "a store through a pointer to a function",
    ),
    bug(
        "exec-data",
        "run-data naming after=5",
        "a jump into a buffer",
    ),
    bug("quits", "exit twinfs.0 after=5", "an error path that exits"),
    bug(
        "forgotten-flush",
        "lost-flush vda on=both",
        "a driver that answers a flush without one",
    ),
    bug(
        "wrong-sector",
        "misdirected-write vda type=data",
        "sectors and blocks are mixed up",
    ),
    bug(
        "short-write",
        "torn-write vda sectors=1",
        "a partial transfer is reported as a whole one",
    ),
    bug(
        "stale-block",
        "lost-write vda type=inode",
        "a write is dropped by a cache below",
    ),
];

/// The bug of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Bug> {
    BUGS.iter().find(|bug| bug.name == name)
}
