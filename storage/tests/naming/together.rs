//! Naming is killed while several calls are under way.
//!
//! What is answered has happened once and stays, whatever becomes of the calls beside it. The clients are polled together:
//! each of them issues its call again once all calls of the dead instance have ended.

use std::{future::poll_fn, rc::Rc, task::Poll};

use futures_executor::block_on;
use futures_util::join;
use storage::{
    Error,
    naming::Limits,
    vfs::{Descriptor, FileSystem, OpenFlags, SeekFrom},
};

use crate::{
    fake::Fault,
    support::{CREATE, put, read, write},
    world::{Death, World},
};

/// Calls below at which naming dies in turn; more than there are.
const CALLS: u64 = 14;

const SHORTAGES: [Error; 2] = [Error::NoMemory, Error::NoSpace];

const APPEND: OpenFlags = CREATE.union(OpenFlags::APPEND);

/// What goes wrong while two append: memory or room is short, and naming dies at a call below.
#[derive(Clone, Copy, Debug)]
struct Round {
    shortage: Error,
    call: u64,
    fault: Fault,
    seed: u64,
}

fn rounds() -> impl Iterator<Item = Round> {
    let faults = (0..CALLS).flat_map(|call| [(call, Fault::Hang), (call, Fault::HangAfter)]);
    let ways = faults.flat_map(|fault| SHORTAGES.map(|shortage| (fault, shortage)));
    ways.flat_map(|((call, fault), shortage)| {
        (1..=8).map(move |seed| Round {
            shortage,
            call,
            fault,
            seed,
        })
    })
}

/// Runs of equal bytes, and how long they are.
fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut runs: Vec<_> = bytes
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect();
    runs.sort_unstable();
    runs
}

async fn content(world: &Rc<World>, path: &[u8]) -> Vec<u8> {
    let system = world.client();
    let file = system.open(path, OpenFlags::READ, 0).await.unwrap();
    let all = read(&system, file, Some(0), 100_000).await.unwrap();
    system.close(file).await.unwrap();
    all
}

/// Lets the others go on, so many times.
async fn give_way(times: u64) {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One byte comes through while memory is short, and what is longer does not: it waits for a checkpoint.
#[test]
fn an_append_stays_that_was_answered_while_another_waited_for_room() {
    let mut deaths = 0;
    for round in rounds() {
        let Round {
            shortage,
            call,
            fault,
            seed,
        } = round;
        let what = format!("{round:?}");
        let world = World::new(seed, Limits::default());
        let (first, second) = (world.client(), world.client());
        block_on(async {
            put(&first, b"log", &[b'.'; 100]).await.unwrap();
            let long = first.open(b"log", APPEND, 0).await.unwrap();
            let short = second.open(b"log", APPEND, 0).await.unwrap();
            world.fake.borrow().0.borrow_mut().short = Some(shortage);
            world.kill(&[Death::Call(call, fault)]);
            let (a, b) = join!(
                write(&first, long, None, &[b'a'; 700]),
                write(&second, short, None, b"b"),
            );
            assert_eq!((a, b), (Ok(700), Ok(1)), "{what}");
            world.spare();
            deaths += world.deaths.get();
            let found = content(&world, b"log").await;
            let expected = [(b'.', 100), (b'a', 700), (b'b', 1)];
            assert_eq!(runs(&found), expected, "{what}");
        });
    }
    assert!(deaths > 50, "only {deaths} deaths");
}

/// Of an append in parts the first stays, and the descriptor is where that ends; what others append in between stays as
/// well.
#[test]
fn an_append_in_parts_that_death_cuts_short_leaves_the_descriptor_at_its_end() {
    let (mut deaths, mut short) = (0, 0);
    for round in rounds() {
        let Round {
            shortage,
            call,
            fault,
            seed,
        } = round;
        let what = format!("{round:?}");
        let world = World::new(seed, Limits::default());
        let (first, second) = (world.client(), world.client());
        block_on(async {
            put(&first, b"log", &[b'.'; 100]).await.unwrap();
            let long = first.open(b"log", APPEND, 0).await.unwrap();
            let other = second.open(b"log", APPEND, 0).await.unwrap();
            world.fake.borrow().set_fault(0, Fault::Half(shortage));
            world.fake.borrow().add_fault(call, fault);
            let beside = async {
                // Without it the rest of the append follows.
                match seed % 2 {
                    0 => write(&second, other, None, b"b").await,
                    _ => Ok(0),
                }
            };
            let (a, b) = join!(write(&first, long, None, &[b'a'; 700]), beside);
            world.spare();
            deaths += world.deaths.get();
            let (a, b) = (a.unwrap(), b.unwrap());
            short += u64::from(a < 700);
            let found = content(&world, b"log").await;
            let expected = [(b'.', 100), (b'a', a), (b'b', b)];
            let expected: Vec<_> = expected.into_iter().filter(|run| run.1 > 0).collect();
            assert_eq!(runs(&found), expected, "{what}");
            let end = found.iter().rposition(|&byte| byte == b'a').unwrap() + 1;
            let place = first.seek(long, SeekFrom::Current(0)).await;
            assert_eq!(place, Ok(end as u64), "{what}");
        });
    }
    assert!(deaths > 40 && short > 10, "{deaths} deaths, {short} short");
}

/// Its number goes to whoever opens next, and that is not moved.
#[test]
fn a_descriptor_that_is_closed_beside_an_append_in_parts_stays_closed() {
    let mut deaths = 0;
    for call in 0..CALLS {
        for seed in 1..=24 {
            let what = format!("seed {seed}: call {call}");
            let world = World::new(seed, Limits::default());
            let (first, second) = (world.client(), world.client());
            block_on(async {
                let file = first.open(b"log", APPEND, 0).await.unwrap();
                world
                    .fake
                    .borrow()
                    .set_fault(0, Fault::Half(Error::NoMemory));
                world.fake.borrow().add_fault(call, Fault::HangAfter);
                let next = async {
                    give_way(seed).await;
                    second.close(file).await.unwrap();
                    let next = second.open(b"log", OpenFlags::READ, 0).await.unwrap();
                    // So the last commit says nothing of it.
                    second.mkdir(b"d", 0).await.unwrap();
                    next
                };
                let (_, next) = join!(write(&first, file, None, &[b'a'; 700]), next);
                world.spare();
                deaths += world.deaths.get();
                assert_eq!(next, Descriptor(0), "{what}");
                let place = second.seek(next, SeekFrom::Current(0)).await;
                assert_eq!(place, Ok(0), "{what}");
            });
        }
    }
    assert!(deaths > 20, "only {deaths} deaths");
}
