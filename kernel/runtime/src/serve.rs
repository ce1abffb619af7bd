//! The server end: requests as they come, a bounded number of them at work.

use alloc::{boxed::Box, collections::VecDeque, rc::Rc};
use core::{
    cell::Cell,
    future::poll_fn,
    task::{Poll, Waker},
};

use abi::{COPY_BYTES_MAX, Event, Message};
use async_lock::Semaphore;
use storage::{
    Error, Result,
    buffer::{Lent, LentMemory, Side, Sink, Source},
    transport,
};

use crate::{executor::spawn, fault, local::Local, system};

struct Incoming {
    /// Requests that nobody works on yet. The kernel's bounds on calls in flight bound it.
    requests: VecDeque<Request>,
    waker: Option<Waker>,
}

static INCOMING: Local<Incoming> = Local::new(Incoming {
    requests: VecDeque::new(),
    waker: None,
});

/// A call to serve.
pub struct Request(Box<Call>);

/// What came. It is moved through several hands, so it stays in one place.
struct Call {
    token: u64,
    from: u64,
    generation: u64,
    send_len: usize,
    receive_len: usize,
    message: Message,
    answered: Cell<bool>,
}

impl Request {
    /// The role that calls.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.0.from
    }

    /// Which instance of it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.0.message.payload()
    }

    /// What the caller lets us read.
    #[must_use]
    pub fn send(&self) -> Source<'_> {
        let (side, len) = (Side::Send, self.0.send_len);
        Source::lent(Lent {
            memory: self,
            side,
            offset: 0,
            len,
        })
    }

    /// What the caller lets us write.
    #[must_use]
    pub fn receive(&self) -> Sink<'_> {
        let (side, len) = (Side::Receive, self.0.receive_len);
        Sink::lent(Lent {
            memory: self,
            side,
            offset: 0,
            len,
        })
    }

    /// Answers, once; what was lent is out of reach from here on. Whether there is somebody to hear it.
    pub fn reply(&self, message: &transport::Message) -> bool {
        self.0.answered.set(true);
        let message = Message::new(message).unwrap_or(Message::EMPTY);
        fault::on_reply(self.0.token, &message)
    }
}

impl Drop for Request {
    /// A request that is dropped is answered all the same: no caller waits for ever.
    fn drop(&mut self) {
        if !self.0.answered.get() {
            self.reply(&transport::answer(Err::<(), _>(Error::Protocol)));
        }
    }
}

impl LentMemory for Request {
    fn copy_from(&self, side: Side, offset: usize, into: &mut [u8]) -> Result<()> {
        let side = match side {
            Side::Send => abi::Side::Send,
            Side::Receive => abi::Side::Receive,
        };
        let mut at = offset as u64;
        for part in into.chunks_mut(COPY_BYTES_MAX) {
            system::copy_from(self.0.token, side, at, part).map_err(|_| Error::Protocol)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn copy_to(&self, offset: usize, from: &[u8]) -> Result<()> {
        let mut at = offset as u64;
        for part in from.chunks(COPY_BYTES_MAX) {
            system::copy_to(self.0.token, at, part).map_err(|_| Error::Protocol)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn token(&self) -> u64 {
        self.0.token
    }
}

/// A request has come. The empty one asks whether the task still hears, and is answered here.
pub(crate) fn request(event: &Event) {
    if event.message.len == 0 {
        let _ = system::reply(event.id, &Message::EMPTY);
        return;
    }
    fault::on_request();
    let waker = {
        let mut incoming = INCOMING.borrow();
        incoming.requests.push_back(Request(Box::new(Call {
            token: event.id,
            from: u64::from(event.role),
            generation: event.status as u64,
            send_len: event.send_len as usize,
            receive_len: event.receive_len as usize,
            message: event.message,
            answered: Cell::new(false),
        })));
        incoming.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A caller gave up. What is being worked on goes on to its end, which nobody hears; what is not is
/// forgotten.
pub(crate) fn cancelled(token: u64) {
    let mut incoming = INCOMING.borrow();
    if let Some(index) = incoming
        .requests
        .iter()
        .position(|request| request.0.token == token)
    {
        let request = incoming.requests.remove(index);
        drop(incoming);
        // Answering tells the kernel that the request is done with.
        drop(request);
    }
}

async fn next() -> Request {
    poll_fn(|context| {
        let mut incoming = INCOMING.borrow();
        match incoming.requests.pop_front() {
            Some(request) => Poll::Ready(request),
            None => {
                incoming.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// Serves requests for ever, up to `limit` of them at a time; the others wait.
pub async fn serve<Handler, Work>(limit: usize, handler: Handler)
where
    Handler: Fn(Request) -> Work,
    Work: Future<Output = ()> + 'static,
{
    let places = Rc::new(Semaphore::new(limit));
    loop {
        if fault::hoards() {
            core::future::pending::<()>().await;
        }
        let place = places.acquire().await;
        core::mem::forget(place);
        // Boxed at once: a future is moved as seldom as possible.
        let work = Box::pin(handler(next().await));
        let places = places.clone();
        spawn(async move {
            work.await;
            places.add_permits(1);
        });
    }
}
