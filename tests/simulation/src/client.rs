//! A client: a program that does random things in a directory of its own, and knows what must come of them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use storage::vfs::{self, FileSystem};
use tests::{
    operation::{Operation, Path, random_operation_below},
    outcome::{Descriptors, agree, note_open, perform},
    random::Random,
    tree::Tree,
};

use crate::{
    case::Case,
    kernel::{Endpoint, Kernel},
    mix::Mix,
    oracle::Oracle,
};

/// What clients and the one who runs them share.
pub struct Shared {
    /// The judge.
    pub oracle: Rc<RefCell<Oracle>>,
    /// Operations that ended.
    pub operations: Cell<u64>,
    /// The number of the next operation of each client, over all boots.
    pub next: RefCell<Vec<u64>>,
}

impl Shared {
    fn end(&self) {
        self.operations.set(self.operations.get() + 1);
    }
}

/// Works for ever. A successor of an instance that died finds out first what has become of what that did.
pub async fn work(
    kernel: Rc<Kernel>,
    naming: Endpoint,
    shared: Rc<Shared>,
    mix: Mix,
    case: Case,
    client: usize,
    succeeds: bool,
) {
    let system = vfs::Client::new(naming);
    if succeeds {
        let what = format!("client {client}, a new instance");
        succeed(&system, &shared, client, &what).await;
    }
    let mut descriptors = Descriptors::new();
    loop {
        let number = {
            let mut next = shared.next.borrow_mut();
            next[client] += 1;
            next[client]
        };
        let salt = (client as u64).rotate_left(56) ^ number.rotate_left(20);
        let mut random = Random::new(Random::new(mix.seed ^ salt).number());
        if case.drops(number) {
            kernel.sleep(1).await;
            continue;
        }
        if mix.pause_ns > 0 && random.one_in(8) {
            kernel.sleep(random.below(mix.pause_ns)).await;
            continue;
        }
        let what = format!("client {client}, operation {number}");
        if random.one_in(mix.sync_one_in) {
            sync(&system, &shared, &what).await;
        } else if random.one_in(mix.look_one_in) && shared.oracle.borrow().damaged(client).is_none()
        {
            look(&system, &shared, client, &what).await;
        } else {
            let operation = {
                let oracle = shared.oracle.borrow();
                match oracle.damaged(client) {
                    // What a crash has cost is known, and goes.
                    Some(path) => Operation::Unlink(Path(path)),
                    None => {
                        let (model, top) = (oracle.model(client), oracle.top(client));
                        random_operation_below(&mut random, model, top)
                    }
                }
            };
            let (expected, handle) = shared.oracle.borrow_mut().begin(client, &operation);
            let what = format!("{what}: {operation:?}");
            log::debug!("{what}");
            let (found, descriptor) = perform(&system, &descriptors, &operation).await;
            agree(&operation, found, expected, &what);
            note_open(&mut descriptors, &operation, handle, descriptor);
            shared.oracle.borrow_mut().end(client);
            shared.end();
        }
    }
}

async fn sync<F: FileSystem>(system: &F, shared: &Shared, what: &str) {
    let begun = shared.oracle.borrow_mut().sync_begun();
    log::debug!("{what}: Sync");
    let synced = system.sync().await;
    synced.unwrap_or_else(|error| panic!("{what}: sync: {error}"));
    shared.oracle.borrow_mut().sync_ended(begun);
    shared.end();
}

/// Looks at what an instance that died has left.
async fn succeed<F: FileSystem>(system: &F, shared: &Shared, client: usize, what: &str) {
    log::debug!("{what}");
    let top = shared.oracle.borrow().top(client).to_vec();
    let tree = Tree::read(system, &top).await;
    let tree = tree.unwrap_or_else(|(path, error)| panic!("{what}: {path}: {error}"));
    let succeeded = shared.oracle.borrow_mut().succeeded(client, &tree);
    if let Err(difference) = succeeded {
        panic!("{what}: {difference}");
    }
    shared.end();
}

/// Compares the client's whole directory.
async fn look<F: FileSystem>(system: &F, shared: &Shared, client: usize, what: &str) {
    let top = shared.oracle.borrow().top(client).to_vec();
    let tree = Tree::read(system, &top).await;
    let tree = tree.unwrap_or_else(|(path, error)| panic!("{what}: look: {path}: {error}"));
    let difference = tree.difference(shared.oracle.borrow().model(client), &top);
    if let Some(difference) = difference {
        panic!("{what}: look: {difference}");
    }
    shared.end();
}
