//! A disk that is a file: what the guest sees as a virtio or AHCI disk, for host programs.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::FallocateFlags;
use storage::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Sink, SinkSegment, Source, SourceSegment},
};

/// Most bytes in one request, as with a real disk.
const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// An image file, or a block device of the host, as a [`BlockDevice`].
///
/// Reads and writes are `pread` and `pwrite`; a flush is `fdatasync`, so that what a flush promises
/// is as good as the host's disk. The file is locked for as long as it is open, so that two
/// programs, or a program and itself, cannot write one volume at a time. Calls block.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    path: PathBuf,
    geometry: Geometry,
}

impl ImageFile {
    /// Opens an image to read and write.
    ///
    /// Errors: those of opening it; [`io::ErrorKind::ResourceBusy`] if it is in use;
    /// [`io::ErrorKind::InvalidData`] if it is shorter than a sector.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Self::begin(file, path.as_ref(), false)
    }

    /// Opens an image to read only; others may read it at the same time.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).open(&path)?;
        Self::begin(file, path.as_ref(), true)
    }

    /// Creates a sparse image of `bytes`, rounded up to whole sectors, where there is no file yet.
    pub fn create(path: impl AsRef<Path>, bytes: u64) -> io::Result<Self> {
        let bytes = bytes
            .checked_next_multiple_of(SECTOR_BYTES as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.set_len(bytes)?;
        Self::begin(file, path.as_ref(), false)
    }

    fn begin(mut file: File, path: &Path, read_only: bool) -> io::Result<Self> {
        let locked = if read_only {
            file.try_lock_shared()
        } else {
            file.try_lock()
        };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => {
                let text = format!("{} is in use by another program", path.display());
                io::Error::new(io::ErrorKind::ResourceBusy, text)
            }
            TryLockError::Error(error) => error,
        })?;
        // Also right for a block device, whose metadata tell no length.
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR_BYTES as u64;
        if sectors == 0 {
            let text = format!("{} is shorter than a sector", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let geometry = Geometry {
            sectors,
            alignment_sectors: 1,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            read_only,
            flush: true,
            discard: !read_only,
            write_zeroes: !read_only,
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            geometry,
        })
    }

    /// Where the image is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The byte at which a request of so many bytes begins, if it is a good one.
    fn place(&self, sector: u64, bytes: u64) -> Result<u64> {
        let unit = SECTOR_BYTES as u64;
        let end = sector.checked_add(bytes / unit);
        let fits = end.is_some_and(|end| end <= self.geometry.sectors);
        if bytes == 0 || !bytes.is_multiple_of(unit) || !fits {
            return Err(Error::BadArgument);
        }
        Ok(sector * unit)
    }

    fn writable(&self) -> Result<()> {
        if self.geometry.read_only {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    fn failed(&self, what: &str, error: impl std::fmt::Display) -> Error {
        log::error!("{}: {what}: {error}", self.path.display());
        Error::Device
    }

    /// Gives back or clears a range, by the host's means, or else by writing zeros.
    fn clear(&self, sector: u64, sectors: u64, flags: FallocateFlags) -> Result<()> {
        self.writable()?;
        let unit = SECTOR_BYTES as u64;
        let bytes = sectors.checked_mul(unit).ok_or(Error::BadArgument)?;
        let mut at = self.place(sector, bytes)?;
        let flags = flags | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&self.file, flags, at, bytes).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; TRANSFER_BYTES_MAX as usize];
        let end = at + bytes;
        while at < end {
            let step = (end - at).min(zeros.len() as u64);
            let written = self.file.write_all_at(&zeros[..step as usize], at);
            written.map_err(|error| self.failed("write zeros", error))?;
            at += step;
        }
        Ok(())
    }
}

impl BlockDevice for ImageFile {
    async fn attach(&self) -> Result<Geometry> {
        Ok(self.geometry)
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let mut at = self.place(sector, data.len() as u64)?;
        if data.len() > TRANSFER_BYTES_MAX as usize {
            return Err(Error::BadArgument);
        }
        let read = |bytes: &mut [u8], at| {
            self.file
                .read_exact_at(bytes, at)
                .map_err(|error| self.failed("read", error))
        };
        for segment in data.segments_mut() {
            match segment {
                SinkSegment::Local(bytes) => {
                    read(bytes, at)?;
                    at += bytes.len() as u64;
                }
                SinkSegment::Lent(lent) => {
                    let mut bytes = vec![0; lent.len];
                    read(&mut bytes, at)?;
                    lent.memory.copy_to(lent.offset, &bytes)?;
                    at += lent.len as u64;
                }
            }
        }
        Ok(())
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.writable()?;
        let mut at = self.place(sector, data.len() as u64)?;
        if data.len() > TRANSFER_BYTES_MAX as usize {
            return Err(Error::BadArgument);
        }
        let write = |bytes: &[u8], at| {
            self.file
                .write_all_at(bytes, at)
                .map_err(|error| self.failed("write", error))
        };
        for segment in data.segments() {
            match segment {
                SourceSegment::Local(bytes) => {
                    write(bytes, at)?;
                    at += bytes.len() as u64;
                }
                SourceSegment::Lent(lent) => {
                    let mut bytes = vec![0; lent.len];
                    lent.memory.copy_from(lent.side, lent.offset, &mut bytes)?;
                    write(&bytes, at)?;
                    at += lent.len as u64;
                }
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|error| self.failed("flush", error))
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.clear(sector, sectors, FallocateFlags::PUNCH_HOLE)
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.clear(sector, sectors, FallocateFlags::ZERO_RANGE)
    }
}
