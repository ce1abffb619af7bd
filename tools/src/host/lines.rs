//! Runs a program to its end and hands on what it says, line by line, as it says it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use super::processes::{Child, Ending};

/// Lines kept for an error message.
const TAIL_LINES: usize = 200;

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether its exit status was 0.
    pub success: bool,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The last lines of both its outputs.
    pub tail: VecDeque<String>,
}

/// Runs `command` with no input; every line of its two outputs goes to `each`.
///
/// # Errors
/// If the program cannot be started or waited for.
pub fn run(command: &mut Command, mut each: impl FnMut(&str)) -> std::io::Result<Ended> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Child::spawn(command, Ending::Ask)?;
    let (sender, lines) = channel();
    if let Some(output) = child.process().stdout.take() {
        read_on_a_thread(output, sender.clone());
    }
    if let Some(output) = child.process().stderr.take() {
        read_on_a_thread(output, sender.clone());
    }
    drop(sender);
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    for line in lines {
        each(&line);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait()?;
    Ok(Ended {
        success: status.success(),
        signal: status.signal(),
        tail,
    })
}

/// Runs `command` with no input; the lines of both its outputs go to `each`, in the order in which they
/// were written. Returns whether its exit status was 0.
///
/// # Errors
/// If the program cannot be started or waited for.
pub fn run_in_order(command: &mut Command, mut each: impl FnMut(&str)) -> std::io::Result<bool> {
    let (output, input) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input);
    let child = Child::spawn(command, Ending::Ask)?;
    // The command holds ends of the pipe; the output ends when the last one is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    read(output, |line| {
        each(line);
        true
    });
    Ok(child.wait()?.success())
}

fn read_on_a_thread(output: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || read(output, |line| lines.send(line.to_owned()).is_ok()));
}

/// Calls `each` with every line, while it says to go on.
fn read(output: impl Read, mut each: impl FnMut(&str) -> bool) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
        if !each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])) {
            return;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_between_the_two_outputs() {
        let mut seen = Vec::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo 1; echo 2 >&2; echo 3; exit 1"]);
        assert!(!run_in_order(&mut shell, |line| seen.push(line.to_owned())).expect("sh"));
        assert_eq!(seen, ["1", "2", "3"]);
    }

    #[test]
    fn both_outputs_arrive_and_the_end_is_told() {
        let mut seen = Vec::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ended = run(&mut shell, |line| seen.push(line.to_owned())).expect("sh");
        seen.sort();
        assert_eq!(seen, ["err", "out"]);
        assert!(!ended.success);
        assert_eq!(ended.tail.len(), 2);
    }
}
