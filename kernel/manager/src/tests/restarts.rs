//! The rules of restarting, played through with made-up times.

use std::{collections::BTreeSet, format, vec, vec::Vec};

use crate::policy::{
    Action, CALM_NS, CRASHES_MAX, Death, Member, PAUSE_NS, PAUSE_NS_MAX, Policy, State,
};
use abi::Cause;
use stack::Role;

const DISK_0: usize = 0;
const DISK_1: usize = 1;
const TAR: usize = 2;
const STORE_0: usize = 3;
const STORE_1: usize = 4;
const LOGICAL: usize = 5;
const CACHE: usize = 6;
const NAMING: usize = 7;
const CONSOLE: usize = 8;
const BENCH: usize = 9;
const ONCE: usize = 10;

const MS: u64 = 1_000_000;

fn member(role: Role, class: usize) -> Member {
    Member {
        role,
        class,
        optional: false,
        restart: true,
    }
}

/// A mirror of two disks, all of it answering since time zero.
fn mirror() -> Policy {
    let mut policy = Policy::new(vec![
        member(Role::Driver, 0),
        member(Role::Driver, 0),
        Member {
            optional: true,
            ..member(Role::Driver, 0)
        },
        member(Role::Storage, 1),
        member(Role::Storage, 1),
        member(Role::Storage, 2),
        member(Role::Cache, 3),
        member(Role::Naming, 4),
        member(Role::Console, 5),
        member(Role::Application, 6),
        Member {
            restart: false,
            ..member(Role::Application, 7)
        },
    ]);
    for task in 0..11 {
        policy.started(task);
        assert_eq!(
            policy.answered(task, 0),
            None,
            "a first start is no recovery"
        );
    }
    policy
}

fn kills(actions: &[Action]) -> BTreeSet<usize> {
    actions
        .iter()
        .filter_map(|action| {
            if let Action::Kill(task) = action {
                Some(*task)
            } else {
                None
            }
        })
        .collect()
}

fn spawns(actions: &[Action]) -> BTreeSet<usize> {
    actions
        .iter()
        .filter_map(|action| {
            if let Action::Spawn(task) = action {
                Some(*task)
            } else {
                None
            }
        })
        .collect()
}

fn set(tasks: &[usize]) -> BTreeSet<usize> {
    tasks.iter().copied().collect()
}

#[test]
fn a_driver_naming_and_an_application_are_restarted_alone_and_at_once() {
    for task in [DISK_0, TAR, NAMING, CONSOLE, BENCH] {
        let mut policy = mirror();
        let actions = policy.died(task, Death::Crash, 5 * MS, 6 * MS);
        assert_eq!(actions, [Action::Spawn(task)], "task {task}");
        let recovered = policy.answered(task, 9 * MS).expect("it is back");
        assert_eq!((recovered.culprit, recovered.duration_ns), (task, 4 * MS));
        assert_eq!(recovered.members, [task]);
    }
}

#[test]
fn all_storage_tasks_are_ended_before_any_is_started_again() {
    for task in [STORE_0, STORE_1, LOGICAL] {
        let mut policy = mirror();
        let actions = policy.died(task, Death::Crash, 5 * MS, 5 * MS);
        let others: BTreeSet<usize> = set(&[STORE_0, STORE_1, LOGICAL])
            .into_iter()
            .filter(|&other| other != task)
            .collect();
        assert_eq!(kills(&actions), others);
        assert_eq!(spawns(&actions), set(&[STORE_0, STORE_1, LOGICAL]));
        let first_spawn = actions
            .iter()
            .position(|action| matches!(action, Action::Spawn(_)));
        assert_eq!(first_spawn, Some(2), "{actions:?}");
        // What the others' deaths bring is known already.
        for other in others {
            policy.answered(other, 6 * MS);
        }
        assert_eq!(policy.state(task), State::Starting);
        let recovered = policy
            .answered(task, 30 * MS)
            .expect("the last of the group");
        assert_eq!((recovered.culprit, recovered.duration_ns), (task, 25 * MS));
        assert_eq!(recovered.members, [STORE_0, STORE_1, LOGICAL]);
    }
}

#[test]
fn with_the_cache_goes_what_is_below_it_and_not_naming() {
    let mut policy = mirror();
    let actions = policy.died(CACHE, Death::Crash, MS, MS);
    assert_eq!(kills(&actions), set(&[STORE_0, STORE_1, LOGICAL]));
    assert_eq!(spawns(&actions), set(&[STORE_0, STORE_1, LOGICAL, CACHE]));
    assert_eq!(policy.state(NAMING), State::Running(0));
}

#[test]
fn the_last_restart_before_the_end_is_told_apart() {
    let mut policy = mirror();
    for crash in 1..=CRASHES_MAX {
        assert!(
            !policy.is_last_chance(CACHE),
            "after {crash} crashes less one"
        );
        let now_ns = u64::from(crash) * PAUSE_NS_MAX;
        policy.died(CACHE, Death::Crash, now_ns, now_ns);
        policy.tick(u64::MAX);
    }
    assert!(policy.is_last_chance(CACHE));
    // Kills that a user asks for bring nothing nearer to its end.
    policy.died(CACHE, Death::Injected, u64::MAX / 2, u64::MAX / 2);
    assert!(policy.is_last_chance(CACHE));
    policy.tick(u64::MAX);
    let actions = policy.died(CACHE, Death::Crash, u64::MAX / 2, u64::MAX / 2);
    assert_eq!(actions, [Action::GiveUp(CACHE)]);
    // One that serves has made progress.
    let mut policy = mirror();
    for _ in 0..CRASHES_MAX {
        policy.died(CACHE, Death::Crash, MS, MS);
        policy.tick(u64::MAX);
    }
    policy.answered(CACHE, 10 * MS);
    let now_ns = 10 * MS + CALM_NS;
    policy.died(CACHE, Death::Crash, now_ns, now_ns);
    assert!(!policy.is_last_chance(CACHE));
}

#[test]
fn a_death_that_was_dealt_with_changes_nothing() {
    let mut policy = mirror();
    policy.died(STORE_0, Death::Crash, MS, MS);
    policy.stopped(TAR);
    assert!(policy.died(TAR, Death::Crash, MS, MS).is_empty());
    for _ in 0..3 {
        policy.died(NAMING, Death::Crash, 2 * MS, 2 * MS);
    }
    // It waits to be started: there is no instance that could die.
    assert_eq!(policy.state(NAMING), State::Down);
    assert!(policy.died(NAMING, Death::Crash, 3 * MS, 3 * MS).is_empty());
}

#[test]
fn kills_that_a_user_asked_for_never_wait_and_never_add_up() {
    for every_ns in [200 * MS, MS] {
        let mut policy = mirror();
        let victims = [DISK_0, STORE_0, LOGICAL, DISK_1, STORE_1];
        for kill in 0..300 {
            let (task, now_ns) = (victims[kill % victims.len()], kill as u64 * every_ns);
            let actions = policy.died(task, Death::Injected, now_ns, now_ns);
            assert!(spawns(&actions).contains(&task), "kill {kill}: {actions:?}");
            assert!(
                actions
                    .iter()
                    .all(|action| matches!(action, Action::Kill(_) | Action::Spawn(_))),
                "kill {kill}: {actions:?}"
            );
        }
    }
}

#[test]
fn a_kill_never_pauses_and_only_calm_before_it_wipes_crashes_out() {
    let mut policy = mirror();
    let mut now_ns = 0;
    for _ in 0..CRASHES_MAX {
        policy.died(NAMING, Death::Crash, now_ns, now_ns);
        now_ns += PAUSE_NS_MAX;
        policy.tick(now_ns);
        policy.answered(NAMING, now_ns);
    }
    for (calm_ns, next_crash) in [
        (CALM_NS - 1, Action::GiveUp(NAMING)),
        (CALM_NS, Action::Spawn(NAMING)),
    ] {
        let (mut policy, now_ns) = (policy.clone(), now_ns + calm_ns);
        let actions = policy.died(NAMING, Death::Injected, now_ns, now_ns);
        assert_eq!(actions, [Action::Spawn(NAMING)], "after {calm_ns} ns");
        policy.answered(NAMING, now_ns);
        let actions = policy.died(NAMING, Death::Crash, now_ns, now_ns);
        assert_eq!(actions, [next_crash], "after {calm_ns} ns");
    }
}

/// Lets a task crash as soon as it is started until something else is done; returns the pauses.
fn crash_loop(policy: &mut Policy, task: usize) -> (Vec<u64>, Vec<Action>) {
    let mut now_ns = 10 * MS;
    let mut pauses_ns = Vec::new();
    for _ in 0..100 {
        let mut actions = policy.died(task, Death::Crash, now_ns, now_ns);
        let mut pause_ns = 0;
        if let Some(until_ns) = actions.iter().find_map(|action| match action {
            Action::Wait(until_ns) => Some(*until_ns),
            _ => None,
        }) {
            assert!(
                policy
                    .tick(until_ns - 1)
                    .iter()
                    .all(|action| matches!(action, Action::Wait(_)))
            );
            pause_ns = until_ns - now_ns;
            now_ns = until_ns;
            actions = policy.tick(now_ns);
        }
        if !spawns(&actions).contains(&task) {
            return (pauses_ns, actions);
        }
        pauses_ns.push(pause_ns);
        now_ns += MS;
    }
    panic!("task {task} crashed a hundred times in a row, and nobody minded");
}

#[test]
fn a_crash_loop_slows_down_and_ends_the_stack_with_a_reason() {
    for task in [LOGICAL, CACHE, NAMING, CONSOLE] {
        let (pauses_ns, actions) = crash_loop(&mut mirror(), task);
        assert_eq!(pauses_ns.len(), CRASHES_MAX as usize);
        assert_eq!(pauses_ns[..4], [0, PAUSE_NS, 2 * PAUSE_NS, 4 * PAUSE_NS]);
        assert!(pauses_ns.is_sorted() && pauses_ns.iter().all(|&pause| pause <= PAUSE_NS_MAX));
        assert_eq!(actions, [Action::GiveUp(task)]);
    }
}

#[test]
fn progress_wipes_crashes_out() {
    let mut policy = mirror();
    let mut now_ns = 0;
    for crash in 0..10 * CRASHES_MAX {
        now_ns += CALM_NS;
        let actions = policy.died(NAMING, Death::Crash, now_ns, now_ns);
        assert_eq!(actions, [Action::Spawn(NAMING)], "crash {crash}");
        policy.answered(NAMING, now_ns);
    }
    // The same without time to make progress.
    for crash in 1..CRASHES_MAX {
        now_ns += CALM_NS - 1;
        let actions = policy.died(NAMING, Death::Crash, now_ns, now_ns);
        assert!(
            matches!(actions[..], [Action::Wait(_)]),
            "crash {crash}: {actions:?}"
        );
        now_ns += PAUSE_NS_MAX;
        policy.tick(now_ns);
        policy.answered(NAMING, now_ns);
    }
    let actions = policy.died(NAMING, Death::Crash, now_ns, now_ns);
    assert_eq!(actions, [Action::GiveUp(NAMING)]);
}

#[test]
fn a_store_or_disk_that_keeps_crashing_leaves_its_mirror_and_the_last_one_ends_the_stack() {
    let mut policy = mirror();
    let (_, actions) = crash_loop(&mut policy, STORE_0);
    assert_eq!(actions[0], Action::Stop(STORE_0));
    assert_eq!(
        kills(&actions),
        set(&[STORE_1, LOGICAL]),
        "they go back to the checkpoint"
    );
    assert_eq!(spawns(&actions), set(&[STORE_1, LOGICAL]));
    let (_, actions) = crash_loop(&mut policy, STORE_1);
    assert_eq!(actions, [Action::GiveUp(STORE_1)]);

    let mut policy = mirror();
    let (_, actions) = crash_loop(&mut policy, DISK_1);
    assert_eq!(actions, [Action::Stop(DISK_1)]);
    let (_, actions) = crash_loop(&mut policy, DISK_0);
    assert_eq!(
        actions,
        [Action::GiveUp(DISK_0)],
        "the disk with the tar cannot stand in"
    );
}

#[test]
fn the_stack_goes_on_without_what_is_optional_or_an_application() {
    for task in [TAR, BENCH] {
        let (_, actions) = crash_loop(&mut mirror(), task);
        assert_eq!(actions, [Action::Stop(task)]);
    }
    let mut policy = mirror();
    assert_eq!(
        policy.died(ONCE, Death::Crash, MS, MS),
        [Action::Stop(ONCE)]
    );
    assert_eq!(
        policy.died(BENCH, Death::Finished, MS, MS),
        [Action::Stop(BENCH)]
    );
    assert_eq!(policy.state(BENCH), State::Stopped);
}

#[test]
fn outages_that_meet_become_one_with_the_first_ones_clock() {
    let mut policy = mirror();
    policy.died(STORE_0, Death::Crash, MS, MS);
    let actions = policy.died(STORE_0, Death::Crash, 2 * MS, 2 * MS);
    assert_eq!(kills(&actions), set(&[STORE_1, LOGICAL]));
    assert_eq!(actions.last(), Some(&Action::Wait(2 * MS + PAUSE_NS)));
    // While the stores wait, the cache dies.
    let actions = policy.died(CACHE, Death::Crash, 3 * MS, 3 * MS);
    assert_eq!(kills(&actions), set(&[]));
    assert_eq!(
        spawns(&actions),
        set(&[]),
        "all of them wait for the stores' pause"
    );
    let actions = policy.tick(2 * MS + PAUSE_NS);
    let all = [STORE_0, STORE_1, LOGICAL, CACHE];
    assert_eq!(spawns(&actions), set(&all));
    let recovered: Vec<_> = all
        .iter()
        .filter_map(|&task| policy.answered(task, 50 * MS))
        .collect();
    assert_eq!(recovered.len(), 1);
    assert_eq!(
        (recovered[0].culprit, recovered[0].duration_ns),
        (STORE_0, 49 * MS)
    );
}

#[test]
fn what_cannot_be_started_counts_as_a_crash() {
    let mut policy = mirror();
    policy.died(NAMING, Death::Crash, MS, MS);
    let mut last = Vec::new();
    for attempt in 0..CRASHES_MAX {
        last = policy.spawn_failed(NAMING, MS + u64::from(attempt) * PAUSE_NS_MAX);
        policy.tick(u64::MAX);
    }
    assert_eq!(last, [Action::GiveUp(NAMING)]);
}

#[test]
fn causes_mean_what_they_should() {
    let of = |cause, code| Death::of(Role::Application, cause, code);
    assert_eq!(of(Cause::Exit, 0), Death::Finished);
    assert_eq!(of(Cause::Exit, 75), Death::Crash);
    assert_eq!(of(Cause::Injected, 0), Death::Injected);
    for cause in [
        Cause::Panic,
        Cause::BadAccess,
        Cause::Quota,
        Cause::Killed,
        Cause::BadCall,
    ] {
        assert_eq!(of(cause, 0), Death::Crash);
    }
    for role in [
        Role::Driver,
        Role::Storage,
        Role::Cache,
        Role::Naming,
        Role::Console,
    ] {
        assert_eq!(Death::of(role, Cause::Exit, 0), Death::Crash, "{role:?}");
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Carries out actions on a model of the kernel: which roles have an instance.
fn apply(up: &mut [bool], stopped: &mut [bool], actions: &[Action], at: &str) -> bool {
    for action in actions {
        match *action {
            Action::Kill(task) => {
                assert!(up[task], "{at}: killed {task}, which was dead");
                up[task] = false;
            }
            Action::Spawn(task) => {
                assert!(
                    !up[task] && !stopped[task],
                    "{at}: started {task} twice or after its end"
                );
                up[task] = true;
            }
            Action::Stop(task) => {
                assert!(!up[task], "{at}: stopped {task} alive");
                stopped[task] = true;
            }
            Action::Wait(_) => {}
            Action::GiveUp(_) => return true,
        }
    }
    false
}

#[test]
fn whatever_dies_when_everything_that_is_not_out_comes_back() {
    for seed in 0..300 {
        let mut state = seed;
        let mut policy = mirror();
        let (mut up, mut stopped) = ([true; 11], [false; 11]);
        let mut now_ns = 0;
        let mut ended = false;
        for step in 0..200 {
            let at = format!("seed {seed}, step {step}");
            now_ns += random(&mut state) % (40 * MS);
            let task = (random(&mut state) % 11) as usize;
            let actions = match random(&mut state) % 8 {
                0 if up[task] => {
                    up[task] = false;
                    policy.died(task, Death::Crash, now_ns, now_ns)
                }
                1 | 2 if up[task] => {
                    up[task] = false;
                    policy.died(task, Death::Injected, now_ns, now_ns)
                }
                3..6 if up[task] => {
                    policy.answered(task, now_ns);
                    Vec::new()
                }
                _ => policy.tick(now_ns),
            };
            for task in 0..11 {
                assert!(
                    actions
                        .iter()
                        .filter(|action| **action == Action::Spawn(task))
                        .count()
                        <= 1,
                    "{at}: {actions:?}"
                );
            }
            if apply(&mut up, &mut stopped, &actions, &at) {
                ended = true;
                break;
            }
        }
        if ended {
            continue;
        }
        let actions = policy.tick(u64::MAX);
        apply(
            &mut up,
            &mut stopped,
            &actions,
            &format!("seed {seed}, end"),
        );
        for task in 0..11 {
            assert!(
                up[task] != stopped[task],
                "seed {seed}: task {task} is neither up nor out"
            );
            assert_eq!(policy.is_up(task), up[task], "seed {seed}: task {task}");
            policy.answered(task, u64::MAX);
            assert!(matches!(
                policy.state(task),
                State::Running(_) | State::Stopped
            ));
        }
    }
}

#[test]
fn whoever_takes_over_knows_from_who_is_out_whether_the_stack_can_go_on() {
    for (out, can_go_on) in [
        (&[CACHE][..], false),
        (&[NAMING], false),
        (&[TAR, ONCE, BENCH], true),
        (&[DISK_1, STORE_1], true),
        (&[DISK_0, DISK_1], false),
        (&[LOGICAL], false),
    ] {
        let mut policy = mirror();
        out.iter().for_each(|&task| policy.stopped(task));
        let missed = out.iter().all(|&task| policy.can_be_missed(task));
        assert_eq!(missed, can_go_on, "{out:?}");
    }
}
