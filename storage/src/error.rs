//! The errors of the stack: few, and each says what the caller can do.

use serde::{Deserialize, Serialize};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// Why an operation failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Error {
            $($(#[$doc])* $name,)+
        }

        impl core::fmt::Display for Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

errors! {
    // What applications see; names as in POSIX.
    /// ENOENT.
    NotFound = "no such file or directory";
    /// EEXIST.
    Exists = "file exists";
    /// ENOTDIR.
    NotADirectory = "not a directory";
    /// EISDIR.
    IsADirectory = "is a directory";
    /// ENOTEMPTY.
    NotEmpty = "directory not empty";
    /// ENAMETOOLONG.
    NameTooLong = "name too long";
    /// ELOOP.
    TooManyLinks = "too many levels of symbolic links";
    /// EMLINK.
    LinksExhausted = "too many links";
    /// EBADF.
    BadDescriptor = "bad file descriptor";
    /// EMFILE.
    TooManyOpen = "too many open files";
    /// EINVAL.
    BadArgument = "invalid argument";
    /// EPERM.
    NotPermitted = "operation not permitted";
    /// EFBIG.
    TooBig = "file too large";
    /// ENOSPC.
    NoSpace = "no space left on device";
    /// EROFS.
    ReadOnly = "read-only file system";
    /// EBUSY.
    Busy = "device or resource busy";
    /// ENOMEM: a bound on memory was reached; try again later or with less.
    NoMemory = "out of memory";

    // What devices and layers below report.
    /// The device failed this request and its retries. Another copy may serve.
    Device = "input/output error";
    /// What was read does not match its checksum. Another copy may serve; never data.
    Corrupt = "checksum error";
    /// There is no volume here.
    NotFormatted = "not a Galago volume";
    /// The volume is of a format that this version does not know.
    WrongVersion = "unknown volume version";
    /// A store was called before `load` told it which checkpoint to start from, or must be told anew.
    NotLoaded = "no checkpoint loaded";
    /// There is no such checkpoint, or no common one.
    NoCheckpoint = "no such checkpoint";
    /// The other side broke the protocol: a message that does not decode, a wrong reply.
    Protocol = "malformed message";

    // How a call between tasks can end without an answer.
    /// The callee died before it answered. The call may or may not have had an effect.
    PeerDied = "peer died";
    /// The callee is stopped for good.
    PeerGone = "peer gone";
    /// The callee's mailbox is full; try again after some of the caller's own calls ended.
    PeerBusy = "peer busy";
}

impl core::error::Error for Error {}
