//! Tasks: roles, the instances that they have one after the other, and what an instance is made of.

use std::{collections::VecDeque, pin::Pin, rc::Rc};

use super::{Kernel, Request, RoleId, State, calls::Event, steps::Ready};

/// What serves a request.
pub type Handler = Rc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = ()>>>>;

/// The present instance of a role.
#[derive(Default)]
pub(super) struct Instance {
    pub futures: Vec<(usize, u64)>,
    pub handler: Option<Handler>,
    /// Requests that may be at work at a time, and those that are.
    pub limit: usize,
    pub at_work: usize,
    /// Requests that wait for a place.
    pub waiting: VecDeque<u64>,
    /// Called when it ends, before its futures are dropped.
    pub at_end: Option<Box<dyn FnOnce()>>,
}

pub(super) struct Role {
    pub name: String,
    pub generation: u64,
    pub instance: Option<Instance>,
    /// Out for good.
    pub stopped: bool,
    /// What it is told next, in order. Between two instances there are only requests here.
    pub events: VecDeque<Event>,
    /// Whether an entry of `ready` stands for the first of the events.
    pub offered: bool,
}

impl Role {
    /// One that has no instance yet.
    pub fn new(name: String) -> Self {
        Self {
            name,
            generation: 0,
            instance: None,
            stopped: false,
            events: VecDeque::new(),
            offered: false,
        }
    }
}

impl Kernel {
    /// A role's name.
    #[must_use]
    pub fn name(&self, role: RoleId) -> String {
        self.state.borrow().roles[role].name.clone()
    }

    /// Whether a role has an instance.
    #[must_use]
    pub fn is_up(&self, role: RoleId) -> bool {
        self.state.borrow().roles[role].instance.is_some()
    }

    /// Which instance of a role is the present or last one.
    #[must_use]
    pub fn generation(&self, role: RoleId) -> u64 {
        self.state.borrow().roles[role].generation
    }

    /// Starts an instance of a role, which has none. `program` runs in it.
    pub fn start(self: &Rc<Self>, role: RoleId, program: impl Future<Output = ()> + 'static) {
        {
            let mut state = self.state.borrow_mut();
            let it = &mut state.roles[role];
            assert!(it.instance.is_none(), "{} runs already", it.name);
            it.generation += 1;
            it.instance = Some(Instance::default());
        }
        self.add_future(role, Box::pin(program));
        self.state.borrow_mut().offer_events(role);
    }

    /// Adds a future to the task that is running.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let running = self.state.borrow().running;
        let running = running.expect("a task spawns");
        if running.doomed.is_none() {
            self.add_future(running.role, Box::pin(future));
        }
    }

    /// Has the running task serve requests, so many of them at a time.
    pub fn serve(self: &Rc<Self>, limit: usize, handler: Handler) {
        let role = {
            let mut state = self.state.borrow_mut();
            let role = state.running.expect("a task serves").role;
            if let Some(instance) = &mut state.roles[role].instance {
                (instance.limit, instance.handler) = (limit, Some(handler));
            }
            role
        };
        // What came before.
        loop {
            let next = self.state.borrow_mut().next_to_serve(role);
            let Some(number) = next else { break };
            self.begin(role, number);
        }
    }

    /// To be called when the running task ends: what it has to break up that holds itself.
    pub fn at_end(&self, end: impl FnOnce() + 'static) {
        let mut state = self.state.borrow_mut();
        let role = state.running.expect("a task says so").role;
        if let Some(instance) = &mut state.roles[role].instance {
            instance.at_end = Some(Box::new(end));
        }
    }
}

impl State {
    /// Sees that something stands for a role's first event, if it can take it.
    pub(super) fn offer_events(&mut self, role: RoleId) {
        let it = &mut self.roles[role];
        if it.instance.is_some() && !it.events.is_empty() && !it.offered {
            it.offered = true;
            self.ready.push(Ready::Event(role));
        }
    }
}
