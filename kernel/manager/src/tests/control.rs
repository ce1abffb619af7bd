//! Both ends of the control interface, joined by a function call; histories.

use std::{
    cell::{Cell, RefCell},
    format,
    string::String,
    vec,
    vec::Vec,
};

use crate::{
    control::{Client, Control, Progress, RoleHistory, Series, Shutdown, Target, name, serve},
    history::{History, TIMES_MAX},
    injection::{INJECTIONS_MAX, Injection, Listed, MachineFault, TaskFault, What},
};
use abi::{Cause, Fault, When};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    faulty::{Action, Place, Rule},
    transport::{Message, Transport},
};

/// Writes down what it was asked.
struct Recorder {
    asked: RefCell<Vec<String>>,
    /// What it answers to kills.
    kill: Cell<Result<()>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            asked: RefCell::default(),
            kill: Cell::new(Ok(())),
        }
    }
}

impl Recorder {
    fn note(&self, text: String) {
        self.asked.borrow_mut().push(text);
    }
}

fn history() -> RoleHistory {
    let mut history = History::default();
    history.died(Cause::Panic, false);
    history.died(Cause::Killed, true);
    history.recovered(7);
    history.report("twinfs.0", "running", 2)
}

impl Control for Recorder {
    fn kill(&self, role: &str) -> Result<()> {
        self.note(format!("kill {role}"));
        self.kill.get()
    }
    async fn start_series(&self, series: Series) -> Result<()> {
        self.note(format!("{series:?}"));
        Ok(())
    }
    fn series_progress(&self) -> Progress {
        Progress {
            running: true,
            kills: 3,
            count: Some(9),
            misses: 1,
        }
    }
    fn stop_series(&self) -> Progress {
        Progress {
            kills: 4,
            ..Progress::default()
        }
    }
    fn history(&self) -> Vec<RoleHistory> {
        // As long as it gets: every role that there can be.
        vec![history(); 64]
    }
    fn stack(&self) -> String {
        "a line a task\n".repeat(60)
    }
    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.note(format!("{how:?}"));
        Ok(())
    }
    async fn inject(&self, injection: Injection) -> Result<u32> {
        self.note(format!("{injection:?}"));
        Ok(7)
    }
    async fn injections(&self) -> Vec<Listed> {
        // As many as the manager and two filters can have, each as long as it gets.
        let fault = TaskFault {
            argument: u64::MAX,
            seed: u64::MAX,
            after_ms: u32::MAX,
            every_ms: u32::MAX,
            count: Some(u64::MAX),
            ..TaskFault::new(Fault::WildWrite).at(When::Requests(u32::MAX))
        };
        let listed = Listed {
            number: u32::MAX,
            target: "a-name-of-31-bytes-is-the-limit".into(),
            what: What::Task(fault),
            hits: u64::MAX,
            left: Some(u64::MAX),
            misses: u64::MAX,
            armed: Some("a-name-of-31-bytes-is-the-limit".into()),
        };
        vec![listed; INJECTIONS_MAX + 2 * storage::faulty::RULES_MAX]
    }
    async fn switch_off(&self, number: Option<u32>) -> Result<u32> {
        self.note(format!("off {number:?}"));
        number.ok_or(Error::NotFound)
    }
}

struct Direct<'a>(&'a Recorder);

impl Transport for Direct<'_> {
    async fn call(&self, request: &Message, _: Source<'_>, receive: Sink<'_>) -> Result<Message> {
        Ok(serve(self.0, request, receive).await)
    }
}

/// Runs a future that never has to wait.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

#[test]
fn every_request_reaches_the_manager_and_its_answer_the_client() {
    let recorder = Recorder::default();
    let client = Client(Direct(&recorder));
    let series = Series {
        target: Target::Role(name("a-name-of-31-bytes-is-the-limit").expect("it fits")),
        every_ms: u32::MAX,
        count: Some(u64::MAX),
        seed: u64::MAX,
    };
    assert_eq!(now(client.kill("twinfs.0")), Ok(()));
    for error in [Error::NotFound, Error::Busy, Error::NotPermitted] {
        recorder.kill.set(Err(error));
        assert_eq!(now(client.kill("x")), Err(error));
    }
    assert_eq!(now(client.start_series(series.clone())), Ok(()));
    assert_eq!(now(client.shutdown(Shutdown::Reboot)), Ok(()));
    let expected = [
        "kill twinfs.0",
        "kill x",
        "kill x",
        "kill x",
        &format!("{series:?}"),
        "Reboot",
    ];
    assert_eq!(*recorder.asked.borrow(), expected);
    assert_eq!(
        now(client.series_progress()),
        Ok(recorder.series_progress())
    );
    assert_eq!(now(client.stop_series()), Ok(recorder.stop_series()));
    assert_eq!(now(client.history()), Ok(recorder.history()));
    assert_eq!(now(client.stack()), Ok(recorder.stack()));
}

#[test]
fn a_name_that_no_role_can_have_is_not_found() {
    let recorder = Recorder::default();
    let long = "a-name-of-32-bytes-is-one-too-many";
    assert_eq!(
        now(Client(Direct(&recorder)).kill(long)),
        Err(Error::NotFound)
    );
    assert!(recorder.asked.borrow().is_empty());
}

#[test]
fn garbage_and_too_little_memory_are_errors() {
    let recorder = Recorder::default();
    for request in [&[][..], &[255], &[0, 200], &[1, 1, 1]] {
        let reply = now(serve(&recorder, request, Sink::empty()));
        let reply: Result<()> = storage::transport::decode(&reply).expect("an encoded error");
        assert_eq!(reply, Err(Error::Protocol), "{request:?}");
    }
    // The request for the history, by a client that lends eight bytes.
    let mut room = [0; 8];
    let reply = now(serve(&recorder, &[4], Sink::local(&mut room)));
    let reply: Result<u32> = storage::transport::decode(&reply).expect("an encoded error");
    assert_eq!(reply, Err(Error::NoMemory));
    assert!(recorder.asked.borrow().is_empty());
}

#[test]
fn a_history_counts_causes_and_keeps_the_median_of_the_last_and_the_longest_of_all() {
    let report = history();
    assert_eq!(report.deaths[Cause::Panic as usize], 1);
    assert_eq!(report.deaths[Cause::Killed as usize], 1);
    assert_eq!(
        (report.silent, report.last_cause),
        (1, Cause::Killed as u32)
    );

    let recovery = |history: &History| history.report("", "", 0).recovery;
    let mut history = History::default();
    assert_eq!(recovery(&history).count, 0);
    history.recovered(1_000_000);
    for time_ns in 0..TIMES_MAX as u64 {
        history.recovered(time_ns);
    }
    let recovery = recovery(&history);
    assert_eq!(recovery.count, TIMES_MAX as u64 + 1);
    assert_eq!(
        (recovery.median_ns, recovery.max_ns),
        (TIMES_MAX as u64 / 2, 1_000_000)
    );
}

#[test]
fn faults_reach_the_manager_whatever_they_are() {
    let recorder = Recorder::default();
    let client = Client(Direct(&recorder));
    let longest = name("a-name-of-31-bytes-is-the-limit").expect("it fits");
    let rule = Rule {
        place: Place::Sectors {
            first: u64::MAX,
            last: u64::MAX,
        },
        skip: u64::MAX,
        times: Some(u64::MAX),
        one_in: u32::MAX,
        seed: u64::MAX,
        ..Rule::new(Action::LostWrite)
    };
    let fault = TaskFault::new(Fault::Deadlock).at(When::Point(3));
    assert_eq!(fault.when(), When::Point(3));
    let accident = MachineFault {
        power: true,
        seed: u64::MAX,
        after_ms: u32::MAX,
        point: Some(u32::MAX),
    };
    for what in [What::Disk(rule), What::Task(fault), What::Machine(accident)] {
        let injection = Injection {
            target: Target::Role(longest.clone()),
            what,
        };
        assert_eq!(now(client.inject(injection.clone())), Ok(7));
        let asked = recorder.asked.borrow_mut().pop();
        assert_eq!(asked, Some(format!("{injection:?}")));
    }
    let listed = now(client.injections()).expect("they fit");
    assert_eq!(
        listed.len(),
        INJECTIONS_MAX + 2 * storage::faulty::RULES_MAX
    );
    assert_eq!(now(client.switch_off(Some(4))), Ok(4));
    assert_eq!(now(client.switch_off(None)), Err(Error::NotFound));
}
