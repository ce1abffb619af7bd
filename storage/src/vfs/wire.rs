//! VFS calls as messages. Paths travel in the memory lent to send; of two, the first one's length
//! is in the message.
//!
//! A client numbers its calls ([`CallId`]) and issues one again when naming died over it. By the number
//! naming's next instance knows a call that was carried out, and gives the answer again.

use alloc::vec::Vec;
use core::{
    cell::RefCell,
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Descriptor, FileSystem, OpenFlags, PATH_BYTES_MAX, SeekFrom, SetTime, Stat, StatFs};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    file::{VolumeFormat, Work},
    transport::{Message, Serving, Transport, answer, decode, encode, serving},
};

/// Deaths of naming over one and the same call before its client is told.
const DEATHS_MAX: usize = 1000;

/// Tells the clients within one task apart.
static SESSIONS: AtomicU32 = AtomicU32::new(0);

/// Which call of an instance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallId {
    /// Which of the clients within the instance.
    pub session: u32,
    /// Counts up with every call of the session; repeated, a call keeps its number.
    pub number: u64,
    /// How many numbers back the oldest call is that the client has no answer of yet.
    pub pending: u64,
}

impl CallId {
    /// Of all calls before this one the client has the answers.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.number.saturating_sub(self.pending)
    }
}

/// A call as a message; [`serve`] carries it out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call(CallId, Request);

impl Call {
    /// From a message.
    pub fn decode(message: &[u8]) -> Result<Self> {
        decode(message)
    }

    /// Which call of the client's instance it is.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.0
    }

    /// Whether it is to open something.
    #[must_use]
    pub fn opens(&self) -> bool {
        matches!(self.1, Request::Open { .. })
    }

    /// The role that the caller says does not come back ([`Client::gone`]).
    #[must_use]
    pub fn gone(&self) -> Option<u64> {
        match self.1 {
            Request::Gone { role } => Some(role),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Request {
    Format(VolumeFormat),
    Mount,
    Open {
        flags: u32,
        mode: u32,
    },
    Close {
        descriptor: Descriptor,
    },
    Read {
        descriptor: Descriptor,
        offset: Option<u64>,
    },
    Write {
        descriptor: Descriptor,
        offset: Option<u64>,
    },
    Seek {
        descriptor: Descriptor,
        to: SeekFrom,
    },
    Truncate {
        descriptor: Descriptor,
        size: u64,
    },
    Fstat {
        descriptor: Descriptor,
    },
    Fsync {
        descriptor: Descriptor,
    },
    Readdir {
        descriptor: Descriptor,
    },
    Stat {
        follow: bool,
    },
    Mkdir {
        mode: u32,
    },
    Rmdir,
    Unlink,
    Rename {
        first: u32,
    },
    Link {
        first: u32,
    },
    Symlink {
        first: u32,
    },
    Readlink,
    Chmod {
        mode: u32,
    },
    Chown {
        uid: u32,
        gid: u32,
    },
    Utimes {
        accessed: SetTime,
        modified: SetTime,
    },
    Statfs,
    Work,
    Sync,
    Gone {
        role: u64,
    },
}

/// A [`FileSystem`] behind a transport. The death of what is there is noticed as a delay.
pub struct Client<T> {
    transport: T,
    session: u32,
    /// The number of the next call, and those of the calls under way, in order.
    calls: RefCell<(u64, Vec<u64>)>,
    /// What was opened through this client and not closed.
    open: RefCell<Vec<Descriptor>>,
}

/// A call under way.
struct Numbered<'a> {
    calls: &'a RefCell<(u64, Vec<u64>)>,
    number: u64,
}

impl<'a> Numbered<'a> {
    fn begin(calls: &'a RefCell<(u64, Vec<u64>)>) -> Self {
        let mut all = calls.borrow_mut();
        let number = all.0;
        all.0 += 1;
        all.1.push(number);
        drop(all);
        Self { calls, number }
    }

    /// How many numbers back the oldest call under way is.
    fn pending(&self) -> u64 {
        let oldest = self.calls.borrow().1.first().copied();
        self.number - oldest.unwrap_or(self.number).min(self.number)
    }
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        self.calls
            .borrow_mut()
            .1
            .retain(|&number| number != self.number);
    }
}

impl<T: Transport> Client<T> {
    /// The file system behind this transport.
    pub fn new(transport: T) -> Self {
        Self {
            transport,
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            calls: RefCell::default(),
            open: RefCell::default(),
        }
    }

    /// What was opened through this client and not closed, for whoever gives up what it was opened for.
    #[must_use]
    pub fn left_open(&self) -> Vec<Descriptor> {
        self.open.borrow().clone()
    }

    /// Says that a role does not come back: what it has open is closed. [`Error::NotPermitted`] unless
    /// the caller is the one who starts roles.
    pub async fn gone(&self, role: u64) -> Result<()> {
        self.plain(&Request::Gone { role }).await
    }

    /// Calls until there is an answer.
    async fn call<Reply: DeserializeOwned>(
        &self,
        request: &Request,
        send: Source<'_>,
        mut receive: Sink<'_>,
    ) -> Result<Reply> {
        let call = Numbered::begin(&self.calls);
        let mut deaths = 0;
        loop {
            let id = CallId {
                session: self.session,
                number: call.number,
                pending: call.pending(),
            };
            let message = encode(&(id, request))?;
            let reply = self
                .transport
                .call(&message, send.clone(), receive.reborrow())
                .await;
            match reply {
                Err(Error::PeerDied) if deaths < DEATHS_MAX => deaths += 1,
                reply => return decode::<Result<Reply>>(&reply?)?,
            }
        }
    }

    async fn plain<Reply: DeserializeOwned>(&self, request: &Request) -> Result<Reply> {
        self.call(request, Source::empty(), Sink::empty()).await
    }

    async fn path<Reply: DeserializeOwned>(&self, request: &Request, path: &[u8]) -> Result<Reply> {
        check(path)?;
        self.call(request, Source::local(path), Sink::empty()).await
    }

    async fn paths(&self, request: &Request, first: &[u8], second: &[u8]) -> Result<()> {
        check(first)?;
        check(second)?;
        let mut send = Source::local(first);
        send.push_local(second);
        self.call(request, send, Sink::empty()).await
    }
}

fn check(path: &[u8]) -> Result<()> {
    if path.len() > PATH_BYTES_MAX {
        Err(Error::NameTooLong)
    } else {
        Ok(())
    }
}

impl<T: Transport> FileSystem for Client<T> {
    async fn format(&self, format: &VolumeFormat) -> Result<()> {
        self.plain(&Request::Format(*format)).await
    }
    async fn mount(&self) -> Result<()> {
        self.plain(&Request::Mount).await
    }
    async fn open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Descriptor> {
        let flags = flags.bits();
        let opened = self.path(&Request::Open { flags, mode }, path).await;
        self.open.borrow_mut().extend(opened.iter());
        opened
    }
    async fn close(&self, descriptor: Descriptor) -> Result<()> {
        self.open.borrow_mut().retain(|&other| other != descriptor);
        self.plain(&Request::Close { descriptor }).await
    }
    async fn read(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Sink<'_>,
    ) -> Result<usize> {
        self.call(&Request::Read { descriptor, offset }, Source::empty(), data)
            .await
    }
    async fn write(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<usize> {
        self.call(&Request::Write { descriptor, offset }, data, Sink::empty())
            .await
    }
    async fn seek(&self, descriptor: Descriptor, to: SeekFrom) -> Result<u64> {
        self.plain(&Request::Seek { descriptor, to }).await
    }
    async fn truncate(&self, descriptor: Descriptor, size: u64) -> Result<()> {
        self.plain(&Request::Truncate { descriptor, size }).await
    }
    async fn fstat(&self, descriptor: Descriptor) -> Result<Stat> {
        self.plain(&Request::Fstat { descriptor }).await
    }
    async fn fsync(&self, descriptor: Descriptor) -> Result<()> {
        self.plain(&Request::Fsync { descriptor }).await
    }
    async fn readdir(&self, descriptor: Descriptor, data: Sink<'_>) -> Result<usize> {
        self.call(&Request::Readdir { descriptor }, Source::empty(), data)
            .await
    }
    async fn stat(&self, path: &[u8], follow: bool) -> Result<Stat> {
        self.path(&Request::Stat { follow }, path).await
    }
    async fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        self.path(&Request::Mkdir { mode }, path).await
    }
    async fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.path(&Request::Rmdir, path).await
    }
    async fn unlink(&self, path: &[u8]) -> Result<()> {
        self.path(&Request::Unlink, path).await
    }
    async fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.paths(
            &Request::Rename {
                first: from.len() as u32,
            },
            from,
            to,
        )
        .await
    }
    async fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.paths(
            &Request::Link {
                first: from.len() as u32,
            },
            from,
            to,
        )
        .await
    }
    async fn symlink(&self, target: &[u8], path: &[u8]) -> Result<()> {
        self.paths(
            &Request::Symlink {
                first: target.len() as u32,
            },
            target,
            path,
        )
        .await
    }
    async fn readlink(&self, path: &[u8], data: Sink<'_>) -> Result<usize> {
        check(path)?;
        self.call(&Request::Readlink, Source::local(path), data)
            .await
    }
    async fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        self.path(&Request::Chmod { mode }, path).await
    }
    async fn chown(&self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.path(&Request::Chown { uid, gid }, path).await
    }
    async fn utimes(&self, path: &[u8], accessed: SetTime, modified: SetTime) -> Result<()> {
        self.path(&Request::Utimes { accessed, modified }, path)
            .await
    }
    async fn statfs(&self) -> Result<StatFs> {
        self.plain(&Request::Statfs).await
    }
    async fn work(&self) -> Result<Work> {
        self.plain(&Request::Work).await
    }
    async fn sync(&self) -> Result<u64> {
        self.plain(&Request::Sync).await
    }
}

/// Carries out a call over `system`; returns the answer.
pub async fn serve<F: FileSystem>(
    system: &F,
    call: Call,
    send: Source<'_>,
    receive: Sink<'_>,
) -> Message {
    let request = call.1;
    let carries_data = matches!(request, Request::Write { .. });
    if !carries_data && send.len() > 2 * PATH_BYTES_MAX {
        return answer(Err::<(), _>(Error::NameTooLong));
    }
    let path = if carries_data {
        Ok(alloc::vec::Vec::new())
    } else {
        send.to_vec()
    };
    let path = match path {
        Err(error) => return answer(Err::<(), _>(error)),
        Ok(path) => path,
    };
    let two = |first: u32| path.split_at_checked(first as usize).ok_or(Error::Protocol);
    let path = &path[..];
    let serving: Serving<'_> = match request {
        Request::Format(format) => serving!(system.format(&format)),
        Request::Mount => serving!(system.mount()),
        Request::Open { flags, mode } => {
            serving!(system.open(path, OpenFlags::from_bits_truncate(flags), mode))
        }
        Request::Close { descriptor } => serving!(system.close(descriptor)),
        Request::Read { descriptor, offset } => serving!(system.read(descriptor, offset, receive)),
        Request::Write { descriptor, offset } => serving!(system.write(descriptor, offset, send)),
        Request::Seek { descriptor, to } => serving!(system.seek(descriptor, to)),
        Request::Truncate { descriptor, size } => serving!(system.truncate(descriptor, size)),
        Request::Fstat { descriptor } => serving!(system.fstat(descriptor)),
        Request::Fsync { descriptor } => serving!(system.fsync(descriptor)),
        Request::Readdir { descriptor } => serving!(system.readdir(descriptor, receive)),
        Request::Stat { follow } => serving!(system.stat(path, follow)),
        Request::Mkdir { mode } => serving!(system.mkdir(path, mode)),
        Request::Rmdir => serving!(system.rmdir(path)),
        Request::Unlink => serving!(system.unlink(path)),
        Request::Rename { first } => match two(first) {
            Ok((from, to)) => serving!(system.rename(from, to)),
            Err(error) => return answer(Err::<(), _>(error)),
        },
        Request::Link { first } => match two(first) {
            Ok((from, to)) => serving!(system.link(from, to)),
            Err(error) => return answer(Err::<(), _>(error)),
        },
        Request::Symlink { first } => match two(first) {
            Ok((target, path)) => serving!(system.symlink(target, path)),
            Err(error) => return answer(Err::<(), _>(error)),
        },
        Request::Readlink => serving!(system.readlink(path, receive)),
        Request::Chmod { mode } => serving!(system.chmod(path, mode)),
        Request::Chown { uid, gid } => serving!(system.chown(path, uid, gid)),
        Request::Utimes { accessed, modified } => serving!(system.utimes(path, accessed, modified)),
        Request::Statfs => serving!(system.statfs()),
        Request::Work => serving!(system.work()),
        Request::Sync => serving!(system.sync()),
        // Whoever may say so says it to the one who serves.
        Request::Gone { .. } => return answer(Err::<(), _>(Error::NotPermitted)),
    };
    serving.await
}
