//! Naming forgets to reply, or somebody else gets the reply: whoever waits for it waits until naming is ended for it,
//! and asks the next instance. Meanwhile others go on.

use std::{collections::BTreeMap, rc::Rc};

use futures_executor::block_on;
use futures_util::join;
use storage::{
    Error,
    naming::{ClientId, Limits},
    vfs::{self, FileSystem, OpenFlags, SeekFrom},
};

use crate::{
    conformance::{errno, run},
    restarts::{check, operations, prepare, seen},
    support::{CLIENT, CREATE, put, read, write},
    world::{Link, World},
};

const OTHER: ClientId = ClientId {
    role: 2,
    generation: 1,
};

/// Who calls between the reply that is lost and the death.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Others {
    Nobody,
    /// The same client of the same instance, which has several calls under way.
    SameSession,
    /// Another client of the same instance.
    SameRole,
    OtherRole,
    /// All of them, and naming dies twice before it is asked again.
    All,
}

const OTHERS: [Others; 5] = [
    Others::Nobody,
    Others::SameSession,
    Others::SameRole,
    Others::OtherRole,
    Others::All,
];

async fn line(system: &vfs::Client<Link>, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let answer = run(system, &mut BTreeMap::new(), &words).await;
    answer.unwrap_or_else(|error| errno(error).into())
}

/// What the others do; `asks` is who waits for the reply.
async fn go_on(world: &Rc<World>, others: Others, asks: &vfs::Client<Link>) {
    let one = match others {
        Others::Nobody => return,
        Others::SameSession => asks,
        Others::SameRole => &world.client(),
        Others::OtherRole => &world.client_of(OTHER),
        Others::All => {
            for each in &OTHERS[..4] {
                Box::pin(go_on(world, *each, asks)).await;
            }
            return;
        }
    };
    for operation in [
        "mkdir other",
        "touch other/f",
        "rename other/f other/g",
        "unlink other/g",
        "rmdir other",
    ] {
        assert_eq!(line(one, operation).await, "ok", "{others:?}: {operation}");
    }
}

#[test]
fn a_call_whose_reply_is_lost_is_carried_out_once() {
    for &(setup, operation) in operations() {
        for others in OTHERS {
            let world = prepare(1, setup);
            let client = world.client();
            let answer = block_on(line(&client, operation));
            block_on(go_on(&world, others, &client));
            let expected = (answer, seen(&world));

            let what = format!("{setup}; {operation}: {others:?}");
            let world = prepare(1, setup);
            let client = world.client();
            world.lose_reply(CLIENT, 0);
            let beside = async {
                world.until_lost().await;
                go_on(&world, others, &client).await;
                world.die();
                if others == Others::All {
                    world.naming();
                    world.die();
                    go_on(&world, Others::OtherRole, &client).await;
                    world.die();
                }
            };
            let (answer, ()) = block_on(async { join!(line(&client, operation), beside) });
            let least = if others == Others::All { 2 } else { 1 };
            assert!(world.deaths.get() >= least, "{what}");
            check(&world, &what, &answer, &expected);
        }
    }
}

/// Where a descriptor is that others move as well says whose call was done when.
#[test]
fn what_others_have_done_to_the_descriptor_stays() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        put(&system, b"f", b"0123456789").await.unwrap();
        let file = system.open(b"f", OpenFlags::READ, 0).await.unwrap();
        world.lose_reply(CLIENT, 0);
        let beside = async {
            world.until_lost().await;
            let next = read(&system, file, None, 2).await;
            assert_eq!(next, Ok(b"34".to_vec()));
            assert_eq!(system.seek(file, SeekFrom::Current(2)).await, Ok(7));
            world.die();
        };
        let (first, ()) = join!(read(&system, file, None, 3), beside);
        assert_eq!(first, Ok(b"012".to_vec()));
        assert_eq!(system.seek(file, SeekFrom::Current(0)).await, Ok(7));
    });
}

/// What was opened for a call and closed by another is not open again.
#[test]
fn the_descriptor_of_an_open_whose_reply_is_lost_is_open_once() {
    let world = World::new(1, Limits::default());
    let (system, other) = (world.client(), world.client_of(OTHER));
    block_on(async {
        world.lose_reply(CLIENT, 0);
        let exclusive = CREATE | OpenFlags::EXCLUSIVE;
        let beside = async {
            world.until_lost().await;
            let file = other.open(b"f", CREATE, 0).await.unwrap();
            write(&other, file, None, b"text").await.unwrap();
            other.close(file).await.unwrap();
            world.die();
        };
        let (file, ()) = join!(system.open(b"f", exclusive, 0o600), beside);
        let file = file.unwrap();
        assert_eq!(file.0, 0);
        assert_eq!(read(&system, file, None, 9).await, Ok(b"text".to_vec()));
        system.close(file).await.unwrap();
        world.die();
        assert_eq!(system.close(file).await, Err(Error::BadDescriptor));
    });
}

/// Clients that never say what they have, such as those that end after one call, displace only their own.
#[test]
fn an_answer_is_kept_however_much_another_client_asks() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        world.lose_reply(CLIENT, 0);
        let beside = async {
            world.until_lost().await;
            let mut pages = Vec::new();
            for round in 0..1000 {
                let once = world.client_of(OTHER);
                once.chmod(b"/", 0o700 + round % 8).await.unwrap();
                pages.push(world.pages());
            }
            assert_eq!(pages[300], pages[999], "more and more is kept");
            world.die();
        };
        let (made, ()) = join!(system.mkdir(b"d", 0o700), beside);
        assert_eq!(made, Ok(()));
    });
}

/// Nobody asks for the answers of who has gone, or of an instance that has a successor.
#[test]
fn nothing_is_kept_for_the_gone() {
    for goes in [true, false] {
        let world = World::new(1, Limits::default());
        let system = world.client();
        block_on(async {
            let mut pages = Vec::new();
            for round in 2..600 {
                let (role, generation) = if goes { (round, 1) } else { (2, round) };
                let other = world.client_of(ClientId { role, generation });
                other.chmod(b"/", 0o700).await.unwrap();
                if goes {
                    world.naming().client_gone(role).await;
                }
                system.chmod(b"/", 0o711).await.unwrap();
                pages.push(world.pages());
            }
            assert_eq!(pages[0], pages[597], "gone: {goes}");
        });
    }
}
