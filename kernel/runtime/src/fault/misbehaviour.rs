//! Faults that show later: in the event loop, with the next request, with the next reply. Each is a bit;
//! while none is set, they cost one load where they are asked for.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use abi::{Fault, Message};
use storage::faulty::Random;

use super::armed;
use crate::{executor, local::Local, system};

const STUCK: u32 = 1;
const SPINNING: u32 = 1 << 1;
const LEAKING: u32 = 1 << 2;
const QUEUEING: u32 = 1 << 3;
const ASSERTING: u32 = 1 << 4;
const LOSES_A_REPLY: u32 = 1 << 5;
const REPLIES_TWICE: u32 = 1 << 6;
const REPLIES_WRONGLY: u32 = 1 << 7;
const REPLIES_GARBAGE: u32 = 1 << 8;
const DEAF_TO_TIME: u32 = 1 << 9;
const DEAF_TO_INTERRUPTS: u32 = 1 << 10;
const COUNTING: u32 = 1 << 11;
const HOARDING: u32 = 1 << 12;
const LOSES_A_WAKE_UP: u32 = 1 << 13;

/// What is wrong.
static WRONG: AtomicU32 = AtomicU32::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);

/// Bytes that are lost with each turn of the event loop.
const LEAK_BYTES: usize = 4 << 20;

/// What grows.
static QUEUE: Local<Vec<[u64; 64]>> = Local::new(Vec::new());
/// A request whose reply another one is to get, and its own reply.
static HELD: Local<Option<(u64, Message)>> = Local::new(None);

fn is(bits: u32) -> bool {
    WRONG.load(Relaxed) & bits != 0
}

fn set(bit: u32) {
    WRONG.fetch_or(bit, Relaxed);
}

/// Whether it was; it is no more.
fn take(bit: u32) -> bool {
    WRONG.fetch_and(!bit, Relaxed) & bit != 0
}

/// Something goes wrong from now on.
pub fn begin(fault: Fault, seed: u64) {
    SEED.store(seed, Relaxed);
    set(match fault {
        Fault::Deadlock => STUCK,
        Fault::Livelock => SPINNING,
        Fault::Leak => LEAKING,
        Fault::UnboundedQueue => QUEUEING,
        Fault::StaticOverrun => ASSERTING,
        Fault::LostReply => LOSES_A_REPLY,
        Fault::DoubleReply => REPLIES_TWICE,
        Fault::WrongReply => REPLIES_WRONGLY,
        Fault::GarbageReply => REPLIES_GARBAGE,
        Fault::DeafToTime => DEAF_TO_TIME,
        Fault::DeafToInterrupts => DEAF_TO_INTERRUPTS,
        Fault::PoolExhaustion => HOARDING,
        Fault::MissedWakeUp => LOSES_A_WAKE_UP,
        _ => 0,
    });
}

/// Whether a fault waits for requests.
pub fn count_requests(counts: bool) {
    if counts {
        set(COUNTING);
    } else {
        take(COUNTING);
    }
}

/// What the event loop is to do.
pub(crate) enum Turn {
    /// Poll what is ready, as always.
    Poll,
    /// Poll nothing, and wait for events.
    Stand,
    /// Poll nothing, and do not wait either.
    Spin,
}

/// The event loop comes round.
#[inline]
pub(crate) fn turn() -> Turn {
    if WRONG.load(Relaxed) == 0 {
        return Turn::Poll;
    }
    turn_wrongly()
}

#[cold]
fn turn_wrongly() -> Turn {
    if is(LEAKING) {
        let lost: Vec<u8> = Vec::with_capacity(LEAK_BYTES);
        core::mem::forget(core::hint::black_box(lost));
    }
    if is(QUEUEING) {
        QUEUE
            .borrow()
            .extend([[1; 64]; 512].iter().cycle().take(4096));
    }
    assert!(
        !is(ASSERTING),
        "what lies behind a static array was overwritten"
    );
    if take(LOSES_A_WAKE_UP) {
        executor::lose_a_wake_up(Random::new(SEED.load(Relaxed)).number());
    }
    match () {
        () if is(STUCK) => Turn::Stand,
        () if is(SPINNING) => Turn::Spin,
        () => Turn::Poll,
    }
}

/// A request was taken.
#[inline]
pub(crate) fn on_request() {
    if is(COUNTING) {
        armed::on_request();
    }
}

/// Whether places for requests are taken and never given back.
pub(crate) fn hoards() -> bool {
    is(HOARDING)
}

/// Whether timers do not fire.
pub(crate) fn deaf_to_time() -> bool {
    is(DEAF_TO_TIME)
}

/// Whether interrupts are not heard.
pub(crate) fn deaf_to_interrupts() -> bool {
    is(DEAF_TO_INTERRUPTS)
}

/// A request is answered. What is sent is the answer, unless something is wrong with it. Whether there is
/// somebody to hear it.
#[inline]
pub(crate) fn on_reply(token: u64, message: &Message) -> bool {
    const ANY: u32 = LOSES_A_REPLY | REPLIES_TWICE | REPLIES_WRONGLY | REPLIES_GARBAGE;
    if is(ANY) {
        reply_wrongly(token, message);
        return true;
    }
    system::reply(token, message).is_ok()
}

#[cold]
fn reply_wrongly(token: u64, message: &Message) {
    if take(LOSES_A_REPLY) {
        return;
    }
    if take(REPLIES_GARBAGE) {
        let mut random = Random::new(SEED.load(Relaxed));
        let mut garbage = Message::EMPTY;
        garbage.len = 1 + random.below(abi::MESSAGE_BYTES as u64);
        let len = garbage.len as usize;
        garbage.bytes[..len].fill_with(|| random.number() as u8);
        let _ = system::reply(token, &garbage);
        return;
    }
    if take(REPLIES_TWICE) {
        let _ = system::reply(token, message);
        let _ = system::reply(token, message);
        return;
    }
    let held = HELD.borrow().take();
    match held {
        None => *HELD.borrow() = Some((token, *message)),
        Some((other, reply)) => {
            take(REPLIES_WRONGLY);
            let _ = system::reply(other, message);
            let _ = system::reply(token, &reply);
        }
    }
}
