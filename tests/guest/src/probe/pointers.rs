//! Pointers that are not the task's, in every place of every system call that takes one.
//!
//! Each place is tried with arguments that are good but for the pointer, by a task with every right,
//! so that nothing but the pointer can be refused, and it must be refused as what it is.

use abi::{
    CallDescriptor, Error, Grant, Memory, Message, Name, START_INFO_ADDRESS, Segment, Side,
    system_call as number,
};
use runtime::{Request, device, system};
use storage::buffer::LentMemory as _;

/// What a system call does at a pointer.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// Addresses at which a task has nothing: pages that catch null pointers, the kernel's, and what ends
/// beyond a task's highest address or beyond the last one there is.
const NOWHERE: [u64; 7] = [
    0,
    0x1000,
    0x2fff_0000_0000,
    0xffff_8000_0010_0000,
    0x8000_0000_0000_0000,
    u64::MAX - 7,
    0x7fff_ffff_eff8,
];

/// Bytes given with a pointer where the length is an argument.
const LEN: u64 = 64;

/// The system calls that take no pointer. Every other one has its places below; a number that is in
/// neither list must be none.
const WITHOUT_POINTERS: [u64; 16] = [
    number::EXIT,
    number::GROW_HEAP,
    number::CANCEL,
    number::UNPIN,
    number::DEVICE_QUIESCED,
    number::CONFIGURATION_READ,
    number::CONFIGURATION_WRITE,
    number::INTERRUPT_DONE,
    number::PORT_READ,
    number::KILL,
    number::STOP,
    number::POWER,
    number::INJECT,
    number::MARK,
    // An address to go on at, which need not be mapped, but must be one.
    number::FAULT_ENTRY,
    // Ends the task, and so has a test of its own.
    number::PANIC,
];

/// One past the last number that is tried.
const NUMBERS_END: u64 = 64;

/// A pointer that was not refused as what it is.
pub struct Accepted {
    /// Which system call.
    pub number: u64,
    /// What it returned.
    pub result: i64,
}

fn expect_refusal(
    number: u64,
    mut arguments: [u64; 6],
    place: usize,
    pointer: u64,
) -> Result<(), Accepted> {
    arguments[place] = pointer;
    // SAFETY: the kernel refuses the pointer before it touches it, which is what is tested.
    let result = match unsafe { system::call(number, arguments) } {
        Err(Error::BadAddress) => return Ok(()),
        Err(error) => error as i64,
        Ok(value) => value as i64,
    };
    Err(Accepted { number, result })
}

/// Tries all bad pointers in all places; `peer` is a role that the task may call, `port` a port it may
/// write to. The request must lend a page each way, to be read and to be written. Returns how many
/// pointers were refused.
pub fn try_all(request: &Request, peer: u64, port: u64) -> Result<u64, Accepted> {
    let (send, receive) = (Side::Send as u64, Side::Receive as u64);
    let name = Name::new("probe").unwrap_or(Name::EMPTY);
    let name = core::ptr::from_ref(&name) as u64;
    let mut buffer = [0_u8; 4096];
    let buffer = buffer.as_mut_ptr() as u64;
    let token = request.token();
    let places = [
        (number::LOG, [3, 0, LEN, 0, 0, 0], 1, Read),
        (number::SUBMIT, [0; 6], 0, Read),
        (number::WAIT, [0, 1, 0, 0, 0, 0], 0, Write),
        (number::REPLY, [token, 0, 0, 0, 0, 0], 1, Read),
        (number::COPY_FROM, [token, send, 0, 0, LEN, 0], 3, Write),
        (number::COPY_FROM, [token, receive, 0, 0, LEN, 0], 3, Write),
        (number::COPY_TO, [token, 0, 0, LEN, 0, 0], 2, Read),
        (number::PIN, [token, send, 0, LEN, 0, 4], 4, Write),
        (number::DMA_ALLOCATE, [1, 0, 0, 0, 0, 0], 1, Write),
        (number::MAP_BAR, [window(), 0, 0, 0, 0, 0], 1, Write),
        (number::ALLOCATE_INTERRUPT, [0; 6], 0, Write),
        (number::PORT_WRITE, [port, 0, LEN, 0, 0, 0], 1, Read),
        (number::ROLE_MEMORY, [1, 0, 0, 0, 0, 0], 1, Write),
        (number::READ_LOG, [0, LEN, 0, 0, 0, 0], 0, Write),
        (number::TASKS, [0, 1, 0, 0, 0, 0], 0, Write),
        (number::COUNTERS, [0; 6], 0, Write),
        (number::DEVICES, [0, 1, 0, 0, 0, 0], 0, Write),
        (number::DECLARE, [0; 6], 0, Read),
        (number::SPAWN, [peer, 0, 0, 0, 0, 0], 1, Read),
        (number::DEATH_REPORT, [peer, 0, 0, 0, 0, 0], 1, Write),
        (number::READ_ARCHIVE, [0, 0, buffer, LEN, 0, 0], 0, Read),
        (number::READ_ARCHIVE, [name, 0, 0, LEN, 0, 0], 2, Write),
    ];
    let mut refused = 0;
    for (number, arguments, place, access) in places {
        for pointer in pointers(access) {
            expect_refusal(number, arguments, place, pointer)?;
            refused += 1;
        }
    }
    for entry in [0x7fff_ffff_f000, 0x8000_0000_0000, u64::MAX] {
        expect_refusal(number::FAULT_ENTRY, [0; 6], 0, entry)?;
        refused += 1;
    }
    for other in (0..NUMBERS_END).filter(|other| !WITHOUT_POINTERS.contains(other)) {
        if places.iter().any(|&(number, ..)| number == other) {
            continue;
        }
        // SAFETY: there is no such system call, which is what is tested.
        let result = unsafe { system::call(other, [0; 6]) };
        if result != Err(Error::NoSuchSystemCall) {
            let result = result.map_or_else(|error| error as i64, |value| value as i64);
            let number = other;
            return Err(Accepted { number, result });
        }
    }
    Ok(refused + try_grants(peer)?)
}

/// The pointers inside of what `SUBMIT` takes: to the segments, and to what they lend.
fn try_grants(peer: u64) -> Result<u64, Accepted> {
    let submit = |send, receive| {
        let descriptor = CallDescriptor {
            callee: peer,
            message: Message::EMPTY,
            send,
            receive,
            patience_ns: u64::MAX,
        };
        let descriptor = core::ptr::from_ref(&descriptor) as u64;
        expect_refusal(number::SUBMIT, [descriptor, 0, 0, 0, 0, 0], 0, descriptor)
    };
    let mut refused = 0;
    for access in [Read, Write] {
        for pointer in pointers(access) {
            let segment = Segment {
                memory: Memory::Own as u32,
                reserved: 0,
                token: 0,
                address: pointer,
                len: LEN,
            };
            let lent = Grant {
                segments: core::ptr::from_ref(&segment) as u64,
                count: 1,
            };
            match access {
                Read => submit(lent, Grant::NONE)?,
                Write => submit(Grant::NONE, lent)?,
            }
            refused += 1;
        }
    }
    for segments in NOWHERE {
        let lent = Grant { segments, count: 1 };
        submit(lent, Grant::NONE)?;
        submit(Grant::NONE, lent)?;
        refused += 2;
    }
    Ok(refused)
}

/// What is not there, what begins in the task's memory and ends outside of it, and, to be written, what
/// may only be read.
fn pointers(access: Access) -> impl Iterator<Item = u64> {
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    let constant = core::hint::black_box(&CONSTANT).as_ptr() as u64;
    let code = try_all as *const () as u64;
    let end = START_INFO_ADDRESS + size_of::<abi::StartInfo>().next_multiple_of(4096) as u64;
    let read_only = [START_INFO_ADDRESS, constant, code];
    NOWHERE
        .into_iter()
        .chain([end - 4])
        .chain(read_only.into_iter().filter(move |_| access == Write))
}

/// A window of registers that the task's device has.
fn window() -> u64 {
    (0..6)
        .find(|&window| device::map_bar(window).is_ok())
        .unwrap_or(0)
}
