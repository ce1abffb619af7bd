//! PostMark as a service: start a job, ask how far it is, stop it, fetch what came out.
//!
//! A job and its outcome travel in the memory lent with the call, encoded by `postcard`; the rest
//! fits in messages. There is one job at a time. Jobs are numbered, so that a client notices if the
//! task died and forgot its job.

use alloc::{vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
};

use serde::{Deserialize, Serialize};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    transport::{Message, Transport, answer, ask, decode},
};

use super::{Check, Parameters, Phase, Progress, Report, Verified};
use crate::Go;

/// Most bytes of an encoded job.
pub const JOB_BYTES_MAX: usize = 1024;
/// Most bytes of an encoded outcome.
pub const OUTCOME_BYTES_MAX: usize = 16 << 10;

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// A run.
    Run(Parameters),
    /// A check of what a run left.
    Verify(Parameters, Check),
}

/// What came out of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of a run.
    Run(Report),
    /// Of a check.
    Verify(Verified),
}

/// How far the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which job this is about; zero if there was none.
    pub job: u64,
    /// Whether it is still at work.
    pub running: bool,
    /// How far it is.
    pub progress: Progress,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Start,
    Status,
    Stop,
    Outcome { job: u64 },
}

/// The client end.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    /// Starts a job; returns its number. [`Error::Busy`] while another is at work,
    /// [`Error::BadArgument`] if its parameters are out of bounds.
    pub async fn start(&self, job: &Job) -> Result<u64> {
        let bytes = postcard::to_allocvec(job).map_err(|_| Error::BadArgument)?;
        ask(
            &self.0,
            &Request::Start,
            Source::local(&bytes),
            Sink::empty(),
        )
        .await
    }

    /// How far it is.
    pub async fn status(&self) -> Result<Status> {
        ask(&self.0, &Request::Status, Source::empty(), Sink::empty()).await
    }

    /// Asks the job to leave off.
    pub async fn stop(&self) -> Result<()> {
        ask(&self.0, &Request::Stop, Source::empty(), Sink::empty()).await
    }

    /// The outcome of a job, as soon as it is over. [`Error::NotFound`] if there is none of that number,
    /// [`Error::Busy`] if somebody else waits for it since.
    pub async fn outcome(&self, job: u64) -> Result<Outcome> {
        let mut bytes = vec![0; OUTCOME_BYTES_MAX];
        let request = Request::Outcome { job };
        let len: usize = ask(&self.0, &request, Source::empty(), Sink::local(&mut bytes)).await?;
        let bytes = bytes.get(..len).ok_or(Error::Protocol)?;
        postcard::from_bytes(bytes).map_err(|_| Error::Protocol)
    }
}

/// The server end: what it knows of its job. Whoever places it carries the jobs out.
#[derive(Default)]
pub struct Server {
    job: Cell<u64>,
    running: Cell<bool>,
    stop: Cell<bool>,
    progress: Cell<Progress>,
    outcome: RefCell<Vec<u8>>,
    /// How many have waited for an outcome. The last of them does; those before are sent away, so that
    /// clients that died take up no place.
    waits: Cell<u64>,
    waiting: Cell<Option<Waker>>,
}

impl Server {
    /// Serves one request. A job that comes back with the reply is to be carried out now.
    ///
    /// `numbers_from` makes the numbers of jobs differ between instances: the time, for instance.
    pub async fn serve(
        &self,
        request: &[u8],
        send: &Source<'_>,
        receive: Sink<'_>,
        numbers_from: u64,
    ) -> (Message, Option<Job>) {
        match decode(request) {
            Err(error) => (answer(Err::<(), _>(error)), None),
            Ok(Request::Start) => match self.start(send, numbers_from) {
                Ok(job) => (answer(Ok(self.job.get())), Some(job)),
                Err(error) => (answer(Err::<u64, _>(error)), None),
            },
            Ok(Request::Status) => (answer(Ok(self.status())), None),
            Ok(Request::Stop) => {
                self.stop.set(true);
                (answer(Ok(())), None)
            }
            Ok(Request::Outcome { job }) => {
                self.over(job).await;
                (answer(self.copy_outcome(job, receive)), None)
            }
        }
    }

    /// To be called by the job as it gets on; tells it whether to go on.
    pub fn tell(&self, progress: Progress) -> Go {
        self.progress.set(progress);
        if self.stop.get() { Go::Stop } else { Go::On }
    }

    /// To be called when the job is over.
    pub fn finish(&self, outcome: &Outcome) {
        // The errors kept and their paths are bounded, so an outcome fits; were it not to, the
        // client gets `NotFound` rather than half of it.
        let bytes = postcard::to_allocvec(outcome).unwrap_or_default();
        let fits = bytes.len() <= OUTCOME_BYTES_MAX;
        *self.outcome.borrow_mut() = if fits { bytes } else { Vec::new() };
        self.running.set(false);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits while the job is at work and nobody else waits for it.
    async fn over(&self, job: u64) {
        let number = self.waits.get() + 1;
        self.waits.set(number);
        self.wake();
        poll_fn(|context| {
            let at_work = self.running.get() && self.job.get() == job;
            if !at_work || self.waits.get() != number {
                return Poll::Ready(());
            }
            self.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn status(&self) -> Status {
        Status {
            job: self.job.get(),
            running: self.running.get(),
            progress: self.progress.get(),
        }
    }

    fn start(&self, send: &Source<'_>, numbers_from: u64) -> Result<Job> {
        if self.running.get() {
            return Err(Error::Busy);
        }
        if send.len() > JOB_BYTES_MAX {
            return Err(Error::BadArgument);
        }
        let job: Job = postcard::from_bytes(&send.to_vec()?).map_err(|_| Error::Protocol)?;
        let (Job::Run(parameters) | Job::Verify(parameters, _)) = &job;
        parameters.check().map_err(|_| Error::BadArgument)?;
        self.job.set((self.job.get() + 1).max(numbers_from));
        self.running.set(true);
        self.stop.set(false);
        self.progress.set(Progress {
            phase: Phase::Idle,
            ..Progress::default()
        });
        self.outcome.borrow_mut().clear();
        Ok(job)
    }

    fn copy_outcome(&self, job: u64, mut receive: Sink<'_>) -> Result<usize> {
        let outcome = self.outcome.borrow();
        if job != self.job.get() {
            return Err(Error::NotFound);
        }
        if self.running.get() {
            return Err(Error::Busy);
        }
        if outcome.is_empty() {
            return Err(Error::NotFound);
        }
        receive.copy_from(0, &outcome)?;
        Ok(outcome.len())
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use futures_executor::block_on;
    use futures_util::poll;

    use super::*;

    struct Direct(Server, RefCell<Option<Job>>);

    impl Transport for &Direct {
        async fn call(
            &self,
            request: &Message,
            send: Source<'_>,
            receive: Sink<'_>,
        ) -> Result<Message> {
            let (reply, job) = self.0.serve(request, &send, receive, 7).await;
            if job.is_some() {
                *self.1.borrow_mut() = job;
            }
            Ok(reply)
        }
    }

    #[test]
    fn a_job_goes_from_start_to_outcome() {
        let task = Direct(Server::default(), RefCell::default());
        let client = Client(&task);
        let location = "/x".repeat(100);
        let job = Job::Run(Parameters {
            location,
            seed: u32::MAX,
            ..Parameters::default()
        });
        block_on(async {
            let number = client.start(&job).await.expect("start");
            assert_eq!(number, 7);
            assert_eq!(task.1.take().as_ref(), Some(&job));
            assert_eq!(client.start(&job).await, Err(Error::Busy));
            let mut waits = pin!(client.outcome(number));
            assert_eq!(poll!(waits.as_mut()), Poll::Pending);

            let progress = Progress {
                phase: Phase::Transactions,
                done: u32::MAX,
                total: u32::MAX,
                errors: u32::MAX,
            };
            assert_eq!(task.0.tell(progress), Go::On);
            let status = client.status().await.expect("status");
            assert_eq!(
                status,
                Status {
                    job: 7,
                    running: true,
                    progress
                }
            );
            client.stop().await.expect("stop");
            assert_eq!(task.0.tell(progress), Go::Stop);

            let mut report = Report {
                stopped: true,
                read: 5,
                ..Report::default()
            };
            (0..100).for_each(|_| report.errors.add(|| "x".repeat(600)));
            // A client that died waits for ever; the next one takes its place.
            let mut next = pin!(client.outcome(number));
            assert_eq!(poll!(next.as_mut()), Poll::Pending);
            assert_eq!(waits.await, Err(Error::Busy));
            task.0.finish(&Outcome::Run(report.clone()));
            assert_eq!(next.await, Ok(Outcome::Run(report.clone())));
            assert_eq!(client.outcome(number).await, Ok(Outcome::Run(report)));
            assert_eq!(client.outcome(6).await, Err(Error::NotFound));
            assert_eq!(client.start(&job).await, Ok(8));
        });
    }

    #[test]
    fn bad_jobs_are_refused() {
        let task = Direct(Server::default(), RefCell::default());
        block_on(async {
            let job = Job::Run(Parameters {
                files: 0,
                ..Parameters::default()
            });
            assert_eq!(Client(&task).start(&job).await, Err(Error::BadArgument));
            let garbage = [0xff; 2000];
            for len in [0, 10, 2000] {
                let send = Source::local(&garbage[..len]);
                let start = Request::Start;
                let reply: Result<u64> = ask(&&task, &start, send, Sink::empty()).await;
                assert!(reply.is_err());
            }
            assert!(!Client(&task).status().await.expect("status").running);
        });
    }
}
