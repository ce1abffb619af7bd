//! Named points: places where a crash matters most, at which a fault can be made to happen.
//!
//! A layer says where it is, and nothing more: it knows neither faults nor who wants them there. While a
//! point is not armed it costs one load. Whoever places the layers says once what happens at points
//! ([`on_hit`]), and arms one at a time or several; an armed point is hit once.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

macro_rules! points {
    ($($name:ident = $number:literal, $word:literal, $text:literal;)+) => {
        /// A point.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Point {
            $(#[doc = $text] $name = $number,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The layer's name and the place.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Where it is, in a line.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

points! {
    BlocksWritten = 0, "twinfs.blocks-written", "all blocks of a checkpoint are written, none is flushed";
    RootWritten = 1, "twinfs.root-written", "the root of a checkpoint is written, and not flushed";
    RootFlushed = 2, "twinfs.root-flushed", "the root is on the medium, and the store does not know yet";
    RootCopied = 3, "twinfs.root-copied", "the root is copied over the one before, and not flushed";
    LogWritten = 4, "twinfs.log-written", "records of overwrites are written, and not flushed";
    MappingWritten = 5, "logical.mapping-written", "the mapping is on all stores, no store has begun its checkpoint";
    StoresSynced = 6, "logical.stores-synced", "all stores have the checkpoint, and nobody above knows";
    WrittenBack = 7, "cache.written-back", "all that is dirty is below, the sync has not gone down";
    SyncedBelow = 8, "cache.synced-below", "there is a checkpoint below, the log is not cleared";
    Replaying = 9, "cache.replaying", "the next instance below answers, nothing has been sent down to it";
    FileCreated = 10, "naming.file-created", "a file is there and has no name yet";
    TargetWritten = 11, "naming.target-written", "a moved file has its new name, and its old one too";
}

impl Point {
    /// The point of a number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|&it| it as u32 == number)
    }

    /// The layer that passes it.
    #[must_use]
    pub fn layer(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }

    /// The point of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|point| point.name() == name)
    }
}

/// Points that are armed, by number.
static ARMED: AtomicU32 = AtomicU32::new(0);
static HIT: spin::Once<fn(u32)> = spin::Once::new();

/// A layer is at this point.
#[inline]
pub(crate) fn pass(point: Point) {
    if ARMED.load(Relaxed) & 1 << point as u32 != 0 {
        hit(point);
    }
}

#[cold]
fn hit(point: Point) {
    let bit = 1 << point as u32;
    if ARMED.fetch_and(!bit, Relaxed) & bit != 0
        && let Some(hit) = HIT.get()
    {
        hit(point as u32);
    }
}

/// Has the point of this number be hit when a layer passes it next; one that there is not never is.
pub fn arm(number: u32) {
    ARMED.fetch_or(1_u32.checked_shl(number).unwrap_or(0), Relaxed);
}

/// Says what happens when an armed point is passed, which is told by its number; only the first to say so
/// is heard.
pub fn on_hit(hit: fn(u32)) {
    HIT.call_once(|| hit);
}

#[cfg(test)]
mod tests {
    use super::*;

    static HITS: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn an_armed_point_is_hit_once() {
        on_hit(|number| {
            assert_eq!(number, Point::TargetWritten as u32);
            HITS.fetch_add(1, Relaxed);
        });
        pass(Point::TargetWritten);
        arm(Point::TargetWritten as u32);
        arm(77);
        pass(Point::FileCreated);
        assert_eq!(HITS.load(Relaxed), 0);
        pass(Point::TargetWritten);
        pass(Point::TargetWritten);
        assert_eq!(HITS.load(Relaxed), 1);
        for (number, point) in (0..).zip(Point::ALL) {
            assert_eq!(*point as u32, number);
            assert_eq!(Point::of_name(point.name()), Some(*point));
        }
    }
}
