//! One instance of a client after the other: a layer works on the calls of a client that died to their
//! end, and what its successor does must not come between.
//!
//! A successor begins by looking at what is there. A call of its predecessor that takes effect after that
//! would change what the successor believes to know. So the calls of an instance wait until those of
//! the instances before have ended, and calls of an instance that has a successor do not begin any more.

use alloc::{collections::BTreeMap, rc::Rc};
use core::cell::{Cell, RefCell};

use crate::waiting::Signal;

/// An instance, and its calls at work.
#[derive(Default)]
struct Instance {
    generation: u64,
    at_work: Cell<usize>,
    ended: Signal,
}

/// The newest instance of a client, and the one before it.
type Newest = (Rc<Instance>, Rc<Instance>);

/// The calls of all instances of all clients.
#[derive(Default)]
pub struct Succession {
    /// By role. Whom the stack description lets call bounds it.
    clients: RefCell<BTreeMap<u64, Newest>>,
}

/// A call that is being worked on, until it is dropped.
pub struct Turn(Rc<Instance>);

impl Succession {
    /// To be called, and awaited, before a call of an instance of a role is worked on: waits until the calls
    /// of the instances before have ended. `None`: there is a newer instance, and nobody waits for the
    /// answer.
    pub async fn turn(&self, role: u64, generation: u64) -> Option<Turn> {
        let (instance, before) = {
            let mut clients = self.clients.borrow_mut();
            let newest = clients.entry(role).or_default();
            if generation > newest.0.generation {
                let instance = Rc::new(Instance {
                    generation,
                    ..Instance::default()
                });
                newest.1 = core::mem::replace(&mut newest.0, instance);
            }
            newest.clone()
        };
        if instance.generation != generation {
            return None;
        }
        // Counted from here on: who comes after this instance waits for those who wait as well.
        let turn = Turn::new(instance);
        before.ended.until(|| before.at_work.get() == 0).await;
        let newest = self.clients.borrow();
        let newest = newest.get(&role)?.0.generation;
        (newest == generation).then_some(turn)
    }
}

impl Turn {
    fn new(instance: Rc<Instance>) -> Self {
        instance.at_work.set(instance.at_work.get() + 1);
        Self(instance)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.at_work.set(self.0.at_work.get() - 1);
        self.0.ended.notify();
    }
}

#[cfg(test)]
mod tests {
    use core::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll<T>(future: &mut core::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_successor_waits_for_the_calls_of_its_predecessors() {
        let all = Succession::default();
        let Poll::Ready(Some(first)) = poll(&mut pin!(all.turn(7, 1))) else {
            panic!("nothing was before");
        };
        let mut second = pin!(all.turn(7, 2));
        assert!(poll(&mut second).is_pending());
        let mut third = pin!(all.turn(7, 3));
        assert!(poll(&mut third).is_pending(), "the second still waits");
        assert!(matches!(poll(&mut pin!(all.turn(7, 2))), Poll::Ready(None)));
        assert!(
            matches!(poll(&mut pin!(all.turn(8, 1))), Poll::Ready(Some(_))),
            "another client waits for nobody"
        );
        drop(first);
        assert!(
            matches!(poll(&mut second), Poll::Ready(None)),
            "it has a successor"
        );
        let Poll::Ready(Some(third)) = poll(&mut third) else {
            panic!("all before have ended");
        };
        assert!(matches!(
            poll(&mut pin!(all.turn(7, 3))),
            Poll::Ready(Some(_))
        ));
        drop(third);
    }
}
