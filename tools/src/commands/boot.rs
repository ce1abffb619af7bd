//! `boot`: the guest's console on this terminal.
//!
//! The terminal is put into raw mode, so that every key reaches the guest, Ctrl-C too. Ctrl-A is kept
//! for us: `Ctrl-A x` switches the guest off, `Ctrl-A Ctrl-A` sends one. What is piped in is held back until the guest
//! takes commands, and at its end the guest is switched off; that is typed again if the manager dies meanwhile, whose
//! successor knows nothing of it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Result;
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

use crate::cli;
use crate::failure::reason;
use crate::guest::{Guest, Heard, Request};
use crate::host::{interrupt, processes};
use crate::ui::{self, Lines, Plain, Ui};

/// Ctrl-A.
const ESCAPE: u8 = 1;

/// How often the guest is looked after.
const POLL: Duration = Duration::from_millis(50);

/// How long the guest may take to sync and switch itself off when the user leaves.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(10);

/// How long a guest that closed its console may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How long piped input waits for a guest that takes commands.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Typed when piped input has ended, after what may be half a line.
const LAST_COMMAND: &[u8] = b"\npoweroff\n";

/// How often that is typed again at most.
const TYPED_AGAIN_MAX: u32 = 8;

/// Boots and relays until the guest ends or the user leaves.
pub fn run(options: &cli::Machine) -> Result<()> {
    let ui = Ui::new(false);
    let machine = Request::check(options)?.prepare(&ui)?;
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        ui.note("Ctrl-A x switches the guest off");
    }
    let raw = interactive.then(RawTerminal::enter).transpose()?;
    let mut guest = Guest::boot(&machine, Some(screen()))?;
    if !interactive {
        guest.wait_ready(READY_LIMIT)?;
    }
    let (ended, end) = channel();
    let keyboard = guest.console().keyboard()?;
    let last_words = guest.console().keyboard()?;
    std::thread::spawn(move || ended.send(relay(keyboard, interactive)));
    let result = match look_after(&mut guest, &end, last_words) {
        Ok(Ended::Left) => guest.power_off(POWER_OFF_LIMIT, |_| {}),
        Ok(Ended::Over) => Ok(()),
        Err(error) => Err(error),
    };
    drop(raw);
    ui::print("");
    result
}

/// How it ended.
enum Ended {
    /// The guest is off.
    Over,
    /// The user wants to leave.
    Left,
}

/// Where the guest's console goes.
fn screen() -> Box<dyn std::io::Write + Send> {
    if !std::io::stdout().is_terminal() {
        Box::new(Lines::new(std::io::stdout()))
    } else if console::colors_enabled() {
        Box::new(std::io::stdout())
    } else {
        Box::new(Plain::new(std::io::stdout()))
    }
}

/// How the relay of keys ended.
enum Relayed {
    /// The user wants to leave.
    Left,
    /// There is no more input; the guest ends by itself, or is told to.
    InputEnded,
    /// The guest took no more.
    NotTaken(std::io::Error),
}

/// Waits for the guest's end, or the user's wish to leave.
fn look_after(
    guest: &mut Guest,
    relayed: &Receiver<Relayed>,
    mut keyboard: UnixStream,
) -> Result<Ended> {
    // As often as the end may yet be typed again; none before it was typed.
    let mut again = None;
    loop {
        let end = guest.wait_end(POLL)?;
        let (mut failures, mut manager_died) = (Vec::new(), false);
        guest.heard_meanwhile(|heard| match heard {
            Heard::Event(event) => manager_died |= event.is_restart_of(stack::MANAGER),
            Heard::Failure(failure) => failures.push(failure),
        });
        for failure in failures {
            eprintln!("\r\nerror: {failure}\r");
        }
        if let Some(end) = end {
            if end.status.success() {
                return Ok(Ended::Over);
            }
            let how = processes::describe(end.status);
            return Err(guest.failure(format!("the guest ended with {how}")).into());
        }
        if let Some(left @ 1..) = again
            && manager_died
        {
            again = Some(left - 1);
            // A guest that takes nothing is just ending.
            let _ = keyboard.write_all(LAST_COMMAND);
        }
        match relayed.try_recv() {
            Ok(Relayed::Left) => return Ok(Ended::Left),
            // A guest that is just ending takes nothing either; that is told by its end.
            Ok(Relayed::NotTaken(error)) if guest.wait_end(END_LIMIT)?.is_none() => {
                let what = format!("the guest takes no input: {}", reason(&error));
                return Err(guest.failure(what).into());
            }
            Ok(Relayed::InputEnded) => again = Some(TYPED_AGAIN_MAX),
            Ok(Relayed::NotTaken(_)) | Err(_) => {}
        }
    }
}

/// Types what comes in on the guest's console. When piped input has ended, the guest is switched off.
fn relay(mut keyboard: UnixStream, interactive: bool) -> Relayed {
    let mut keys = Keys::default();
    let mut buffer = [0; 1024];
    let mut input = std::io::stdin().lock();
    while let Ok(length @ 1..) = input.read(&mut buffer) {
        let mut typed = Vec::with_capacity(length);
        let leaves = buffer[..length]
            .iter()
            .any(|&byte| keys.take(byte, &mut typed));
        if let Err(error) = keyboard.write_all(&typed) {
            return Relayed::NotTaken(error);
        }
        if leaves {
            return Relayed::Left;
        }
    }
    if interactive {
        // The terminal is gone.
        return Relayed::Left;
    }
    match keyboard.write_all(LAST_COMMAND) {
        Ok(()) => Relayed::InputEnded,
        Err(error) => Relayed::NotTaken(error),
    }
}

/// Finds our keys among the guest's.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// Takes a key; what is for the guest goes to `typed`. Says whether the user wants to leave.
    fn take(&mut self, byte: u8, typed: &mut Vec<u8>) -> bool {
        match (std::mem::take(&mut self.escaped), byte) {
            (false, ESCAPE) => self.escaped = true,
            (true, b'x' | b'X') => return true,
            (_, byte) => typed.push(byte),
        }
        false
    }
}

/// The terminal in raw mode, for as long as this lives or until a signal.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // Lines end in a carriage return, whether the guest sends one or not.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        let restored = before.clone();
        interrupt::on_interrupt(Some(Box::new(move || restore(&restored))));
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore(&self.before);
        interrupt::on_interrupt(None);
    }
}

fn restore(before: &Termios) {
    // A terminal that is gone needs nothing.
    let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_keys(keys: &[u8]) -> (Vec<u8>, bool) {
        let (mut state, mut typed) = (Keys::default(), Vec::new());
        let left = keys.iter().any(|&byte| state.take(byte, &mut typed));
        (typed, left)
    }

    #[test]
    fn every_key_reaches_the_guest_but_the_way_out() {
        assert_eq!(type_keys(b"ls\r\x03"), (b"ls\r\x03".to_vec(), false));
        assert_eq!(type_keys(b"a\x01xb"), (b"a".to_vec(), true));
        assert_eq!(type_keys(b"\x01\x01\x01a"), (b"\x01a".to_vec(), false));
    }
}
