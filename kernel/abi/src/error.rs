//! Why the kernel refused, or how a call ended other than by a reply.

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)+) => {
        /// Why the kernel refused a system call, or how a call ended other than by a reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i64)]
        pub enum Error {
            $($(#[$doc])* $name = $code,)+
        }

        impl Error {
            /// The error a negative result of a system call stands for.
            #[must_use]
            pub fn from_result(result: i64) -> Option<Self> {
                match result {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

errors! {
    /// An argument is out of range or malformed.
    BadArgument = -1, "bad argument";
    /// A pointer, a length or an offset reaches outside what the task may touch.
    BadAddress = -2, "bad address";
    /// The callee's mailbox is full, or the task has as many calls in flight as it may.
    Full = -3, "mailbox full";
    /// The callee died before it replied. The call may or may not have had an effect.
    PeerDied = -4, "peer died";
    /// The role was stopped for good; calling it again is of no use.
    PeerGone = -5, "peer gone";
    /// The call has ended (replied, cancelled, or its caller died), or never was.
    NoSuchCall = -6, "no such call";
    /// No memory left, in the machine or in the task's quota.
    NoMemory = -7, "out of memory";
    /// No such role, device, file of the archive, or interrupt.
    NotFound = -8, "not found";
    /// The kernel has no such system call.
    NoSuchSystemCall = -9, "no such system call";
    /// A table of the kernel is full.
    NoRoom = -10, "kernel table full";
    /// Not in this state: spawning what runs, killing what is dead.
    BadState = -11, "not in this state";
}
