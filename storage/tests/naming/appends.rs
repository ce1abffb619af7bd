//! Appends over which naming dies: what came of one is cut off before the client's repeated call makes it anew. If
//! it cannot be cut off, it is not made again behind what is there.

use std::rc::Rc;

use futures_executor::block_on;
use futures_util::join;
use storage::{
    Error,
    naming::{ClientId, Limits},
    vfs::{Descriptor, FileSystem, OpenFlags},
};

use crate::{
    fake::Fault,
    support::{CLIENT, CREATE, get, write},
    world::{Death, World},
};

const OTHER: ClientId = ClientId {
    role: 2,
    generation: 1,
};

/// A world with one file, "before", that is open for appending.
fn one_file() -> (Rc<World>, Descriptor) {
    let world = World::new(1, Limits::default());
    let system = world.client();
    let file = block_on(system.open(b"f", CREATE | OpenFlags::APPEND, 0o600)).unwrap();
    block_on(write(&system, file, None, b"before")).unwrap();
    (world, file)
}

#[test]
fn an_append_that_cannot_be_cut_off_is_an_error_and_not_made_twice() {
    // Naming may die again before the client hears it.
    for dies_again in [false, true] {
        let (world, file) = one_file();
        block_on(async {
            let (system, other) = (world.client(), world.client_of(OTHER));
            world.kill(&[
                Death::Call(0, Fault::HangAfter),
                Death::Call(0, Fault::Fail(Error::Device)),
            ]);
            let dies = async {
                if dies_again {
                    world.lose_reply(CLIENT, 0);
                    world.until_lost().await;
                    world.die();
                }
            };
            let (appended, ()) = join!(write(&system, file, None, b", once"), dies);
            assert_eq!(appended, Err(Error::Device));
            let deaths = if dies_again { 2 } else { 1 };
            assert_eq!(world.deaths.get(), deaths);
            // The layer below had half of it when naming died.
            assert_eq!(get(&other, b"f").await, Ok(b"before, o".to_vec()));
            write(&system, file, None, b", and on").await.unwrap();
            assert_eq!(get(&other, b"f").await, Ok(b"before, o, and on".to_vec()));
        });
    }
}

#[test]
fn an_append_that_is_cut_off_leaves_no_trace() {
    let mut deaths = 0;
    for fault in [Fault::Hang, Fault::HangAfter] {
        for call in 0..4 {
            let (world, file) = one_file();
            block_on(async {
                let (system, other) = (world.client(), world.client_of(OTHER));
                system.chmod(b"f", 0o640).await.unwrap();
                let before = world.fake.borrow().files();
                world.kill(&[
                    Death::Call(0, Fault::HangAfter),
                    // While it is cut off.
                    Death::Call(call, fault),
                ]);
                // A client that gives up: nobody makes it again.
                world.is_deaf.set(true);
                assert!(write(&system, file, None, b", after").await.is_err());
                world.is_deaf.set(false);
                other.stat(b"f", true).await.unwrap();
                world.spare();
                let after = world.fake.borrow().files();
                assert!(after == before, "{fault:?} at {call}");
                deaths += world.deaths.get();
            });
        }
    }
    assert!(deaths > 8, "only {deaths} deaths");
}
