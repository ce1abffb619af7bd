//! Calls: a message to a role, exactly one answer, memory lent for as long as it lasts.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use storage::{
    Error, Result,
    buffer::{Lent, LentMemory, Side, Sink, Source},
    transport::{self, Message, Transport},
};

use super::{
    Kernel, RoleId, State,
    lend::{Grant, Grants},
    steps::Ready,
};

/// How often a call is submitted again because the callee's mailbox is full, and the pauses, as in the
/// runtime of the guest.
const SUBMISSIONS_MAX: u32 = 3_000;
const BACKOFF_NS: u64 = 100_000;
const BACKOFF_NS_MAX: u64 = 10_000_000;

/// What a role is told.
pub(super) enum Event {
    /// A call for it.
    Request(u64),
    /// A call of its own has ended.
    Reply(u64, Result<Message>),
}

pub(super) struct Call {
    caller: RoleId,
    callee: RoleId,
    message: Message,
    grants: Grants,
    /// The answer, once the caller was told.
    ended: Option<Result<Message>>,
    /// The answer is on its way, or was given.
    answered: bool,
    waker: Option<Waker>,
}

/// All calls, by number.
#[derive(Default)]
pub(super) struct Calls {
    table: BTreeMap<u64, Call>,
    made: u64,
}

impl Calls {
    /// What was lent with a call that has not ended.
    pub fn grants(&self, call: u64) -> Option<&Grants> {
        let call = self.table.get(&call)?;
        (!call.answered).then_some(&call.grants)
    }
}

impl State {
    /// The answer of a call is on its way; what was lent with it is not any more.
    fn answer(&mut self, number: u64, result: Result<Message>) {
        let Some(call) = self.calls.table.get_mut(&number) else {
            return;
        };
        if call.answered {
            return;
        }
        call.answered = true;
        call.grants.end();
        let caller = call.caller;
        self.roles[caller]
            .events
            .push_back(Event::Reply(number, result));
        self.offer_events(caller);
    }

    /// Nobody waits for a call any more.
    fn give_up(&mut self, number: u64) {
        let Some(call) = self.calls.table.remove(&number) else {
            return;
        };
        call.grants.end();
        let callee = &mut self.roles[call.callee];
        callee
            .events
            .retain(|event| !matches!(event, Event::Request(it) if *it == number));
        if let Some(instance) = &mut callee.instance {
            instance.waiting.retain(|it| *it != number);
        }
    }

    /// A role has no instance any more.
    pub(super) fn end_calls(&mut self, role: RoleId) {
        self.roles[role]
            .events
            .retain(|event| matches!(event, Event::Request(_)));
        let of = |state: &Self, is: &dyn Fn(&Call) -> bool| -> Vec<u64> {
            let table = state.calls.table.iter();
            table.filter(|(_, it)| is(it)).map(|(&it, _)| it).collect()
        };
        for number in of(self, &|call| call.caller == role) {
            self.give_up(number);
        }
        for number in of(self, &|call| call.callee == role) {
            self.answer(number, Err(Error::PeerDied));
        }
        self.roles[role].events.clear();
        if self.roles[role].offered {
            self.roles[role].offered = false;
            self.ready.retain(|it| *it != Ready::Event(role));
        }
    }

    /// The next request that a role has a place for, which it takes.
    pub(super) fn next_to_serve(&mut self, role: RoleId) -> Option<u64> {
        let instance = self.roles[role].instance.as_mut()?;
        if instance.handler.is_none() || instance.at_work >= instance.limit {
            return None;
        }
        let number = instance.waiting.pop_front()?;
        instance.at_work += 1;
        Some(number)
    }

    /// What waits in the mailbox of a role that is out.
    pub(super) fn refuse_queued(&mut self, role: RoleId) {
        let of = |call: &Call| call.callee == role;
        let queued = self.calls.table.iter().filter(|(_, it)| of(it));
        for number in queued.map(|(&it, _)| it).collect::<Vec<_>>() {
            self.answer(number, Err(Error::PeerGone));
        }
        self.roles[role].events.clear();
    }
}

impl Kernel {
    /// Submits a call of the running task. `None` is the call of a task that dies in this poll: it goes
    /// nowhere.
    fn submit(
        &self,
        callee: RoleId,
        message: &Message,
        send: &Source<'_>,
        receive: &mut Sink<'_>,
    ) -> Result<Option<u64>> {
        if !self.message() {
            return Ok(None);
        }
        let mut state = self.state.borrow_mut();
        let caller = state.running.expect("a task calls").role;
        if state.roles[callee].stopped {
            return Err(Error::PeerGone);
        }
        let is_request = |event: &&Event| matches!(event, Event::Request(_));
        let queued = state.roles[callee].events.iter().filter(is_request).count();
        if queued >= state.mailbox_max {
            return Err(Error::PeerBusy);
        }
        let grants = Grants {
            send: Grant::of_source(send, &state.calls)?,
            receive: Grant::of_sink(receive, &state.calls)?,
        };
        state.calls.made += 1;
        let number = state.calls.made;
        let call = Call {
            caller,
            callee,
            message: message.clone(),
            grants,
            ended: None,
            answered: false,
            waker: None,
        };
        state.calls.table.insert(number, call);
        state.roles[callee].events.push_back(Event::Request(number));
        state.offer_events(callee);
        Ok(Some(number))
    }

    /// Tells a role the first of its events.
    pub(super) fn deliver(self: &Rc<Self>, role: RoleId) {
        let mut state = self.state.borrow_mut();
        state.roles[role].offered = false;
        let event = match &state.roles[role].instance {
            Some(_) => state.roles[role].events.pop_front(),
            None => None,
        };
        match event {
            Some(Event::Request(number)) => {
                state.note(1, role as u64, number);
                if let Some(instance) = &mut state.roles[role].instance {
                    instance.waiting.push_back(number);
                }
                let next = state.next_to_serve(role);
                drop(state);
                if let Some(next) = next {
                    self.begin(role, next);
                }
            }
            Some(Event::Reply(number, result)) => {
                state.note(2, role as u64, number);
                if let Some(call) = state.calls.table.get_mut(&number) {
                    call.ended = Some(result);
                    if let Some(waker) = call.waker.take() {
                        waker.wake();
                    }
                }
                drop(state);
            }
            None => return,
        }
        self.state.borrow_mut().offer_events(role);
    }

    /// A request begins to be worked on.
    pub(super) fn begin(self: &Rc<Self>, role: RoleId, number: u64) {
        let (handler, request) = {
            let state = self.state.borrow();
            let Some(call) = state.calls.table.get(&number) else {
                return;
            };
            let request = Request {
                kernel: self.clone(),
                number,
                from: call.caller as u64,
                generation: state.roles[call.caller].generation,
                send_len: call.grants.send.len(),
                receive_len: call.grants.receive.len(),
                message: call.message.clone(),
                answered: Cell::new(false),
            };
            let handler = state.roles[role].instance.as_ref();
            (handler.and_then(|it| it.handler.clone()), request)
        };
        let Some(handler) = handler else { return };
        let kernel = self.clone();
        let work = async move {
            handler(request).await;
            kernel.work_ended(role);
        };
        self.add_future(role, Box::pin(work));
    }

    /// A request was worked on; another one may be.
    fn work_ended(self: &Rc<Self>, role: RoleId) {
        let next = {
            let mut state = self.state.borrow_mut();
            if let Some(instance) = &mut state.roles[role].instance {
                instance.at_work -= 1;
            }
            state.next_to_serve(role)
        };
        if let Some(number) = next {
            self.begin(role, number);
        }
    }
}

/// The way to a role, for tasks.
#[derive(Clone)]
pub struct Endpoint {
    /// The kernel.
    pub kernel: Rc<Kernel>,
    /// Who is called.
    pub role: RoleId,
}

/// A call of the caller that is given up if this is dropped.
struct UnderWay<'a> {
    kernel: &'a Kernel,
    number: Option<u64>,
}

impl UnderWay<'_> {
    async fn ended(&self) -> Result<Message> {
        poll_fn(|context| {
            let mut state = self.kernel.state.borrow_mut();
            let Some(number) = self.number else {
                return Poll::Pending;
            };
            let Some(call) = state.calls.table.get_mut(&number) else {
                return Poll::Pending;
            };
            match call.ended.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    call.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.kernel.state.borrow_mut().give_up(number);
        }
    }
}

impl Transport for Endpoint {
    async fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        mut receive: Sink<'_>,
    ) -> Result<Message> {
        let mut backoff_ns = BACKOFF_NS;
        for _ in 0..SUBMISSIONS_MAX {
            match self.kernel.submit(self.role, request, &send, &mut receive) {
                Ok(number) => {
                    let call = UnderWay {
                        kernel: &self.kernel,
                        number,
                    };
                    let lent = number.and_then(|number| {
                        let state = self.kernel.state.borrow();
                        let grants = state.calls.grants(number)?;
                        Some(grants.receive.clone())
                    });
                    let result = call.ended().await;
                    if let Some(lent) = lent {
                        lent.give_back(&mut receive);
                    }
                    return result;
                }
                Err(Error::PeerBusy) => {
                    self.kernel.sleep(backoff_ns).await;
                    backoff_ns = (backoff_ns * 2).min(BACKOFF_NS_MAX);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::PeerBusy)
    }
}

/// A call to serve.
pub struct Request {
    kernel: Rc<Kernel>,
    number: u64,
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
        self.from
    }

    /// Which instance of it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    fn lent(&self, side: Side, len: usize) -> Lent<'_> {
        Lent {
            memory: self,
            side,
            offset: 0,
            len,
        }
    }

    /// What the caller lets us read.
    #[must_use]
    pub fn send(&self) -> Source<'_> {
        Source::lent(self.lent(Side::Send, self.send_len))
    }

    /// What the caller lets us write.
    #[must_use]
    pub fn receive(&self) -> Sink<'_> {
        Sink::lent(self.lent(Side::Receive, self.receive_len))
    }

    /// Answers. Whether there is somebody to hear it.
    pub fn reply(&self, message: &Message) -> bool {
        self.answered.set(true);
        if !self.kernel.message() {
            return true;
        }
        let mut state = self.kernel.state.borrow_mut();
        let is_heard = state.calls.grants(self.number).is_some();
        state.answer(self.number, Ok(message.clone()));
        is_heard
    }

    fn memory(&self, side: Side) -> Result<Grant> {
        let state = self.kernel.state.borrow();
        let grants = state.calls.grants(self.number).ok_or(Error::Protocol)?;
        Ok(match side {
            Side::Send => grants.send.clone(),
            Side::Receive => grants.receive.clone(),
        })
    }
}

impl Drop for Request {
    /// No caller waits for ever.
    fn drop(&mut self) {
        if !self.answered.get() {
            self.reply(&transport::answer(Err::<(), _>(Error::Protocol)));
        }
    }
}

impl LentMemory for Request {
    fn copy_from(&self, side: Side, offset: usize, into: &mut [u8]) -> Result<()> {
        self.memory(side)?.read(offset, into)
    }

    fn copy_to(&self, offset: usize, from: &[u8]) -> Result<()> {
        let memory = self.memory(Side::Receive)?;
        if self.kernel.effect() {
            memory.write(offset, from)
        } else {
            Ok(())
        }
    }

    fn token(&self) -> u64 {
        self.number
    }
}

/// Memory in which lent bytes are kept while a call lasts.
pub(super) type Bytes = Rc<RefCell<Vec<u8>>>;
