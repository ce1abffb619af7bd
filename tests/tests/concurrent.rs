//! Several programs at once on the whole stack: each in a directory of its own, against a model of its
//! own, so that whatever one sees of another is a difference. Syncs and deaths of tasks come in between.
//!
//! `GALAGO_SEEDS` asks for more runs than usual, `GALAGO_SEED` for one in particular.

#![recursion_limit = "256"]

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem::replace,
    task::Poll,
};

use futures_util::future::{join, join_all};
use storage::vfs::FileSystem;
use tests::{
    compare::same_subtree,
    model::Model,
    operation::random_operation_below,
    outcome::{Descriptors, step},
    random::{Random, seeds},
    stack::{CacheSize, TestClock, collapsed, disks, format, on_a_large_stack, random_kill, tasks},
};

const PROGRAMS: u64 = 4;
/// The time does not pass: what one program does may take place while another one asks for it.
const NOW: u64 = 100_000_000_000;

/// What one program knows.
#[derive(Clone)]
struct Program {
    top: Vec<u8>,
    model: Model,
    descriptors: Descriptors,
    random: Random,
    what: String,
}

impl Program {
    async fn new<F: FileSystem>(system: &F, seed: u64, number: u64) -> Self {
        let top = format!("/program{number}").into_bytes();
        let mut model = Model::new();
        model.at(NOW);
        model.mkdir(&top, 0o755).unwrap();
        system.mkdir(&top, 0o755).await.unwrap();
        Self {
            top,
            model,
            descriptors: Descriptors::new(),
            random: Random::new(seed * PROGRAMS + number),
            what: format!("concurrent, seed {seed}, program {number}"),
        }
    }

    async fn run<F: FileSystem>(&mut self, system: &F, steps: u32) {
        for at in 0..steps {
            let operation = random_operation_below(&mut self.random, &self.model, &self.top);
            let what = format!("{}, step {at}: {operation:?}", self.what);
            let (model, descriptors) = (&mut self.model, &mut self.descriptors);
            step(system, model, descriptors, &operation, &what).await;
            let_others_run().await;
        }
    }

    async fn check<F: FileSystem>(&self, system: &F) {
        same_subtree(system, &self.model, &self.top, &self.what).await;
    }
}

async fn let_others_run() {
    let mut waited = false;
    poll_fn(|context| {
        if replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn programs_at_once_do_not_notice_each_other() {
    on_a_large_stack(|| seeds(6).for_each(at_once));
}

fn at_once(seed: u64) {
    let (disks, clock) = (disks(2), TestClock::default());
    clock.set(NOW);
    // With a cache that holds next to nothing calls below take their time, and others run meanwhile.
    let (system, group) = tasks(&disks, &clock, CacheSize::Tiny);
    disks.iter().flatten().for_each(|disk| disk.delay(2));
    let random = RefCell::new(Random::new(!seed));
    let synced = system.run(async {
        format(&system.client(0), "concurrent").await;
        let mut programs = Vec::new();
        for number in 0..PROGRAMS {
            programs.push(Program::new(&system.client(number), seed, number).await);
        }
        for round in 0..4 {
            let running = Cell::new(PROGRAMS);
            let work = programs.iter_mut().zip(0..).map(async |(program, number)| {
                let client = system.client(number);
                for _ in 0..10 {
                    // The first rounds are without crashes.
                    if round > 1 && random.borrow_mut().one_in(4) {
                        group.plan(random_kill(&mut random.borrow_mut(), group.messages()));
                    }
                    program.run(&client, 8).await;
                }
                running.set(running.get() - 1);
            });
            let syncs = async {
                let mut syncs = 0;
                while running.get() > 0 {
                    system.client(PROGRAMS).sync().await.unwrap();
                    syncs += 1;
                    for _ in 0..20 {
                        let_others_run().await;
                    }
                }
                assert!(syncs > 3, "seed {seed}: {syncs} syncs");
            };
            join(join_all(work), syncs).await;
            let checks = programs.iter().zip(0..);
            join_all(checks.map(async |(it, number)| it.check(&system.client(number)).await)).await;
        }
        system.client(0).sync().await.unwrap();
        let synced = programs.clone();
        // What is not synced, the power failure takes. The crashes are long ago, so nobody syncs early.
        clock.set(2 * NOW);
        programs.iter_mut().for_each(|it| it.model.at(2 * NOW));
        let work = programs.iter_mut().zip(0..);
        join_all(work.map(async |(it, number)| it.run(&system.client(number), 40).await)).await;
        synced
    });
    assert!(group.kills() > 2, "seed {seed}: {} kills", group.kills());
    drop(system);
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(async {
        for program in &synced {
            program.check(&system.client(0)).await;
        }
    });
}
