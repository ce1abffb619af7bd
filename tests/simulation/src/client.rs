//! A client: a program that does random things in a directory of its own, and knows what must come of them.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::Rc,
};

use storage::{
    Error, Result,
    vfs::{self, Descriptor, FileSystem, Kind, OpenFlags},
};
use tests::{
    model::Model,
    operation::{Operation, Path, random_operation_below},
    outcome::{Descriptors, Outcome, agree, note_open, perform},
    random::Random,
    tree::{File, Tree},
};

use crate::{
    case::Case,
    kernel::{Endpoint, Kernel},
    mix::Mix,
    oracle::{Extent, Oracle},
};

/// What clients and the one who runs them share.
pub struct Shared {
    /// The judge.
    pub oracle: Rc<RefCell<Oracle>>,
    /// Operations that ended.
    pub operations: Cell<u64>,
    /// Operations that there was no room for, or only for a part.
    pub refused: Cell<u64>,
    /// The only disk has done something wrong: calls may fail.
    pub may_fail: Cell<bool>,
    /// The stack has stopped, as it may when the only disk fails.
    pub stopped: Cell<bool>,
    /// So much is damaged that nobody can work any more.
    pub over: Cell<bool>,
    /// Clients that cannot go on, and are to be started anew.
    pub quit: RefCell<Vec<usize>>,
    /// The number of the next operation of each client, over all boots.
    pub next: RefCell<Vec<u64>>,
    /// Since when each client is at something that must end: it asked for something, or was started.
    pub busy: RefCell<Vec<Option<Since>>>,
    /// Nobody begins anything new.
    pub rest: Cell<bool>,
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// Virtual time, nanoseconds.
    pub ns: u64,
    /// Steps of this boot.
    pub steps: u64,
}

impl Since {
    /// Since now.
    pub fn now(kernel: &Kernel) -> Self {
        Self {
            ns: kernel.now_ns(),
            steps: kernel.steps(),
        }
    }
}

/// Time between two looks of a client that rests whether it may go on, nanoseconds.
const REST_NS: u64 = 1_000_000;

impl Shared {
    fn end(&self) {
        self.operations.set(self.operations.get() + 1);
    }

    /// A client is at something that must end.
    pub fn begins(&self, client: usize, kernel: &Kernel) {
        self.busy.borrow_mut()[client] = Some(Since::now(kernel));
    }

    /// What a client was at has ended. Waits while nobody may begin anything.
    async fn rests(&self, client: usize, kernel: &Rc<Kernel>) {
        self.busy.borrow_mut()[client] = None;
        while self.rest.get() {
            kernel.sleep(REST_NS).await;
        }
    }

    /// Whether no client is at anything.
    pub fn is_at_rest(&self) -> bool {
        self.busy.borrow().iter().all(Option::is_none)
    }

    /// If a call may have failed because the only disk fails, the client ends here: its successor looks what has
    /// come of what it did.
    async fn bear(&self, error: Error, client: usize) {
        match error {
            Error::Device | Error::Corrupt if self.may_fail.get() => {
                self.quit.borrow_mut().push(client);
            }
            // The store has come back with another checkpoint than it had, or not at all.
            Error::PeerGone | Error::NoCheckpoint if self.may_fail.get() => self.stopped.set(true),
            _ => return,
        }
        pending().await
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
    let instance = || kernel.generation(naming.role);
    let system = vfs::Client::new(naming.clone());
    if succeeds || shared.oracle.borrow().is_homeless(client) {
        let what = format!("client {client}, a new instance");
        succeed(&kernel, &system, &shared, client, &what).await;
    }
    let mut descriptors = Descriptors::new();
    // What is to be deleted before anything else is done, since there was no room.
    let mut deletions = 0;
    loop {
        shared.rests(client, &kernel).await;
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
        shared.begins(client, &kernel);
        let what = format!("client {client}, operation {number}");
        if random.one_in(mix.sync_one_in) {
            let open: Vec<_> = descriptors.values().copied().collect();
            let file = (!open.is_empty() && random.one_in(2)).then(|| random.pick(&open));
            match sync(&system, &shared, file, &what).await {
                Ok(()) => {}
                // Pages stay dirty until there is room.
                Err(Error::NoSpace) if mix.room.is_some() => {
                    shared.refused.set(shared.refused.get() + 1);
                    deletions += 20;
                }
                Err(Error::Device | Error::Corrupt) if shared.may_fail.get() => {
                    // A store that has failed is out until the next boot, which somebody will see to.
                    shared.stopped.set(random.one_in(3));
                }
                Err(error) => {
                    shared.bear(error, client).await;
                    panic!("{what}: sync: {error}");
                }
            }
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
                        let deletion = (deletions > 0)
                            .then(|| random_deletion_below(&mut random, model, top))
                            .flatten();
                        deletion.unwrap_or_else(|| {
                            let any = random_operation_below(&mut random, model, top);
                            mix.habit.turns(&mut random, any, model, top)
                        })
                    }
                }
            };
            deletions = u64::saturating_sub(deletions, 1);
            let (expected, handle) = shared.oracle.borrow_mut().begin(client, &operation);
            let what = format!("{what}: {operation:?}");
            log::debug!("{what}");
            let before = instance();
            let (found, descriptor) = perform(&system, &descriptors, &operation).await;
            if let Err(error) = &found {
                shared.bear(*error, client).await;
            }
            // Naming died over it, and there was no room for it once more: what was made of it before stays.
            let is_write = matches!(operation, Operation::Write(..));
            if is_write && found == Err(Error::NoSpace) && before != instance() {
                shared.quit.borrow_mut().push(client);
                pending::<()>().await;
            }
            let extent = match mix.room.is_some() || shared.may_fail.get() {
                true => extent(&operation, &found),
                false => Extent::Whole,
            };
            match extent {
                Extent::Whole => {
                    let oracle = shared.oracle.borrow();
                    agree(oracle.model(client), &operation, found, expected, &what);
                    note_open(&mut descriptors, &operation, handle, descriptor);
                }
                Extent::Bytes(_) | Extent::Nothing => {
                    shared.refused.set(shared.refused.get() + 1);
                    deletions += random.pick(&[0, 0, 5, 20]);
                }
            }
            let ended = shared.oracle.borrow_mut().end(client, extent);
            ended.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
            shared.end();
        }
    }
}

/// How much of an operation was done, on a volume that may be full, or a disk that fails. What needs no room never
/// lacks it.
fn extent(operation: &Operation, found: &Result<Outcome>) -> Extent {
    let takes_room = match operation {
        Operation::Open(_, flags, _) => flags.contains(OpenFlags::CREATE),
        Operation::Write(..)
        | Operation::Mkdir(..)
        | Operation::Rename(..)
        | Operation::Link(..)
        | Operation::Symlink(..) => true,
        _ => false,
    };
    match (operation, found) {
        (_, Err(Error::NoSpace)) if takes_room => Extent::Nothing,
        (Operation::Write(_, _, len, _), Ok(Outcome::Written(bytes))) if bytes < len => {
            Extent::Bytes(*bytes)
        }
        _ => Extent::Whole,
    }
}

/// Something that frees room, if there is anything to be deleted.
fn random_deletion_below(random: &mut Random, model: &Model, top: &[u8]) -> Option<Operation> {
    let handles = model.handles();
    if !handles.is_empty() && random.one_in(3) {
        return Some(Operation::Close(random.pick(&handles)));
    }
    let mut paths = model.paths();
    paths.retain(|(path, _)| path.starts_with(top) && path.len() > top.len());
    if paths.is_empty() {
        return None;
    }
    let (path, node) = paths.swap_remove(random.below(paths.len() as u64) as usize);
    let is_directory = model.node(node).kind() == Kind::Directory;
    if !is_directory {
        return Some(Operation::Unlink(Path(path)));
    }
    let is_empty = model.readdir(&path).is_ok_and(|names| names.is_empty());
    is_empty.then_some(Operation::Rmdir(Path(path)))
}

/// A `sync`, or an `fsync` of a file that is open: that is a checkpoint of everything as well (`docs/measurements.md`).
async fn sync<F: FileSystem>(
    system: &F,
    shared: &Shared,
    file: Option<Descriptor>,
    what: &str,
) -> Result<()> {
    let begun = shared.oracle.borrow_mut().sync_begun();
    log::debug!("{what}: Sync, of {file:?}");
    let synced = match file {
        Some(file) => system.fsync(file).await,
        None => system.sync().await.map(|_| ()),
    };
    if synced.is_ok() {
        shared.oracle.borrow_mut().sync_ended(begun);
    }
    shared.end();
    synced
}

/// How often a directory is read again that could not be read to the end.
const READS_MAX: u32 = 50;

/// Directories that are given up before there is no use in going on.
const GIVEN_UP_MAX: usize = 12;

/// What is below a directory. A disk that fails may be well again the next time.
pub async fn read_tree<F: FileSystem>(
    kernel: &Rc<Kernel>,
    system: &F,
    shared: &Shared,
    top: &[u8],
) -> Tree {
    let mut reads = 0;
    loop {
        let tree = Tree::read_what_can_be(system, top).await;
        reads += 1;
        // What a lie has cost will not be well again.
        let lied_to = shared.oracle.borrow().is_lied_to();
        let enough = if lied_to { 3 } else { READS_MAX };
        if tree.is_whole() || reads >= enough || !shared.may_fail.get() {
            return tree;
        }
        kernel.sleep(1_000_000_000).await;
    }
}

/// Looks at what an instance that died has left. If that cannot be read to the end, there is a new directory.
async fn succeed<F: FileSystem>(
    kernel: &Rc<Kernel>,
    system: &F,
    shared: &Shared,
    client: usize,
    what: &str,
) {
    log::debug!("{what}");
    let is_homeless = shared.oracle.borrow().is_homeless(client);
    if !is_homeless {
        let top = shared.oracle.borrow().top(client).to_vec();
        let tree = read_tree(kernel, system, shared, &top).await;
        log::debug!("{what}: lost {:?}", tree.lost());
        for (path, error) in tree.lost() {
            match error {
                Error::PeerGone | Error::NoCheckpoint => shared.bear(*error, client).await,
                Error::Device | Error::Corrupt if shared.oracle.borrow().is_lied_to() => continue,
                _ => {}
            }
            panic!("{what}: {}: {error}", path.escape_ascii());
        }
        let succeeded = shared.oracle.borrow_mut().succeeded(client, &tree);
        if let Err(difference) = succeeded {
            panic!("{what}: {difference}");
        }
        shared.end();
    }
    shared.begins(client, kernel);
    let given_up = shared.oracle.borrow().given_up();
    for _ in 0..READS_MAX * u32::from(given_up < GIVEN_UP_MAX) {
        if !shared.oracle.borrow().is_homeless(client) {
            return;
        }
        let (top, begun) = {
            let mut oracle = shared.oracle.borrow_mut();
            (oracle.next_top(client), oracle.instant())
        };
        let made = system.mkdir(&top, 0o755).await;
        log::debug!("{what}: mkdir {}: {made:?}", top.escape_ascii());
        match made {
            Ok(()) => shared.oracle.borrow_mut().moved(client, top, begun),
            Err(Error::Device | Error::Corrupt | Error::NoSpace) => {
                kernel.sleep(1_000_000_000).await;
            }
            Err(error) => {
                shared.bear(error, client).await;
                panic!("{what}: a new directory: {error}");
            }
        }
        shared.end();
        shared.begins(client, kernel);
    }
    if shared.oracle.borrow().is_homeless(client) {
        // Too much is damaged.
        shared.over.set(true);
        pending::<()>().await;
    }
}

/// Compares the client's whole directory.
async fn look<F: FileSystem>(system: &F, shared: &Shared, client: usize, what: &str) {
    let top = shared.oracle.borrow().top(client).to_vec();
    let tree = match Tree::read(system, &top).await {
        Ok(tree) => tree,
        Err((path, error)) => {
            shared.bear(error, client).await;
            panic!("{what}: look: {path}: {error}");
        }
    };
    let model = shared.oracle.borrow().model(client).clone();
    let readable = |_, found: &File, bytes: &[u8]| found.difference_where_readable(bytes);
    let mut difference = tree.difference_where(&model, &top, &readable);
    if difference.is_none() && !tree.is_whole() {
        shared.bear(Error::Corrupt, client).await;
        difference = tree.difference(&model, &top);
    }
    if let Some(difference) = difference {
        panic!("{what}: look: {difference}");
    }
    shared.end();
}
