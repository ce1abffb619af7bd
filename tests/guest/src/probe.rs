//! A task that does as it is told, however bad.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, vec::Vec};
use core::cell::{Cell, RefCell};
use core::hint::black_box;

use abi::{Error, Message};
use guest_tests::{Answer, Command, Fault, compute};
use runtime::{Endpoint, Request, device, system};
use storage::{
    buffer::{LentMemory, Sink},
    transport::{self, Transport, decode, encode},
};

#[path = "probe/lending.rs"]
mod lending;
#[path = "probe/pointers.rs"]
mod pointers;

runtime::main!(run);

/// Requests that are at work at a time.
const LIMIT: usize = 32;
const PATTERN: u64 = 0x6761_6c61_676f_2121;
const HOARDED: u8 = 0x5a;

/// What a probe keeps from one command to the next.
struct Probe {
    kept: Cell<u64>,
    bus: Cell<u64>,
    lent: RefCell<Option<(u64, Box<[u8; 4096]>)>>,
    /// A call that is to be given up.
    raw: Cell<u64>,
    hoarded: Cell<&'static [u8]>,
}

async fn run() {
    let probe: &'static Probe = Box::leak(Box::new(Probe {
        kept: Cell::new(0),
        bus: Cell::new(0),
        lent: RefCell::new(None),
        raw: Cell::new(0),
        hoarded: Cell::new(&[]),
    }));
    runtime::serve(LIMIT, move |request| probe.serve(request)).await;
}

fn said<T>(result: Result<T, Error>) -> i64 {
    result.err().map_or(0, |error| error as i64)
}

impl Probe {
    async fn serve(&self, request: Request) {
        let Ok(command) = decode::<Command>(request.message()) else {
            return;
        };
        let token = request.token();
        let (mut value, mut kernel) = (0, 0);
        match command {
            Command::Sum => match request.send().to_vec() {
                Ok(bytes) => value = bytes.iter().map(|&byte| u64::from(byte)).sum(),
                Err(_) => kernel = -1,
            },
            Command::Misbehave(fault) => misbehave(fault, &request),
            Command::Hold => {
                self.kept.set(token);
                core::mem::forget(request);
                return;
            }
            Command::Remember => self.kept.set(token),
            Command::AnswerKept => kernel = said(system::reply(self.kept.get(), &Message::EMPTY)),
            Command::ReadKept => {
                let mut byte = [0];
                kernel = said(system::copy_from(
                    self.kept.get(),
                    abi::Side::Send,
                    0,
                    &mut byte,
                ));
                value = u64::from(byte[0]);
            }
            Command::ReadLent { offset, len } => {
                let mut bytes = alloc::vec![0; len as usize];
                kernel = said(system::copy_from(
                    token,
                    abi::Side::Send,
                    offset,
                    &mut bytes,
                ));
            }
            Command::WriteLent { offset, len } => {
                let bytes = alloc::vec![0xaa; len as usize];
                kernel = said(system::copy_to(token, offset, &bytes));
            }
            Command::Lend(role) => kernel = self.lend(role),
            Command::TakeBack => value = self.take_back(),
            Command::PassOn(role) => pass_on(&request, role, &Command::Hold).await,
            Command::PassOnPinned(role) => pass_on(&request, role, &Command::Pin).await,
            Command::Fill => kernel = fill(&request),
            Command::FillAndExit => system::exit(fill(&request) as u64),
            Command::Flood(role) => (value, kernel) = flood(role),
            Command::RoleMemory => (value, kernel) = role_memory(),
            Command::Pin => {
                let source = request.send();
                let Some(storage::buffer::SourceSegment::Lent(lent)) = source.segments().first()
                else {
                    return;
                };
                let mut pieces = [abi::DmaAddress { address: 0, len: 0 }; 4];
                if device::pin(lent, &mut pieces).is_ok() {
                    self.bus.set(pieces[0].address);
                    self.kept.set(token);
                }
                drop(source);
                core::mem::forget(request);
                return;
            }
            Command::PinWritten => {
                let mut pieces = [abi::DmaAddress { address: 0, len: 0 }; 4];
                if system::pin(token, abi::Side::Receive, 0, 4096, &mut pieces).is_ok() {
                    self.bus.set(pieces[0].address);
                    self.kept.set(token);
                }
                core::mem::forget(request);
                return;
            }
            Command::ReadRoleMemory => (value, kernel) = lending::read_role_memory(),
            Command::GrowRoleMemory(pages) => match system::role_memory(pages) {
                Ok((_, existed)) => value = existed,
                Err(error) => kernel = error as i64,
            },
            Command::LendRoleMemory(role) => kernel = said(self.lend_role_memory(role)),
            Command::TakeBackRoleMemory => kernel = said(self.take_back_role_memory()),
            Command::LendTwice(role) => kernel = said(self.lend_twice(role)),
            Command::TakeBackFirst => system::cancel(self.raw.get()),
            Command::LendDmaMemory(role) => kernel = said(lending::lend_dma_memory(role)),
            Command::LendTooMuch(role) => kernel = said(lending::lend_too_much(role)),
            Command::DmaPastQuota => kernel = said(lending::dma_past_quota()),
            Command::ForgeRequests => value = lending::forge_requests(),
            Command::SetMmx(number) => {
                // SAFETY: nothing else uses the register.
                unsafe { core::arch::asm!("movq mm0, {}", in(reg) number) }
            }
            Command::GetMmx => {
                // SAFETY: as above.
                unsafe { core::arch::asm!("movq {}, mm0", out(reg) value) }
            }
            Command::SpoilFloats => {
                let unmasked = 0x037b_u16;
                // SAFETY: compiled code uses vector registers instead.
                unsafe {
                    core::arch::asm!(
                        "fninit", "fldcw [{}]", "fldz", "fld1", "fdivrp",
                        in(reg) &unmasked,
                    );
                }
            }
            // SAFETY: as above.
            Command::UseFloats => unsafe { core::arch::asm!("fwait") },
            Command::BusAddress => value = self.bus.get(),
            Command::Unpin => device::unpin(self.kept.get()),
            Command::DeviceQuiesced => kernel = said(device::device_quiesced()),
            Command::AllocateAll(bus) => value = u64::from(allocate_all(bus)),
            Command::Compute => value = compute(),
            Command::Hoard(bytes) => value = self.hoard(bytes),
            Command::Hoarded => {
                let hoard = black_box(self.hoarded.get());
                value = u64::from(hoard.iter().all(|&byte| byte == HOARDED));
            }
            Command::BadPointers { peer, port } => match pointers::try_all(&request, peer, port) {
                Ok(refused) => value = refused,
                Err(accepted) => (value, kernel) = (accepted.number, accepted.result),
            },
        }
        request.reply(&transport::answer(Ok(Answer { value, kernel })));
    }

    /// Lends a page of the heap, raw, so that the call can be left lying.
    fn lend(&self, role: u64) -> i64 {
        let page = Box::new([0x5a; 4096]);
        let message = encode(&Command::Pin).unwrap_or_default();
        let segment = abi::Segment {
            memory: abi::Memory::Own as u32,
            reserved: 0,
            token: 0,
            address: page.as_ptr() as u64,
            len: 4096,
        };
        let descriptor = abi::CallDescriptor {
            callee: role,
            message: Message::new(&message).unwrap_or(Message::EMPTY),
            send: abi::Grant {
                segments: core::ptr::from_ref(&segment) as u64,
                count: 1,
            },
            receive: abi::Grant::NONE,
            patience_ns: u64::MAX,
        };
        // SAFETY: the page lives in `self.lent` until the call is given up.
        match unsafe { system::submit(&descriptor) } {
            Ok(call) => {
                *self.lent.borrow_mut() = Some((call, page));
                0
            }
            Err(error) => error as i64,
        }
    }

    fn hoard(&self, bytes: u64) -> u64 {
        let hoard = Vec::leak(alloc::vec![HOARDED; bytes as usize]);
        self.hoarded.set(hoard);
        (hoard.as_ptr_range().end as u64 - 1) & !4095
    }

    fn take_back(&self) -> u64 {
        let Some((call, page)) = self.lent.borrow_mut().take() else {
            return 0;
        };
        system::cancel(call);
        u64::from(black_box(&page).iter().all(|&byte| byte == 0x5a))
    }
}

/// Fills all of what was lent to be written.
fn fill(request: &Request) -> i64 {
    let mut lent = request.receive();
    let bytes = alloc::vec![0xaa; lent.len()];
    lent.copy_from(0, &bytes).map_or(-1, |()| 0)
}

async fn pass_on(request: &Request, role: u64, command: &Command) {
    let message = encode(command).unwrap_or_default();
    let below = Endpoint::new(role);
    let _ = below.call(&message, request.send(), Sink::empty()).await;
}

fn flood(role: u64) -> (u64, i64) {
    let message = encode(&Command::Sum).unwrap_or_default();
    let descriptor = abi::CallDescriptor {
        callee: role,
        message: Message::new(&message).unwrap_or(Message::EMPTY),
        send: abi::Grant::NONE,
        receive: abi::Grant::NONE,
        patience_ns: u64::MAX,
    };
    for count in 0..10_000 {
        // SAFETY: nothing is lent.
        if let Err(error) = unsafe { system::submit(&descriptor) } {
            return (count, error as i64);
        }
    }
    (10_000, 0)
}

fn role_memory() -> (u64, i64) {
    let counted = system::role_memory(0);
    let (address, existed) = match system::role_memory(3) {
        Ok(found) => found,
        Err(error) => return (0, error as i64),
    };
    if counted != Ok((address, existed)) {
        return (0, Error::BadState as i64);
    }
    let last = (address + 3 * 4096 - 8) as *mut u64;
    // SAFETY: the last eight bytes of three pages that the kernel gave this role.
    let is_kept = unsafe {
        let is_kept = last.read_volatile() == PATTERN;
        last.write_volatile(PATTERN);
        is_kept
    };
    (existed + u64::from(is_kept), 0)
}

fn allocate_all(bus: u64) -> bool {
    let mut found = false;
    while let Ok((_, address)) = device::dma_allocate(1) {
        found |= address == bus;
    }
    found
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 128]);
    if depth == u64::MAX {
        0
    } else {
        recurse(depth + 1) + black_box(room)[7]
    }
}

fn run_at(address: u64) {
    // SAFETY: none: that the kernel ends the task here is what is tested.
    unsafe { core::mem::transmute::<u64, extern "C" fn()>(address)() };
}

static CONSTANT: [u64; 4] = [1, 2, 3, 4];

fn misbehave(fault: Fault, request: &Request) {
    let write = |address: u64| {
        // SAFETY: none: that the kernel ends the task here is what is tested.
        unsafe { (address as *mut u64).write_volatile(0xbad) }
    };
    match fault {
        Fault::Write(address) => write(address),
        Fault::Read(address) => {
            // SAFETY: as above.
            black_box(unsafe { (address as *const u64).read_volatile() });
        }
        Fault::WriteConstant => write(black_box(&CONSTANT).as_ptr() as u64),
        Fault::WriteCode => write(misbehave as *const () as u64),
        Fault::ExecuteHeap => run_at(Box::leak(Box::new([0xc3_u8; 64])).as_ptr() as u64),
        Fault::ExecuteStack => run_at(black_box(&[0xc3_u8; 64]).as_ptr() as u64),
        Fault::Jump(address) => run_at(address),
        Fault::StackOverrun => {
            black_box(recurse(0));
        }
        Fault::EndlessLoop => loop {
            black_box(());
        },
        Fault::AllocationBomb => {
            let mut held = Vec::new();
            loop {
                held.push(black_box(alloc::vec![1_u8; 100_000]));
            }
        }
        Fault::Call(role) => {
            let descriptor = abi::CallDescriptor {
                callee: role,
                message: Message::EMPTY,
                send: abi::Grant::NONE,
                receive: abi::Grant::NONE,
                patience_ns: u64::MAX,
            };
            // SAFETY: nothing is lent.
            let _ = unsafe { system::submit(&descriptor) };
        }
        Fault::Inject(role) => {
            let panic = abi::Order::Suffer(abi::Fault::Panic);
            let _ = system::inject(role, panic, 0, 0, abi::When::Now);
        }
        Fault::Kill(role) => drop(system::kill(role, abi::Cause::Killed)),
        Fault::Port(port) => drop(system::port_write(port, b"x")),
        Fault::PinWithoutDevice => {
            let mut pieces = [abi::DmaAddress { address: 0, len: 0 }; 1];
            let _ = system::pin(request.token(), abi::Side::Send, 0, 1, &mut pieces);
        }
        Fault::UnpinWithoutDevice => system::unpin(request.token()),
        Fault::RoleMemoryBomb => drop(system::role_memory(abi::ROLE_PAGES_MAX)),
        // SAFETY: as above.
        Fault::DisableInterrupts => unsafe { core::arch::asm!("cli") },
        Fault::DivideByZero => {
            // SAFETY: as above.
            unsafe {
                core::arch::asm!(
                    "xor edx, edx", "mov eax, 1", "xor ecx, ecx", "div ecx",
                    out("eax") _, out("ecx") _, out("edx") _,
                );
            }
        }
        Fault::Panic => panic!("told to panic"),
        Fault::PanicAt(words) => {
            // SAFETY: the kernel does not touch what is not the task's, which is what is tested.
            let _ = unsafe { system::call(abi::system_call::PANIC, [words, 64, 0, 0, 0, 0]) };
        }
        Fault::Exit(code) => system::exit(code),
    }
}
