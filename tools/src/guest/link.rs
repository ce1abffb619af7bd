//! COM2: commands to the guest, events from it, as lines of JSON.

use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde_json::json;

use super::events::Event;
use super::inbox::{Arrival, Inbox};

/// A line longer than this is cut: the guest has gone mad.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The sending end; what the guest says goes to the inbox.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    last_id: u64,
}

impl Link {
    /// Speaks over `stream` and puts what it hears into `inbox`, from a thread of its own.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn new(stream: UnixStream, inbox: Arc<Inbox>) -> std::io::Result<Self> {
        let reader = stream.try_clone()?;
        std::thread::spawn(move || {
            read_lines(reader, |line| {
                let text = String::from_utf8_lossy(line);
                if !text.trim().is_empty() {
                    let event =
                        Event::parse(text.trim()).unwrap_or_else(|| Event::garbled(text.trim()));
                    inbox.push(Arrival::Event(event));
                }
            });
            inbox.push(Arrival::Closed);
        });
        Ok(Self { stream, last_id: 0 })
    }

    /// Sends a command and returns the number its events will carry.
    ///
    /// # Errors
    /// If the guest is gone, or takes no input for ten seconds.
    pub fn send(&mut self, command: &str) -> std::io::Result<u64> {
        self.last_id += 1;
        self.send_as(self.last_id, command)?;
        Ok(self.last_id)
    }

    /// Sends a command under a number that was given before. While the command that has it is at work, it is
    /// refused ([`Done::is_refused`](super::Done::is_refused)).
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn send_as(&mut self, id: u64, command: &str) -> std::io::Result<()> {
        let line = json!({ "id": id, "command": command });
        self.stream.write_all(format!("{line}\n").as_bytes())
    }
}

/// Calls `each` with every line until the stream ends.
pub fn read_lines(mut stream: impl Read, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    let mut line = Vec::new();
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        for &byte in &buffer[..length] {
            if byte == b'\n' || line.len() == LINE_BYTES_MAX {
                each(&line);
                line.clear();
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        each(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::time::{Duration, Instant};

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// A guest of a few lines at the other end of the socket, which answers `ls` and then ends.
    fn fake_guest(mut stream: UnixStream) {
        let mut commands = BufReader::new(stream.try_clone().expect("a descriptor"));
        stream
            .write_all(b"{\"event\":\"ready\"}\r\n")
            .expect("heard");
        let mut line = String::new();
        commands.read_line(&mut line).expect("a command");
        let command: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(command["command"], "ls \"a b\"");
        let id = &command["id"];
        stream
            .write_all(b"boot noise\n{\"event\":\"out")
            .expect("heard");
        let rest = format!(
            "put\",\"id\":{id},\"text\":\"x\"}}\n{{\"event\":\"done\",\"id\":{id},\"ok\":true}}\n"
        );
        stream.write_all(rest.as_bytes()).expect("heard");
    }

    #[test]
    fn a_command_reaches_the_guest_and_its_answer_comes_back_whole() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let guest = std::thread::spawn(move || fake_guest(theirs));
        let inbox = Arc::new(Inbox::default());
        let mut link = Link::new(ours, inbox.clone()).expect("a link");
        let id = link.send("ls \"a b\"").expect("sent");
        let mut kinds = Vec::new();
        let mut done = None;
        while let Some(Arrival::Event(event)) = inbox.next(later()) {
            kinds.push(event.kind().to_owned());
            done = done.or(event.done(id));
        }
        guest.join().expect("the guest saw what it should");
        assert_eq!(kinds, ["ready", "garbled", "output", "done"]);
        assert!(done.expect("its end").ok);
        assert_eq!(inbox.next(later()), Some(Arrival::Closed));
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut lengths = Vec::new();
        read_lines(&vec![b'x'; LINE_BYTES_MAX + 5][..], |line| {
            lengths.push(line.len())
        });
        assert_eq!(lengths, [LINE_BYTES_MAX, 5]);
    }
}
