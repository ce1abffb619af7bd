//! Faults of memory: stores and jumps that go where they should not. Whatever they hit is the task's own:
//! that is what address spaces are for.

use core::{
    arch::asm,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use abi::{Fault, PAGE_BYTES, Region};
use storage::faulty::Random;

use super::misbehaviour;
use crate::{heap, system};

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
    static data_start: u8;
    static data_end: u8;
}

/// Words that one fault writes, if it is not told how many, and at most.
const WORDS: u64 = 16;
const WORDS_MAX: u64 = 100_000;

/// Where the stack begins, as far as can be told.
static STACK_TOP: AtomicU64 = AtomicU64::new(0);

/// A range of addresses, its end excluded.
type Range = (u64, u64);

/// Notes where the stack begins; called by the first function of the program.
pub fn note_stack() {
    STACK_TOP.store(stack_pointer(), Relaxed);
}

fn stack_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: a register is read.
    unsafe { asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack)) };
    pointer
}

fn stack() -> Range {
    (stack_pointer(), STACK_TOP.load(Relaxed))
}

fn text() -> Range {
    ((&raw const text_start) as u64, (&raw const text_end) as u64)
}

fn data() -> Range {
    ((&raw const data_start) as u64, (&raw const data_end) as u64)
}

fn surviving() -> Range {
    let (start, pages) = system::role_memory(0).unwrap_or((0, 0));
    (start, start + pages * PAGE_BYTES as u64)
}

fn region(region: Region, random: &mut Random) -> Range {
    match region {
        Region::Heap => heap::range(),
        Region::Stack => stack(),
        Region::Data => data(),
        Region::Surviving => surviving(),
        Region::Any => {
            let all = [heap::range(), stack(), data(), surviving()];
            let there: u64 = all.iter().filter(|(start, end)| start < end).count() as u64;
            let mut chosen = random.below(there);
            for range in all {
                if range.0 < range.1 {
                    if chosen == 0 {
                        return range;
                    }
                    chosen -= 1;
                }
            }
            data()
        }
    }
}

/// Stores a word where it does not belong.
fn store(address: u64, value: u64) {
    // SAFETY: none, and that is the point. The processor keeps it within this task, which the
    // restart manager wants to see damaged.
    unsafe { (address as *mut u64).write_volatile(value) }
}

fn load(address: u64) -> u64 {
    // SAFETY: as for `store`.
    unsafe { (address as *const u64).read_volatile() }
}

fn wild_writes(random: &mut Random, region_of: Region, count: u64) {
    for _ in 0..count {
        let (start, end) = region(region_of, random);
        if end >= start + 8 {
            let word = random.below((end - start) / 8);
            let value = random.number();
            store(start + word * 8, value);
        }
    }
}

fn jump(address: u64) -> ! {
    // SAFETY: none, as for `store`.
    unsafe { asm!("jmp {}", in(reg) address, options(noreturn)) }
}

/// A static array and what an overrun of it runs over: whatever static data comes behind it.
static mut ARRAY: [u64; 32] = [0; 32];

/// Has one of the faults of memory happen.
pub fn suffer(fault: Fault, argument: u64, seed: u64) {
    let mut random = Random::new(seed);
    let count = match argument & 0xffff_ffff {
        0 => WORDS,
        count => count.min(WORDS_MAX),
    };
    match fault {
        Fault::WildWrite => {
            let region = Region::from_number((argument >> 32) as u32);
            wild_writes(&mut random, region, count);
        }
        Fault::HeapCorruption => heap::corrupt(&mut || random.number()),
        Fault::StaticOverrun => {
            let start = (&raw const ARRAY) as u64;
            let (_, end) = data();
            for word in 0..32 + count {
                if start + word * 8 + 8 <= end {
                    store(start + word * 8, random.number());
                }
            }
            misbehaviour::begin(Fault::StaticOverrun, seed);
        }
        Fault::DoubleFree => heap::free_twice(),
        Fault::UseAfterFree => heap::write_freed(random.number()),
        Fault::OffByOne => heap::write_past(random.number() as u8),
        Fault::NullPointer => {
            load(8);
        }
        Fault::WriteToCode => {
            let (start, end) = text();
            store((start + random.below(end - start)) & !7, random.number());
        }
        Fault::RunData => jump(data().0),
        Fault::SmashedStack => {
            let (start, end) = stack();
            // From the frames of the interrupted code on: those of this function are not its own.
            let words = ((end.saturating_sub(start)) / 8).min(count.max(512));
            for word in 0..words {
                let value = random.number();
                let at = start + word * 8;
                let (low, high) = text();
                // What looks like a return address.
                if (low..high).contains(&load(at)) {
                    store(at, value & 0x0000_7fff_ffff_ffff);
                }
            }
        }
        Fault::BitFlip => {
            let (start, end) = heap::range();
            if start + 8 <= end {
                let at = start + random.below((end - start) / 8) * 8;
                let bit = random.below(64);
                store(at, load(at) ^ 1 << bit);
            }
        }
        _ => {
            // Into code, into data, or to where nothing is.
            let (start, end) = match random.below(3) {
                0 => text(),
                1 => data(),
                _ => (PAGE_BYTES as u64, 0x7fff_ffff_0000),
            };
            jump(start + random.below(end - start))
        }
    }
}
