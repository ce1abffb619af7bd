//! Faults that a task suffers in its own code: what [`crate::system_call::INJECT`] has it do.
//!
//! The kernel has the task run an entry of its runtime at its next return to ring 3, as a signal
//! would; the runtime does the rest, in the real task, with its real state, and goes on afterwards where
//! the fault is none that ends it.

macro_rules! faults {
    ($($name:ident = $number:literal, $word:literal, $text:literal;)+) => {
        /// A fault of a task.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Fault {
            $(#[doc = $text] $name = $number,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The fault of a number.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The word for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// What happens, in a line.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

faults! {
    Kill = 1, "kill", "a trap at the program counter";
    Panic = 2, "panic", "a broken invariant";
    WildWrite = 3, "wild-write", "random words at random writable addresses; then it goes on";
    HeapCorruption = 4, "heap-corruption", "the allocator's lists and blocks of the heap are overwritten";
    StackOverrun = 5, "stack-overrun", "recursion without end";
    InfiniteLoop = 6, "infinite-loop", "a loop without end";
    Deadlock = 7, "deadlock", "requests wait for each other while the event loop turns";
    AllocBomb = 8, "alloc-bomb", "memory without end";
    BadCall = 9, "bad-call", "a system call that it has no right to";
    BadJump = 10, "bad-jump", "a jump to a random address";
    Exit = 11, "exit", "it ends itself";
    StaticOverrun = 12, "static-overrun", "writes past the end of a static array, and an assertion later";
    PoolExhaustion = 13, "pool-exhaustion", "all places for requests are taken and never given back";
    Leak = 14, "leak", "memory is lost with every request";
    DoubleFree = 15, "double-free", "a block is freed twice, so that two owners get it";
    UseAfterFree = 16, "use-after-free", "writes to a block that was freed";
    OffByOne = 17, "off-by-one", "writes one byte past a block";
    NullPointer = 18, "null-pointer", "reads through a null pointer";
    DivideByZero = 19, "divide-by-zero", "an arithmetic exception";
    BadInstruction = 20, "bad-instruction", "an instruction that there is not";
    WriteToCode = 21, "write-to-code", "writes to its own code";
    RunData = 22, "run-data", "jumps into its own data";
    SmashedStack = 23, "smashed-stack", "return addresses on the stack are overwritten";
    MissedWakeUp = 24, "missed-wake-up", "a future is never polled again";
    LostReply = 25, "lost-reply", "a request is never answered";
    DoubleReply = 26, "double-reply", "a request is answered twice";
    WrongReply = 27, "wrong-reply", "a request gets the reply to another";
    GarbageReply = 28, "garbage-reply", "a request gets a reply that means nothing";
    Livelock = 29, "livelock", "the event loop turns and turns, and nothing gets on";
    DeafToTime = 30, "late-timers", "timers never fire again";
    DeafToInterrupts = 31, "stuck-interrupt", "interrupts are never heard again";
    SizeOverflow = 32, "size-overflow", "a size that overflowed asks for all memory there is";
    UnboundedQueue = 33, "unbounded-queue", "a queue grows with every turn of the event loop";
    BitFlip = 34, "bit-flip", "one bit of the heap changes";
}

/// When the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the next return to ring 3.
    Now,
    /// When it takes the request after so many.
    Requests(u32),
    /// When it passes the named point of this number.
    Point(u32),
    /// With one request in so many, as the seed has it.
    OneIn(u32),
}

impl When {
    /// As the kernel hands it on.
    #[must_use]
    pub fn encode(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Requests(count) => 1 << 32 | u64::from(count),
            Self::Point(point) => 2 << 32 | u64::from(point),
            Self::OneIn(requests) => 3 << 32 | u64::from(requests),
        }
    }

    /// What was encoded.
    #[must_use]
    pub fn decode(word: u64) -> Self {
        let low = word as u32;
        match word >> 32 {
            1 => Self::Requests(low),
            2 => Self::Point(low),
            3 => Self::OneIn(low),
            _ => Self::Now,
        }
    }
}

/// What the task is to do: the first word of an injection.
///
/// ```text
///   63        32 31     16 15        0
///   |   times   |  place  |   fault   |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Suffer this now, whatever else the task waits for.
    Suffer(Fault),
    /// Suffer this when its time comes. In this place of [`crate::MARKS_MAX`] the task keeps it, and
    /// counts with the mark of the same number each time that it happens.
    Arm(Fault, u16, u32),
    /// Forget what is in this place.
    Disarm(u16),
    /// Forget all of it.
    DisarmAll,
}

impl Order {
    /// Every time, until it is disarmed.
    pub const ALWAYS: u32 = 0;
    const NO_PLACE: u64 = 0xffff;

    /// As the kernel hands it on.
    #[must_use]
    pub fn encode(self) -> u64 {
        match self {
            Self::Suffer(fault) => Self::NO_PLACE << 16 | fault as u64,
            Self::Arm(fault, place, times) => {
                u64::from(times) << 32 | u64::from(place) << 16 | fault as u64
            }
            Self::Disarm(place) => u64::from(place) << 16,
            Self::DisarmAll => Self::NO_PLACE << 16,
        }
    }

    /// What was encoded; none for a fault that there is not.
    #[must_use]
    pub fn decode(word: u64) -> Option<Self> {
        let (fault, place) = (word as u16, word >> 16 & 0xffff);
        Some(match (fault, place) {
            (0, Self::NO_PLACE) => Self::DisarmAll,
            (0, place) => Self::Disarm(place as u16),
            (fault, Self::NO_PLACE) => Self::Suffer(Fault::from_number(fault.into())?),
            (fault, place) => {
                let fault = Fault::from_number(fault.into())?;
                Self::Arm(fault, place as u16, (word >> 32) as u32)
            }
        })
    }
}

/// Where [`Fault::WildWrite`] writes: the argument's upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Region {
    /// Anywhere below.
    Any = 0,
    /// The heap.
    Heap = 1,
    /// The stack, from where the task was interrupted upwards.
    Stack = 2,
    /// Static data.
    Data = 3,
    /// The memory that outlives the instance.
    Surviving = 4,
}

impl Region {
    /// All of them and their words.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Any, "any"),
        (Self::Heap, "heap"),
        (Self::Stack, "stack"),
        (Self::Data, "data"),
        (Self::Surviving, "surviving"),
    ];

    /// The region of a number; anywhere for one there is not.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let mut all = Self::ALL.iter();
        all.find(|(region, _)| *region as u32 == number)
            .map_or(Self::Any, |(region, _)| *region)
    }

    /// The region of a word.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, word)| *word == name)
            .map(|(region, _)| *region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_is_what_is_understood() {
        for fault in Fault::ALL {
            for order in [
                Order::Suffer(*fault),
                Order::Arm(*fault, 0, Order::ALWAYS),
                Order::Arm(*fault, 7, u32::MAX),
            ] {
                assert_eq!(Order::decode(order.encode()), Some(order));
            }
        }
        for order in [Order::Disarm(0), Order::Disarm(7), Order::DisarmAll] {
            assert_eq!(Order::decode(order.encode()), Some(order));
        }
        assert_eq!(Order::decode(Order::Disarm(0).encode() | 999), None);
        for when in [
            When::Now,
            When::Requests(5),
            When::Point(u32::MAX),
            When::OneIn(7),
        ] {
            assert_eq!(When::decode(when.encode()), when);
        }
    }
}
