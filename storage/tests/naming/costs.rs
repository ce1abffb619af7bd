//! How many calls below an operation makes, as `docs/naming.md` promises.

use futures_executor::block_on;
use storage::{
    naming::{ClientId, Limits},
    vfs::{FileSystem, OpenFlags},
};

use crate::{
    support::{CLIENT, CREATE, fresh, get, put, read, write},
    world::World,
};

#[test]
fn data_costs_one_call_for_one_call() {
    let (fake, naming) = fresh(1);
    let system = naming.client(CLIENT);
    block_on(async {
        let file = system.open(b"f", CREATE, 0o644).await.unwrap();
        fake.take_calls();
        for step in 0..10 {
            write(&system, file, None, b"0123456789").await.unwrap();
            assert_eq!(fake.take_calls(), ["write"]);
            assert_eq!(
                read(&system, file, Some(step * 10), 10).await.unwrap(),
                b"0123456789"
            );
            assert_eq!(fake.take_calls(), ["read"]);
        }
        let append = system
            .open(b"f", OpenFlags::WRITE | OpenFlags::APPEND, 0)
            .await
            .unwrap();
        assert!(fake.take_calls().is_empty(), "open of a file that is known");
        write(&system, append, None, b"end").await.unwrap();
        assert_eq!(fake.take_calls(), ["write"]);
    });
}

#[test]
fn names_cost_what_the_document_says() {
    let (fake, naming) = fresh(2);
    let system = naming.client(CLIENT);
    block_on(async {
        system.mkdir(b"d", 0o755).await.unwrap();
        system.stat(b"d", true).await.unwrap();
        // The directory itself is read once.
        put(&system, b"d/first", b"x").await.unwrap();
        fake.take_calls();
        let file = system.open(b"d/f", CREATE, 0o644).await.unwrap();
        assert_eq!(fake.take_calls(), ["create", "write"]);
        system.close(file).await.unwrap();
        assert!(fake.take_calls().is_empty(), "close");
        let file = system.open(b"d/f", OpenFlags::READ, 0).await.unwrap();
        system.close(file).await.unwrap();
        assert!(
            fake.take_calls().is_empty(),
            "open and close of a file that is known"
        );
        system.rename(b"d/f", b"d/g").await.unwrap();
        assert_eq!(fake.take_calls(), ["write", "setattr"]);
        system.link(b"d/g", b"d/h").await.unwrap();
        assert_eq!(fake.take_calls(), ["setattr", "write"]);
        system.unlink(b"d/h").await.unwrap();
        assert_eq!(fake.take_calls(), ["write", "setattr"]);
        system.unlink(b"d/g").await.unwrap();
        assert_eq!(fake.take_calls(), ["write", "delete"]);
        assert!(system.stat(b"d/g", true).await.is_err());
        assert!(fake.take_calls().is_empty(), "lookup of what is not there");
    });
}

#[test]
fn a_sync_of_nothing_new_costs_nothing() {
    let (fake, naming) = fresh(3);
    let system = naming.client(CLIENT);
    block_on(async {
        put(&system, b"f", b"text").await.unwrap();
        let first = system.sync().await.unwrap();
        fake.take_calls();
        assert_eq!(system.sync().await.unwrap(), first);
        naming.sync_periodic().await.unwrap();
        assert_eq!(get(&system, b"f").await.unwrap(), b"text");
        naming.sync_periodic().await.unwrap();
        assert!(
            !fake.take_calls().contains(&"sync"),
            "reads made a checkpoint"
        );
        let file = system.open(b"f", OpenFlags::WRITE, 0).await.unwrap();
        write(&system, file, None, b"x").await.unwrap();
        naming.sync_periodic().await.unwrap();
        assert!(
            fake.take_calls().contains(&"sync"),
            "a write is not made durable"
        );
    });
}

/// In words that are stored to memory that outlives naming.
#[test]
fn an_answer_is_kept_beside_the_last_one_only_where_clients_take_turns() {
    let world = World::new(4, Limits::default());
    let of_role = |role| {
        world.client_of(ClientId {
            role,
            generation: 1,
        })
    };
    let clients = [of_role(1), of_role(2)];
    let cost = |client: usize, mode: u32| {
        let before = world.stores();
        block_on(clients[client].chmod(b"/", mode)).unwrap();
        world.stores() - before
    };
    let turns: Vec<_> = (0..8).map(|turn| cost(turn % 2, 0o700)).collect();
    let alone: Vec<_> = (0..8).map(|_| cost(0, 0o711)).collect();
    let least = alone[7];
    assert!(alone[1..].iter().all(|&cost| cost == least), "{alone:?}");
    // One record that is made, and one that is removed.
    let more: Vec<_> = turns[2..].iter().map(|cost| cost - least).collect();
    assert!(more.iter().all(|&more| more <= 20), "{more:?}");
}
