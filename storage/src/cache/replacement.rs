//! Which clean page leaves first: S3-FIFO (Yang et al., SOSP 2023), which survives scans.
//!
//! ```text
//!   first seen ──> small (a tenth) ──used again──> main ──not used again──> out
//!                    │ not used again                ^
//!                    v                               │ seen while its ghost was remembered
//!                   out, leaves a ghost ─────────────┘
//! ```
//!
//! Pages that a scan touches once pass through the small queue and push nothing out of the main
//! one. A hit costs an increment, no list is touched. Only clean pages are in the queues: dirty ones
//! come (back) when they have been written.

use alloc::{collections::VecDeque, vec::Vec};

use hashbrown::HashMap;

use crate::file::FileNumber;

/// Names a page for the ghosts: file and page within it.
pub(super) type Key = (FileNumber, u64);

/// End of a list.
const NONE: u32 = u32::MAX;
/// Uses that are counted; more make no difference.
const USES_MAX: u8 = 3;
/// The small queue's share, one in this many.
const SMALL_SHARE: usize = 10;

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Queue {
    /// In none.
    #[default]
    Out,
    /// Seen once.
    Small,
    /// Proved useful.
    Main,
}

#[derive(Clone, Copy, Default)]
struct Link {
    newer: u32,
    older: u32,
    queue: Queue,
    /// Where it goes when it enters a queue again.
    home: Queue,
    /// Fetched ahead of a reader, who has not come to it yet: his coming is the first use.
    ahead: bool,
    uses: u8,
}

#[derive(Clone, Copy)]
struct List {
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            newest: NONE,
            oldest: NONE,
            len: 0,
        }
    }
}

/// The queues, over frames known by their index.
pub(super) struct Replacement {
    links: Vec<Link>,
    small: List,
    main: List,
    ghosts: Ghosts,
    small_max: usize,
}

impl Replacement {
    /// Queues for a cache of `pages`.
    pub fn new(pages: usize) -> Self {
        Self {
            links: Vec::new(),
            small: List::default(),
            main: List::default(),
            ghosts: Ghosts {
                max: pages,
                ..Ghosts::default()
            },
            small_max: (pages / SMALL_SHARE).max(1),
        }
    }

    /// Frame `id` now holds another page, in no queue yet.
    pub fn renew(&mut self, id: u32, key: Key) {
        if self.links.len() <= id as usize {
            self.links.resize(id as usize + 1, Link::default());
        }
        let home = if self.ghosts.forget(key) {
            Queue::Main
        } else {
            Queue::Small
        };
        self.links[id as usize] = Link {
            home,
            ..Link::default()
        };
    }

    /// The page was used once more.
    pub fn touch(&mut self, id: u32) {
        let link = &mut self.links[id as usize];
        if !core::mem::take(&mut link.ahead) {
            link.uses = (link.uses + 1).min(USES_MAX);
        }
    }

    /// The page has not been used yet.
    pub fn fetched_ahead(&mut self, id: u32) {
        self.links[id as usize].ahead = true;
    }

    /// The page is clean: it may be chosen from now on.
    pub fn enter(&mut self, id: u32) {
        let home = self.links[id as usize].home;
        self.push(id, home);
    }

    /// The page must not be chosen any more.
    pub fn leave(&mut self, id: u32) {
        let Link {
            newer,
            older,
            queue,
            ..
        } = self.links[id as usize];
        if queue == Queue::Out {
            return;
        }
        if newer != NONE {
            self.links[newer as usize].older = older;
        }
        if older != NONE {
            self.links[older as usize].newer = newer;
        }
        let list = self.list(queue);
        if list.newest == id {
            list.newest = older;
        }
        if list.oldest == id {
            list.oldest = newer;
        }
        list.len -= 1;
        self.links[id as usize].queue = Queue::Out;
    }

    /// Takes the page that should go out of its queue. `key` names it, for its ghost.
    pub fn choose(&mut self, key: impl Fn(u32) -> Key) -> Option<u32> {
        // Each step takes a page out, moves one from small to main, or takes one of its uses.
        loop {
            if self.small.len > self.small_max || self.main.len == 0 {
                let id = self.small.oldest;
                if id == NONE {
                    return None;
                }
                self.leave(id);
                let link = &mut self.links[id as usize];
                if link.uses == 0 {
                    self.ghosts.remember(key(id));
                    return Some(id);
                }
                link.uses = 0;
                link.home = Queue::Main;
                self.push(id, Queue::Main);
            } else {
                let id = self.main.oldest;
                self.leave(id);
                let link = &mut self.links[id as usize];
                if link.uses == 0 {
                    return Some(id);
                }
                link.uses -= 1;
                self.push(id, Queue::Main);
            }
        }
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        if queue == Queue::Main {
            &mut self.main
        } else {
            &mut self.small
        }
    }

    fn push(&mut self, id: u32, queue: Queue) {
        let list = self.list(queue);
        let before = core::mem::replace(&mut list.newest, id);
        if before == NONE {
            list.oldest = id;
        }
        list.len += 1;
        if before != NONE {
            self.links[before as usize].newer = id;
        }
        let link = &mut self.links[id as usize];
        (link.newer, link.older, link.queue) = (NONE, before, queue);
    }
}

/// Names of pages that went out lately, oldest first.
#[derive(Default)]
struct Ghosts {
    /// When each was put in; what is here twice was put in again.
    order: VecDeque<(Key, u64)>,
    known: HashMap<Key, u64>,
    stamp: u64,
    max: usize,
}

impl Ghosts {
    fn remember(&mut self, key: Key) {
        self.stamp += 1;
        self.known.insert(key, self.stamp);
        self.order.push_back((key, self.stamp));
        // `order` is the longer of the two, so its bound is the bound of both.
        while self.order.len() > self.max {
            let Some((key, stamp)) = self.order.pop_front() else {
                break;
            };
            if self.known.get(&key) == Some(&stamp) {
                self.known.remove(&key);
            }
        }
    }

    fn forget(&mut self, key: Key) -> bool {
        self.known.remove(&key).is_some()
    }
}
