//! QMP: QEMU's own control line, for what is done to the machine and not to the guest.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use super::inbox::{Arrival, Inbox};
use super::link::read_lines;

/// QEMU answers at once, or it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The control line of a running QEMU.
#[derive(Debug)]
pub struct Monitor {
    stream: UnixStream,
    answers: Arc<Answers>,
    last_id: u64,
}

#[derive(Debug, Default)]
struct Answers {
    /// `None` once QEMU has closed the line.
    by_id: Mutex<Option<HashMap<u64, Value>>>,
    changed: Condvar,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, Value>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Opens the line; what happens to the machine goes to `inbox`.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn new(stream: UnixStream, inbox: Arc<Inbox>) -> Result<Self> {
        let answers = Arc::new(Answers::default());
        *answers.lock() = Some(HashMap::new());
        let (reader, theirs) = (stream.try_clone()?, answers.clone());
        std::thread::spawn(move || {
            read_lines(reader, |line| {
                if let Ok(message) = serde_json::from_slice(line) {
                    take(message, &theirs, &inbox);
                }
            });
            *theirs.lock() = None;
            theirs.changed.notify_all();
        });
        let mut monitor = Self {
            stream,
            answers,
            last_id: 0,
        };
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Runs a QMP command and returns what it returned.
    ///
    /// # Errors
    /// If QEMU refuses it, is gone, or does not answer in ten seconds.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        self.last_id += 1;
        let line = json!({ "execute": command, "arguments": arguments, "id": self.last_id });
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = self.wait_for(self.last_id, command)?;
        if let Some(error) = answer.get("error") {
            let reason = error["desc"].as_str().unwrap_or("no reason given");
            bail!("QEMU refused {command}: {reason}");
        }
        Ok(answer["return"].take())
    }

    fn wait_for(&self, id: u64, command: &str) -> Result<Value> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut by_id = self.answers.lock();
        loop {
            match by_id.as_mut().map(|by_id| by_id.remove(&id)) {
                Some(Some(answer)) => return Ok(answer),
                Some(None) => {}
                None => bail!("QEMU ended before it answered {command}"),
            }
            let left = deadline
                .checked_duration_since(Instant::now())
                .ok_or_else(|| anyhow!("QEMU did not answer {command}"))?;
            let woken = self.answers.changed.wait_timeout(by_id, left);
            by_id = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// QEMU tells the reason in the C library's words; its own member for it comes only where QEMU stops the
/// guest.
fn is_for_want_of_space(data: &Value) -> bool {
    let reasons = ["No space left on device", "Disk quota exceeded"];
    data["reason"]
        .as_str()
        .is_some_and(|reason| reasons.contains(&reason))
}

/// An answer, an event or the greeting.
fn take(message: Value, answers: &Answers, inbox: &Inbox) {
    if let Some(id) = message["id"].as_u64() {
        if let Some(by_id) = answers.lock().as_mut() {
            by_id.insert(id, message);
        }
        answers.changed.notify_all();
    } else if message["event"] == "RESET" {
        let by_guest = message["data"]["guest"] == true;
        inbox.push(Arrival::Reset { by_guest });
    } else if message["event"] == "BLOCK_IO_ERROR" && is_for_want_of_space(&message["data"]) {
        let node = message["data"]["node-name"].as_str();
        inbox.push(Arrival::DiskFull(node.unwrap_or("a disk").to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    /// Answers what QMP's own description gives as examples.
    fn fake_qemu(mut stream: UnixStream) {
        stream
            .write_all(b"{\"QMP\":{\"version\":{}}}\r\n")
            .expect("heard");
        let commands = BufReader::new(stream.try_clone().expect("a descriptor"));
        for line in commands.lines() {
            let command: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            let id = &command["id"];
            let answer = match command["execute"].as_str().expect("a name") {
                "qmp_capabilities" => format!("{{\"return\":{{}},\"id\":{id}}}"),
                "system_reset" => format!(
                    "{{\"event\":\"RESET\",\"data\":{{\"guest\":true}}}}\n\
                     {{\"return\":{{\"done\":1}},\"id\":{id}}}"
                ),
                "stop" => format!(
                    "{{\"event\":\"BLOCK_IO_ERROR\",\"data\":{{\"device\":\"\",\
                     \"node-name\":\"disk1\",\"operation\":\"write\",\"action\":\"report\",\
                     \"reason\":\"No space left on device\"}}}}\n\
                     {{\"return\":{{}},\"id\":{id}}}"
                ),
                _ => format!("{{\"error\":{{\"class\":\"C\",\"desc\":\"unknown\"}},\"id\":{id}}}"),
            };
            stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .expect("heard");
        }
    }

    #[test]
    fn answers_errors_and_events_are_told_apart() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        std::thread::spawn(move || fake_qemu(theirs));
        let inbox = Arc::new(Inbox::default());
        let mut monitor = Monitor::new(ours, inbox.clone()).expect("a monitor");
        let returned = monitor.execute("system_reset", &json!({})).expect("done");
        assert_eq!(returned["done"], 1);
        assert_eq!(
            inbox.next(Instant::now()),
            Some(Arrival::Reset { by_guest: true })
        );
        monitor.execute("stop", &json!({})).expect("done");
        let full = Arrival::DiskFull("disk1".into());
        assert_eq!(inbox.next(Instant::now()), Some(full));
        let refused = monitor
            .execute("nonsense", &json!({}))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("nonsense") && refused.contains("unknown"),
            "{refused}"
        );
    }
}
