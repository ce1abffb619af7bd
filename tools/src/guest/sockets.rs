//! The three sockets that QEMU connects to, in a temporary folder of their own.

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::machine::Paths;

const POLL: Duration = Duration::from_millis(2);

/// A write that the guest does not take within this time fails instead of waiting for ever.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Listens where QEMU will connect.
#[derive(Debug)]
pub struct Listeners {
    /// COM1.
    pub console: UnixListener,
    /// COM2.
    pub link: UnixListener,
    /// QMP.
    pub monitor: UnixListener,
}

impl Listeners {
    /// Three sockets in `folder`, and the paths of all that QEMU finds there.
    pub fn bind(folder: &Path) -> std::io::Result<(Self, Paths)> {
        let paths = Paths {
            archive: folder.join("archive.tar"),
            console: folder.join("com1"),
            link: folder.join("com2"),
            monitor: folder.join("qmp"),
        };
        let listeners = Self {
            console: listen(&paths.console)?,
            link: listen(&paths.link)?,
            monitor: listen(&paths.monitor)?,
        };
        Ok((listeners, paths))
    }
}

fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The connection that QEMU makes, or nothing once `give_up` says so.
pub fn accept(
    listener: &UnixListener,
    deadline: Instant,
    mut give_up: impl FnMut() -> bool,
) -> std::io::Result<Option<UnixStream>> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_write_timeout(Some(WRITE_LIMIT))?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline || give_up() {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}
