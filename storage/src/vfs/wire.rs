//! VFS calls as messages. Paths travel in the memory lent to send; of two, the first one's length
//! is in the message.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Descriptor, FileSystem, OpenFlags, PATH_BYTES_MAX, SeekFrom, SetTime, Stat, StatFs};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    file::{VolumeFormat, Work},
    transport::{Message, Serving, Transport, answer, ask, decode, serving},
};

#[derive(Debug, Serialize, Deserialize)]
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
}

/// A [`FileSystem`] behind a transport.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    async fn plain<Reply: DeserializeOwned>(&self, request: &Request) -> Result<Reply> {
        ask(&self.0, request, Source::empty(), Sink::empty()).await
    }

    async fn path<Reply: DeserializeOwned>(&self, request: &Request, path: &[u8]) -> Result<Reply> {
        check(path)?;
        ask(&self.0, request, Source::local(path), Sink::empty()).await
    }

    async fn paths(&self, request: &Request, first: &[u8], second: &[u8]) -> Result<()> {
        check(first)?;
        check(second)?;
        let mut send = Source::local(first);
        send.push_local(second);
        ask(&self.0, request, send, Sink::empty()).await
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
        self.path(
            &Request::Open {
                flags: flags.bits(),
                mode,
            },
            path,
        )
        .await
    }
    async fn close(&self, descriptor: Descriptor) -> Result<()> {
        self.plain(&Request::Close { descriptor }).await
    }
    async fn read(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Sink<'_>,
    ) -> Result<usize> {
        ask(
            &self.0,
            &Request::Read { descriptor, offset },
            Source::empty(),
            data,
        )
        .await
    }
    async fn write(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<usize> {
        ask(
            &self.0,
            &Request::Write { descriptor, offset },
            data,
            Sink::empty(),
        )
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
        ask(
            &self.0,
            &Request::Readdir { descriptor },
            Source::empty(),
            data,
        )
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
        ask(&self.0, &Request::Readlink, Source::local(path), data).await
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

/// Serves one request over `system`.
pub async fn serve<F: FileSystem>(
    system: &F,
    request: &[u8],
    send: Source<'_>,
    receive: Sink<'_>,
) -> Message {
    let request = match decode(request) {
        Err(error) => return answer(Err::<(), _>(error)),
        Ok(request) => request,
    };
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
    };
    serving.await
}
