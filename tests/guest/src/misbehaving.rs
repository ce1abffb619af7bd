//! A task that does nothing until a file says how it is to fail: for the tests of the restart manager.
//!
//! `/fault` holds a word. The order to `panic`, or to `exit` with status 0, stands for the next
//! instance too; an endless `loop`, or being `deaf` (waiting without listening), happens once. With the argument `reads=log` it takes the
//! console's place: it reads the kernel's log once, logs something that nobody reads, and says on the
//! first serial port that it has.
#![no_std]
#![no_main]

extern crate alloc;

use core::hint::black_box;

use runtime::{Endpoint, device, inspect, start, system, time};
use storage::{
    Result,
    buffer::Sink,
    vfs::{Client, FileSystem, OpenFlags},
};

runtime::main!(run);

const COM1: u16 = 0x3f8;
const FILE: &[u8] = b"/fault";
/// Time from one look to the next, nanoseconds.
const LOOK_NS: u64 = 200_000_000;

async fn run() {
    if start::argument("reads") == Some("log") {
        let _ = inspect::read_log(&mut [0; 4096]);
        log::info!("this is not read");
        let _ = device::port_write(COM1, b"the log was read\r\n");
    }
    let naming =
        Client::new(start::peer("naming").expect("the description names naming as a peer"));
    loop {
        let mut word = [0; 16];
        // No file, or no volume yet, is no order.
        let len = order(&naming, &mut word).await.unwrap_or(0);
        match word[..len].trim_ascii() {
            b"panic" => panic!("as ordered"),
            b"exit" => return,
            once @ (b"loop" | b"deaf") => {
                if naming.unlink(FILE).await.is_ok() {
                    hang(once == b"loop");
                }
            }
            _ => time::sleep(LOOK_NS).await,
        }
    }
}

async fn order(naming: &Client<Endpoint>, word: &mut [u8]) -> Result<usize> {
    let file = naming.open(FILE, OpenFlags::READ, 0).await?;
    let read = naming.read(file, None, Sink::local(word)).await;
    naming.close(file).await?;
    read
}

fn hang(busily: bool) -> ! {
    loop {
        if busily {
            black_box(());
        } else {
            system::wait(&mut [abi::Event::BLANK; 1], u64::MAX);
        }
    }
}
