//! What applications would lose if the table of calls were wrong, one test each.

use abi::{PIECES_MAX, SEGMENTS_MAX};

use super::*;
use crate::{
    RoleSet,
    pins::{CHAIN_MAX, Chain},
};

const APP: usize = 1;
const CACHE: usize = 2;
const DRIVER: usize = 3;

fn message(text: &str) -> Message {
    Message::new(text.as_bytes()).unwrap()
}

fn own(address: u64, len: usize) -> Lent {
    Lent {
        origin: Origin::Own { address },
        len,
    }
}

fn part(parent: CallId, side: Side, offset: usize, len: usize) -> Lent {
    Lent {
        origin: Origin::Part {
            parent,
            side,
            offset,
        },
        len,
    }
}

fn call(calls: &mut Calls, from: usize, to: usize, send: &[Lent], receive: &[Lent]) -> CallId {
    calls
        .submit(from, to, &message("call"), send, receive)
        .unwrap()
}

fn serve(calls: &mut Calls, role: usize) -> CallId {
    calls.next_request(role).expect("a request").id
}

fn pieces(
    calls: &Calls,
    role: usize,
    id: CallId,
    side: Side,
    offset: usize,
    len: usize,
) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    calls.resolve(role, id, side, (offset, len), &mut |piece, _| {
        pieces.push(piece);
        Ok(())
    })?;
    Ok(pieces)
}

#[test]
fn a_call_is_answered_exactly_once() {
    let mut calls = Calls::new();
    let id = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(
        calls.reply(CACHE, id, message("early")),
        Err(Error::NoSuchCall)
    );
    assert_eq!(serve(&mut calls, CACHE), id);
    assert_eq!(
        calls.reply(DRIVER, id, message("forged")),
        Err(Error::NoSuchCall)
    );
    assert_eq!(calls.reply(CACHE, id, message("yes")), Ok(APP));
    assert_eq!(
        calls.reply(CACHE, id, message("again")),
        Err(Error::NoSuchCall)
    );
    let reply = calls.next_reply(APP).unwrap();
    assert_eq!(
        (reply.id, reply.status, reply.message.payload()),
        (id, 0, &b"yes"[..])
    );
    assert!(calls.next_reply(APP).is_none());
    assert_eq!(
        calls.cancel(APP, id),
        Err(Error::NoSuchCall),
        "the number names nothing any more"
    );
}

#[test]
fn requests_arrive_in_order_and_a_full_mailbox_is_an_error_to_the_sender() {
    let mut calls = Calls::new();
    for i in 0..MAILBOX_MAX {
        let caller = 10 + i % 4;
        calls
            .submit(caller, CACHE, &message(&i.to_string()), &[], &[])
            .unwrap();
    }
    assert_eq!(
        calls.submit(APP, CACHE, &Message::EMPTY, &[], &[]),
        Err(Error::Full)
    );
    for i in 0..MAILBOX_MAX {
        let request = calls.next_request(CACHE).unwrap();
        assert_eq!(request.message.payload(), i.to_string().as_bytes());
    }
    assert!(calls.next_request(CACHE).is_none());
    assert!(calls.submit(APP, CACHE, &Message::EMPTY, &[], &[]).is_ok());
}

#[test]
fn a_task_has_a_bounded_number_of_calls_in_flight() {
    let mut calls = Calls::new();
    for i in 0..CALLS_PER_TASK_MAX {
        call(&mut calls, APP, 10 + i % 2, &[], &[]);
    }
    assert_eq!(
        calls.submit(APP, 20, &Message::EMPTY, &[], &[]),
        Err(Error::Full)
    );
    let id = serve(&mut calls, 10);
    calls.reply(10, id, Message::EMPTY).unwrap();
    calls.next_reply(APP).unwrap();
    assert!(calls.submit(APP, 20, &Message::EMPTY, &[], &[]).is_ok());
}

#[test]
fn the_death_of_a_callee_ends_queued_and_served_calls_at_once() {
    let mut calls = Calls::new();
    let served = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(serve(&mut calls, CACHE), served);
    let queued = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(calls.role_died(CACHE), RoleSet::of(APP));
    let ends: Vec<_> = core::iter::from_fn(|| calls.next_reply(APP))
        .map(|reply| (reply.id, reply.status))
        .collect();
    let died = Error::PeerDied as i64;
    assert_eq!(ends, [(queued, died), (served, died)]);
    assert_eq!(
        calls.reply(CACHE, served, message("late")),
        Err(Error::NoSuchCall)
    );
    assert!(
        calls.next_request(CACHE).is_none(),
        "the next instance starts with an empty mailbox"
    );
}

#[test]
fn a_reply_to_a_dead_caller_goes_nowhere() {
    let mut calls = Calls::new();
    let id = call(&mut calls, APP, CACHE, &[own(0x1000, 8)], &[]);
    serve(&mut calls, CACHE);
    assert_eq!(calls.role_died(APP), RoleSet::of(CACHE));
    assert_eq!(calls.next_cancelled(CACHE), Some(id));
    assert_eq!(
        pieces(&calls, CACHE, id, Side::Send, 0, 8),
        Err(Error::NoSuchCall)
    );
    assert_eq!(
        calls.reply(CACHE, id, message("late")),
        Err(Error::NoSuchCall)
    );
    assert!(
        calls.next_reply(APP).is_none(),
        "the next instance never asked"
    );
    let fresh = call(&mut calls, APP, CACHE, &[], &[]);
    assert_ne!(fresh, id);
    assert_eq!(
        calls.reply(CACHE, id, message("later")),
        Err(Error::NoSuchCall)
    );
}

#[test]
fn a_cancelled_call_never_reaches_its_callee_or_is_taken_back() {
    let mut calls = Calls::new();
    let queued = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(calls.cancel(APP, queued), Ok(None));
    assert!(calls.next_request(CACHE).is_none());

    let served = call(&mut calls, APP, CACHE, &[], &[]);
    serve(&mut calls, CACHE);
    assert_eq!(calls.cancel(APP, served), Ok(Some(CACHE)));
    assert_eq!(
        calls.reply(CACHE, served, Message::EMPTY),
        Err(Error::NoSuchCall)
    );
    assert_eq!(
        calls.next_cancelled(CACHE),
        None,
        "it was answered before it was told"
    );

    let ended = call(&mut calls, APP, CACHE, &[], &[]);
    serve(&mut calls, CACHE);
    calls.reply(CACHE, ended, Message::EMPTY).unwrap();
    assert_eq!(calls.cancel(APP, ended), Ok(None));
    assert!(calls.next_reply(APP).is_none());
    assert_eq!(calls.cancel(CACHE, queued), Err(Error::NoSuchCall));
}

#[test]
fn a_stopped_role_fails_its_queue() {
    let mut calls = Calls::new();
    let id = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(
        calls.fail_requests(CACHE, Error::PeerGone),
        RoleSet::of(APP)
    );
    let reply = calls.next_reply(APP).unwrap();
    assert_eq!((reply.id, reply.status), (id, Error::PeerGone as i64));
}

#[test]
fn a_grant_is_found_piece_by_piece() {
    let mut calls = Calls::new();
    let id = call(
        &mut calls,
        APP,
        CACHE,
        &[own(0x1000, 10), own(0x9000, 20)],
        &[own(0x5000, 5)],
    );
    serve(&mut calls, CACHE);
    let piece = |address, len| Piece {
        owner: APP,
        address,
        len,
    };
    assert_eq!(
        pieces(&calls, CACHE, id, Side::Send, 8, 10).unwrap(),
        [piece(0x1008, 2), piece(0x9000, 8)]
    );
    assert_eq!(
        pieces(&calls, CACHE, id, Side::Receive, 0, 5).unwrap(),
        [piece(0x5000, 5)]
    );
    for (side, offset, len) in [
        (Side::Send, 0, 31),
        (Side::Send, 31, 1),
        (Side::Send, usize::MAX, 2),
        (Side::Receive, 1, 5),
    ] {
        assert_eq!(
            pieces(&calls, CACHE, id, side, offset, len),
            Err(Error::BadAddress)
        );
    }
    assert_eq!(
        pieces(&calls, DRIVER, id, Side::Send, 0, 1),
        Err(Error::NoSuchCall)
    );
    calls.reply(CACHE, id, Message::EMPTY).unwrap();
    assert_eq!(
        pieces(&calls, CACHE, id, Side::Send, 0, 1),
        Err(Error::NoSuchCall)
    );
}

#[test]
fn a_sub_grant_is_the_owners_memory_and_ends_with_its_parent() {
    let mut calls = Calls::new();
    let parent = call(
        &mut calls,
        APP,
        CACHE,
        &[own(0x1000, 4096)],
        &[own(0x8000, 4096)],
    );
    serve(&mut calls, CACHE);
    let lend = [own(0x40, 8), part(parent, Side::Send, 100, 50)];
    let child = call(
        &mut calls,
        CACHE,
        DRIVER,
        &lend,
        &[part(parent, Side::Receive, 4000, 96)],
    );
    serve(&mut calls, DRIVER);
    assert_eq!(
        pieces(&calls, DRIVER, child, Side::Send, 4, 10).unwrap(),
        [
            Piece {
                owner: CACHE,
                address: 0x44,
                len: 4
            },
            Piece {
                owner: APP,
                address: 0x1064,
                len: 6
            }
        ]
    );
    assert_eq!(
        pieces(&calls, DRIVER, child, Side::Receive, 95, 1).unwrap(),
        [Piece {
            owner: APP,
            address: 0x8000 + 4095,
            len: 1
        }]
    );
    assert_eq!(calls.role_died(APP), RoleSet::of(CACHE));
    assert_eq!(
        pieces(&calls, DRIVER, child, Side::Receive, 0, 1),
        Err(Error::NoSuchCall)
    );
    assert_eq!(
        pieces(&calls, DRIVER, child, Side::Send, 0, 8)
            .unwrap()
            .len(),
        1,
        "its own part"
    );
}

#[test]
fn nobody_lends_what_was_not_lent_to_them() {
    let mut calls = Calls::new();
    let parent = call(&mut calls, APP, CACHE, &[own(0x1000, 100)], &[]);
    let lend = |calls: &mut Calls, role, send: &[Lent], receive: &[Lent]| {
        calls.submit(role, 9, &Message::EMPTY, send, receive).err()
    };
    let whole = [part(parent, Side::Send, 0, 100)];
    assert_eq!(
        lend(&mut calls, CACHE, &whole, &[]),
        Some(Error::NoSuchCall),
        "not received yet"
    );
    serve(&mut calls, CACHE);
    assert_eq!(
        lend(&mut calls, DRIVER, &whole, &[]),
        Some(Error::NoSuchCall),
        "not the callee"
    );
    assert_eq!(
        lend(&mut calls, CACHE, &[], &whole),
        Some(Error::BadAddress),
        "lent to be read"
    );
    let beyond = [part(parent, Side::Send, 50, 51)];
    assert_eq!(
        lend(&mut calls, CACHE, &beyond, &[]),
        Some(Error::BadAddress)
    );
    let empty = [own(0x1000, 0)];
    assert_eq!(
        lend(&mut calls, CACHE, &empty, &[]),
        Some(Error::BadArgument)
    );
    let many = [own(0x1000, 1); SEGMENTS_MAX + 1];
    assert_eq!(
        lend(&mut calls, CACHE, &many, &[]),
        Some(Error::BadArgument)
    );
    assert_eq!(lend(&mut calls, CACHE, &whole, &[]), None);
}

#[test]
fn a_chain_of_sub_grants_has_a_bounded_length() {
    let mut calls = Calls::new();
    let mut id = call(&mut calls, 10, 11, &[own(0x1000, 64)], &[]);
    for role in 11.. {
        serve(&mut calls, role);
        let lend = [part(id, Side::Send, 0, 64)];
        match calls.submit(role, role + 1, &Message::EMPTY, &lend, &[]) {
            Ok(next) => id = next,
            Err(error) => {
                assert_eq!(error, Error::BadArgument);
                assert_eq!(role - 10, CHAIN_MAX);
                break;
            }
        }
        assert!(role < 40, "no bound");
    }
}

#[test]
fn forged_numbers_name_nothing() {
    let mut calls = Calls::new();
    for number in [0, 1, 0xffff, 0x1_ffff, u64::MAX] {
        let id = CallId::from_number(number);
        assert_eq!(
            calls.reply(CACHE, id, Message::EMPTY),
            Err(Error::NoSuchCall)
        );
        assert_eq!(calls.cancel(APP, id), Err(Error::NoSuchCall));
        assert_eq!(
            pieces(&calls, CACHE, id, Side::Send, 0, 1),
            Err(Error::NoSuchCall)
        );
    }
}

/// Random calls, replies, cancellations and deaths, against a model that only counts: every call
/// that was not given up by its caller ends exactly once, and no slot is ever lost.
#[test]
fn no_call_is_lost_or_ends_twice() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % bound as u64) as usize
    };
    let mut calls = Calls::new();
    let mut pending: Vec<(usize, CallId)> = Vec::new();
    let mut served: Vec<(usize, CallId)> = Vec::new();
    for step in 0..200_000 {
        let role = random(6);
        match random(10) {
            0..=3 => {
                let to = (role + 1 + random(5)) % 6;
                if let Ok(id) = calls.submit(role, to, &Message::EMPTY, &[own(0x1000, 8)], &[]) {
                    pending.push((role, id));
                }
            }
            4 | 5 => {
                if let Some(request) = calls.next_request(role) {
                    served.push((role, request.id));
                }
            }
            6 | 7 if !served.is_empty() => {
                let index = random(served.len());
                let (role, id) = served.swap_remove(index);
                let _ = calls.reply(role, id, Message::EMPTY);
            }
            8 if !pending.is_empty() => {
                let index = random(pending.len());
                let (role, id) = pending.swap_remove(index);
                assert!(calls.cancel(role, id).is_ok(), "step {step}");
            }
            9 if random(50) == 0 => {
                calls.role_died(role);
                pending.retain(|&(caller, _)| caller != role);
                served.retain(|&(callee, _)| callee != role);
            }
            _ => {}
        }
        while calls.next_cancelled(role).is_some() {}
        while let Some(reply) = calls.next_reply(role) {
            let known = pending.iter().position(|&call| call == (role, reply.id));
            pending.swap_remove(known.unwrap_or_else(|| panic!("unknown reply, step {step}")));
        }
    }
    for role in 0..6 {
        calls.role_died(role);
    }
    for role in 0..6 {
        while calls.next_request(role).is_some() {}
        while calls.next_cancelled(role).is_some() {}
        while calls.next_reply(role).is_some() {}
    }
    assert_eq!(calls.free.len(), CALLS_MAX);
}

#[test]
fn calls_given_up_count_until_their_callee_lets_go() {
    let mut calls = Calls::new();
    let mut given_up = Vec::new();
    for _ in 0..CALLS_PER_TASK_MAX {
        let id = call(&mut calls, APP, CACHE, &[], &[]);
        serve(&mut calls, CACHE);
        calls.cancel(APP, id).unwrap();
        while calls.next_cancelled(CACHE).is_some() {}
        given_up.push(id);
    }
    let again = |calls: &mut Calls| calls.submit(APP, CACHE, &Message::EMPTY, &[], &[]);
    assert_eq!(
        again(&mut calls),
        Err(Error::Full),
        "two tasks cannot take every slot"
    );
    let late = calls.reply(CACHE, given_up[0], Message::EMPTY);
    assert_eq!(late, Err(Error::NoSuchCall));
    assert!(again(&mut calls).is_ok());
    assert_eq!(again(&mut calls), Err(Error::Full));
    // The next instance of the caller has no part in what the last one gave up.
    calls.role_died(APP);
    assert!(again(&mut calls).is_ok());
    for id in &given_up[1..] {
        let _ = calls.reply(CACHE, *id, Message::EMPTY);
    }
    assert_eq!(calls.mailboxes[APP].in_flight, 1);
}

#[test]
fn memory_in_too_many_pieces_is_refused() {
    // Each level lends 64 times all of the level above, which begins with 64 single bytes.
    let mut calls = Calls::new();
    let bytes: Vec<_> = (0..64).map(|index| own(index * 2, 1)).collect();
    let mut parent = call(&mut calls, 0, 1, &bytes, &[]);
    for level in 1..4 {
        serve(&mut calls, level);
        let len = 64usize.pow(level as u32);
        let whole = Lent {
            origin: Origin::Part {
                parent,
                side: Side::Send,
                offset: 0,
            },
            len,
        };
        parent = call(&mut calls, level, level + 1, &[whole; 64], &[]);
    }
    serve(&mut calls, 4);
    let mut pieces = 0;
    let mut visit = |_: Piece, _: &Chain| {
        pieces += 1;
        Ok(())
    };
    let resolved = calls.resolve(4, parent, Side::Send, (0, 1 << 18), &mut visit);
    assert_eq!((resolved, pieces), (Err(Error::BadArgument), PIECES_MAX));
}

#[test]
fn what_is_due_is_known_of_callees_and_who_waits_of_callers() {
    let mut calls = Calls::new();
    let first = call(&mut calls, APP, CACHE, &[], &[]);
    let second = call(&mut calls, APP, CACHE, &[], &[]);
    let patient = call(&mut calls, CACHE, DRIVER, &[], &[]);
    calls.set_due(first, 700);
    calls.set_due(second, 500);
    assert_eq!(
        calls.due()[CACHE],
        (500, 0),
        "who may wait for ever does not"
    );
    assert_eq!(calls.due()[APP], (u64::MAX, 2));
    assert_eq!(calls.due()[DRIVER], (u64::MAX, 0));
    assert_eq!(serve(&mut calls, CACHE), first);
    assert_eq!(serve(&mut calls, CACHE), second);
    calls.set_due(patient, 900);
    assert_eq!(calls.due()[CACHE], (500, 1));
    // Answered, though the caller has not heard of it yet.
    assert_eq!(calls.reply(CACHE, second, message("yes")), Ok(APP));
    assert_eq!(calls.due()[CACHE], (700, 1));
    assert_eq!(calls.due()[APP], (u64::MAX, 1));
    assert_eq!(calls.cancel(APP, first), Ok(Some(CACHE)));
    assert_eq!(calls.due()[CACHE], (u64::MAX, 1));
    // A slot that is used again is due when its new call is.
    let again = call(&mut calls, APP, CACHE, &[], &[]);
    assert_eq!(calls.due()[CACHE].0, u64::MAX, "{again:?}");
}
