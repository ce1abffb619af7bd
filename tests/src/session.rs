//! A program that does random things, the model that knows what must come of it, and the
//! checkpoints that were made meanwhile.

use std::{collections::BTreeMap, rc::Rc};

use storage::{block::ram::RamDisk, vfs::FileSystem};

use crate::{
    compare::same_tree,
    model::Model,
    operation::{Operation, random_operation},
    outcome::{Descriptors, step},
    overwrites::Overwrites,
    random::Random,
    stack::{CacheSize, TestClock, collapsed, disks, format},
};

/// Two disks with a volume of some files, synced, and the session that made them.
#[must_use]
pub fn volume(name: &str, seed: u64) -> (Vec<Option<Rc<RamDisk>>>, TestClock, Session) {
    let (disks, clock) = (disks(2), TestClock::default());
    let mut session = Session::new(name, seed, &clock);
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(async {
        let client = system.client(0);
        format(&client, &session.what()).await;
        for _ in 0..150 {
            session.step(&client).await;
        }
        let checkpoint = session.sync(&client).await;
        session.crashed(checkpoint);
    });
    drop(system);
    (disks, clock, session)
}

/// A run of random operations on one volume.
pub struct Session {
    /// Where all choices come from.
    pub random: Random,
    /// What the file system must hold now.
    pub model: Model,
    /// What it must hold as of each checkpoint that a `sync` has returned.
    pub checkpoints: BTreeMap<u64, Model>,
    clock: TestClock,
    descriptors: Descriptors,
    name: String,
    steps: u64,
}

impl Session {
    /// A session on a freshly formatted volume.
    #[must_use]
    pub fn new(name: &str, seed: u64, clock: &TestClock) -> Self {
        Self {
            random: Random::new(seed),
            model: Model::new(),
            checkpoints: BTreeMap::new(),
            clock: clock.clone(),
            descriptors: Descriptors::new(),
            name: format!("{name}, seed {seed}"),
            steps: 0,
        }
    }

    /// Which run and which step this is, for messages.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{}, step {}", self.name, self.steps)
    }

    fn tick(&mut self) {
        self.steps += 1;
        let now = 1_000_000_000 + self.steps;
        self.clock.set(now);
        self.model.at(now);
    }

    /// Does the next thing.
    pub async fn step<F: FileSystem>(&mut self, system: &F) {
        self.tick();
        let operation = random_operation(&mut self.random, &self.model);
        let what = format!("{}: {operation:?}", self.what());
        self.perform(system, &operation, &what).await;
    }

    async fn perform<F: FileSystem>(&mut self, system: &F, operation: &Operation, what: &str) {
        let (model, descriptors) = (&mut self.model, &mut self.descriptors);
        step(system, model, descriptors, operation, what).await;
    }

    /// As [`Session::crashed`], on a system that overwrites in place: of each block one of its contents
    /// since the checkpoint is there. See [`Overwrites::settle`].
    pub async fn settle<F: FileSystem>(
        &mut self,
        system: &F,
        checkpoint: u64,
        overwrites: &Overwrites,
        is_there: impl Fn(&[u8], &[u8]) -> bool,
    ) -> (u64, u64) {
        self.crashed(checkpoint);
        self.tick();
        let what = self.what();
        overwrites
            .settle(system, &mut self.model, is_there, &what)
            .await
    }

    /// Syncs; returns the checkpoint.
    pub async fn sync<F: FileSystem>(&mut self, system: &F) -> u64 {
        self.tick();
        let synced = system.sync().await;
        let checkpoint = synced.unwrap_or_else(|error| panic!("{}: sync: {error}", self.what()));
        self.checkpoints.insert(checkpoint, self.model.clone());
        checkpoint
    }

    /// Compares everything with the model.
    pub async fn check<F: FileSystem>(&self, system: &F) {
        same_tree(system, &self.model, &self.what()).await;
    }

    /// What the file system must hold after a crash of the machine that led back to `checkpoint`:
    /// that checkpoint, with nothing open.
    pub fn crashed(&mut self, checkpoint: u64) {
        let model = self.checkpoints.get(&checkpoint);
        let what = self.what();
        self.model = model
            .unwrap_or_else(|| panic!("{what}: checkpoint {checkpoint}?"))
            .clone();
        self.model.close_all();
        self.descriptors.clear();
    }

    /// Closes everything.
    pub async fn close_all<F: FileSystem>(&mut self, system: &F) {
        for handle in self.model.handles() {
            let what = self.what();
            self.perform(system, &Operation::Close(handle), &what).await;
        }
    }
}
