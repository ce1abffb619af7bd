//! The client end: calls as futures.
//!
//! A call lends the memory of its arguments to another task. It may be dropped halfway: it is then
//! cancelled before the borrow of that memory ends, and the kernel makes sure that neither the
//! callee nor a device touches it afterwards.

mod lend;

use alloc::vec::Vec;
use core::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use abi::{CallDescriptor, Error as KernelError, Event, Message};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    transport::{self, Transport},
};

use crate::{local::Local, system, time};
use lend::Segments;

/// How often a call is submitted again because the callee's mailbox is full: for half a minute. A role
/// between two instances takes nothing out of its mailbox, and the manager may pause before a restart.
const SUBMISSIONS_MAX: u32 = 3_000;
/// How long to wait before submitting again.
const BACKOFF_NS: u64 = 100_000;
const BACKOFF_NS_MAX: u64 = 10_000_000;

enum Progress {
    Waiting(Option<Waker>),
    Ended(i64, Message),
}

/// The calls that were not taken note of yet, by the low bits of their numbers, which tell apart all
/// that can be under way at a time.
struct Calls {
    slots: Vec<Option<(u64, Progress)>>,
    /// Calls that have ended, but whose futures were not polled before their low bits came again.
    /// As many as there are futures to be polled, at most, and mostly none.
    displaced: Vec<(u64, Progress)>,
}

impl Calls {
    fn slot(id: u64) -> usize {
        (id & abi::CALL_SLOT_MASK) as usize
    }

    fn insert(&mut self, id: u64) {
        let slot = Self::slot(id);
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(ended) = self.slots[slot].replace((id, Progress::Waiting(None))) {
            self.displaced.push(ended);
        }
    }

    fn get(&mut self, id: u64) -> Option<&mut Progress> {
        match self.slots.get_mut(Self::slot(id)) {
            Some(Some((other, progress))) if *other == id => Some(progress),
            _ => {
                let mut displaced = self.displaced.iter_mut();
                displaced
                    .find(|(other, _)| *other == id)
                    .map(|(_, progress)| progress)
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Progress> {
        match self.slots.get_mut(Self::slot(id)) {
            Some(place @ Some(_)) if place.as_ref().is_some_and(|(other, _)| *other == id) => {
                place.take().map(|(_, progress)| progress)
            }
            _ => {
                let index = self.displaced.iter().position(|(other, _)| *other == id)?;
                Some(self.displaced.swap_remove(index).1)
            }
        }
    }
}

static CALLS: Local<Calls> = Local::new(Calls {
    slots: Vec::new(),
    displaced: Vec::new(),
});

/// A role to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    role: u64,
    patience_ns: u64,
}

/// A call under way.
struct Call {
    id: u64,
}

impl Future for Call {
    type Output = (i64, Message);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut calls = CALLS.borrow();
        match calls.get(self.id) {
            Some(Progress::Waiting(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => match calls.remove(self.id) {
                Some(Progress::Ended(status, message)) => Poll::Ready((status, message)),
                _ => Poll::Ready((KernelError::NoSuchCall as i64, Message::EMPTY)),
            },
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let progress = CALLS.borrow().remove(self.id);
        if let Some(Progress::Waiting(_)) = progress {
            system::cancel(self.id);
        }
    }
}

/// A call of ours has ended.
pub(crate) fn replied(event: &Event) {
    let waker = {
        let mut calls = CALLS.borrow();
        // A call that was dropped in the meantime is not in the table.
        let Some(progress) = calls.get(event.id) else {
            return;
        };
        match core::mem::replace(progress, Progress::Ended(event.status, event.message)) {
            Progress::Waiting(waker) => waker,
            Progress::Ended(..) => None,
        }
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn error(error: KernelError) -> Error {
    match error {
        KernelError::PeerDied => Error::PeerDied,
        KernelError::PeerGone => Error::PeerGone,
        KernelError::Full | KernelError::NoRoom => Error::PeerBusy,
        KernelError::NoMemory => Error::NoMemory,
        // The request whose grant was to be passed on has ended: nobody waits for the outcome.
        _ => Error::Protocol,
    }
}

impl Endpoint {
    /// The role of a number, which may take for ever to answer. Calling one that the description does
    /// not name ends the task.
    #[must_use]
    pub fn new(role: u64) -> Self {
        Self {
            role,
            patience_ns: u64::MAX,
        }
    }

    /// The same role, which the restart manager ends if it takes longer than so many nanoseconds to
    /// answer; the call is issued again then, or fails, as after any death. `u64::MAX`: for calls that are
    /// made to stay pending.
    #[must_use]
    pub fn with_patience(self, patience_ns: u64) -> Self {
        Self {
            patience_ns,
            ..self
        }
    }

    /// The role's number.
    #[must_use]
    pub fn role(self) -> u64 {
        self.role
    }

    fn submit(
        self,
        message: &Message,
        send: &Source<'_>,
        receive: &mut Sink<'_>,
    ) -> core::result::Result<Call, KernelError> {
        let (mut read, mut written) = (Segments::new(), Segments::new());
        read.add_source(send)?;
        written.add_sink(receive)?;
        let descriptor = CallDescriptor {
            callee: self.role,
            message: *message,
            send: read.grant(),
            receive: written.grant(),
            patience_ns: self.patience_ns,
        };
        // SAFETY: the segments are those of `send` and `receive`, which the caller of `exchange`
        // keeps borrowed until the `Call` is dropped, at the latest; dropping it cancels.
        let id = unsafe { system::submit(&descriptor) }?;
        CALLS.borrow().insert(id);
        Ok(Call { id })
    }

    /// Calls; returns the kernel's status and the reply. A full mailbox is tried again for a while.
    async fn exchange(
        self,
        message: &Message,
        send: &Source<'_>,
        receive: &mut Sink<'_>,
    ) -> Result<Message> {
        let mut backoff_ns = BACKOFF_NS;
        for _ in 0..SUBMISSIONS_MAX {
            match self.submit(message, send, receive) {
                Ok(call) => {
                    let (status, reply) = call.await;
                    return match KernelError::from_result(status) {
                        None => Ok(reply),
                        Some(status) => Err(error(status)),
                    };
                }
                Err(KernelError::Full | KernelError::NoRoom) => {
                    time::sleep(backoff_ns).await;
                    backoff_ns = (backoff_ns * 2).min(BACKOFF_NS_MAX);
                }
                Err(other) => return Err(error(other)),
            }
        }
        Err(Error::PeerBusy)
    }

    /// Sends the empty message that every runtime answers by itself.
    pub async fn ping(self) -> Result<()> {
        self.exchange(&Message::EMPTY, &Source::empty(), &mut Sink::empty())
            .await
            .map(drop)
    }
}

impl Transport for Endpoint {
    async fn call(
        &self,
        request: &transport::Message,
        send: Source<'_>,
        mut receive: Sink<'_>,
    ) -> Result<transport::Message> {
        let message = Message::new(request).ok_or(Error::Protocol)?;
        let reply = if lend::fits(&send, &mut receive) {
            self.exchange(&message, &send, &mut receive).await?
        } else {
            // More pieces than a grant takes: by way of one piece of our own. It says what they say, before and after,
            // also if the call fails: an instance may have written there before it died, and the next one only
            // answers when the call is issued again.
            let bounce_out = send.to_vec()?;
            let mut bounce_in = alloc::vec![0; receive.len()];
            receive.copy_to(0, &mut bounce_in)?;
            let send = Source::local(&bounce_out);
            let reply = self
                .exchange(&message, &send, &mut Sink::local(&mut bounce_in))
                .await;
            let copied = receive.copy_from(0, &bounce_in);
            let reply = reply?;
            copied?;
            reply
        };
        transport::Message::from_slice(reply.payload()).map_err(|_| Error::Protocol)
    }
}
