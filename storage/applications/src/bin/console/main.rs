//! The console: commands for people on the first serial port, for programs on the second.
//!
//! ```text
//!   COM1 ── uart ── terminal ──┐                    ┌── naming
//!                              ├── shell ─ commands ┼── postmark, manager
//!   COM2 ── uart ── link ──────┘                    └── disk drivers (import, export)
//!     ▲        ▲
//!     └────────┴── records of the kernel's log
//! ```
//!
//! Both ports are this task's own, by interrupts: while nobody types and nothing happens it waits.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod commands;
mod link_session;
mod losses;
mod output;
mod shell;
mod signal;
mod terminal;
mod uart;

use alloc::{format, rc::Rc, vec};

use applications::{link, records::Record, text};
use runtime::{
    inspect,
    time::{now_ns, with_deadline},
};
use serde_json::json;
use storage::{Error, vfs::FileSystem as _};

use crate::{link_session::Link, losses::Watch, shell::Shell, terminal::Terminal, uart::Uart};

/// Port and interrupt of the serial ports of a PC.
const COM1: (u16, u64) = (0x3f8, 4);
const COM2: (u16, u64) = (0x2f8, 3);

/// Bytes of log records that are taken at a time.
const LOG_BYTES: usize = 16 << 10;
/// How long the volume may take to be mounted before the console takes commands without it.
const MOUNT_NS: u64 = 10_000_000_000;

runtime::main!(run);

async fn run() {
    let first = Rc::new(Uart::new(COM1.0, COM1.1));
    let second = Rc::new(Uart::new(COM2.0, COM2.1));
    for uart in [first.clone(), second.clone()] {
        runtime::spawn(async move { uart.drive().await });
    }
    let terminal = Rc::new(Terminal::new(first));
    let link = Rc::new(Link::new(second));
    let watch = Rc::new(Watch::default());
    runtime::spawn(show_log(terminal.clone(), link.clone(), watch.clone()));
    let Some(shell) = Shell::new(terminal.clone(), watch.clone()) else {
        terminal
            .line("the description gives the console no `naming` to call")
            .await;
        return core::future::pending().await;
    };
    let shell = Rc::new(shell);
    runtime::spawn(watch.tell(shell.clone()));
    let state = mount(&shell).await;
    greet(&terminal, &shell, &state).await;
    let ready = json!({
        "time_ns": now_ns(),
        "state": state,
        "mounted_ns": shell.mounted_ns.get(),
        "restart": runtime::start::is_restart(),
    });
    link.send(&link::ready(ready)).await;
    runtime::spawn(link.serve(shell.clone()));
    terminal.serve(shell).await;
}

/// Mounts the volume; returns what became of it, in a word or a line.
async fn mount(shell: &Shell) -> alloc::string::String {
    match with_deadline(MOUNT_NS, shell.system.mount()).await {
        None => "not mounted: naming does not answer".into(),
        Some(Err(Error::NotFormatted)) => "not formatted".into(),
        Some(Err(error)) => format!("not mounted: {error}"),
        Some(Ok(())) => {
            shell.mounted_ns.set(Some(now_ns()));
            match shell.system.statfs().await {
                Ok(usage) if usage.stores_present < usage.stores => "degraded".into(),
                Ok(_) => "mounted".into(),
                Err(error) => format!("mounted: {error}"),
            }
        }
    }
}

async fn greet(terminal: &Terminal, shell: &Shell, state: &str) {
    let when = shell.mounted_ns.get().unwrap_or_else(now_ns);
    let hint = if state == "not formatted" {
        ": `format` makes a volume"
    } else {
        ""
    };
    let text = if runtime::start::is_restart() {
        format!("Galago. The console is back. Volume {state}{hint}.")
    } else {
        format!(
            "Galago. Volume {state}{hint} ({} after boot).",
            text::duration(when)
        )
    };
    terminal.line(&text).await;
    terminal.line("`help` lists the commands.").await;
}

/// Passes the records of the log on, as they come.
async fn show_log(terminal: Rc<Terminal>, link: Rc<Link>, watch: Rc<Watch>) {
    let mut buffer = vec![0; LOG_BYTES];
    // Until somebody read its log, the kernel wrote it on the first port by itself.
    let shown_until_ns = if runtime::start::is_restart() {
        0
    } else {
        now_ns()
    };
    loop {
        let arrived = inspect::log_arrived();
        loop {
            let len = match inspect::read_log(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len.min(buffer.len()),
                Err(error) => {
                    terminal
                        .line(&format!("the log cannot be read: {error}"))
                        .await;
                    return;
                }
            };
            let lines = core::str::from_utf8(&buffer[..len]).unwrap_or("");
            for record in lines.lines().filter_map(Record::parse) {
                if record.time_ns >= shown_until_ns {
                    terminal.record(&record);
                }
                link.record(&record);
                if record.level == 0 {
                    watch.note(record.text);
                }
            }
            // The ports must get a turn to send before more is queued.
            signal::yield_now().await;
        }
        arrived.await;
    }
}
