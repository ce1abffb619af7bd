//! Reads an archive, member by member.

use alloc::{vec, vec::Vec};

use storage::{Error, vfs::PATH_BYTES_MAX};

use super::{
    Kind, Member, RECORD_BYTES, TarError,
    header::{self, Record},
    pax::Extension,
};
use crate::stream::Read;

/// Most bytes of an extended header: room for two paths and much else.
const EXTENSION_BYTES_MAX: u64 = 32 << 10;
/// Headers of headers before a member. Each member has at most a few.
const EXTENSIONS_MAX: u32 = 16;

/// An archive that is being read.
pub struct Reader<R> {
    stream: R,
    /// Records read.
    record: u64,
    /// Record of the current member's header.
    member: u64,
    /// Data of the current member that have not been read.
    left: u64,
    /// Zeros after them, up to the end of the record.
    padding: usize,
}

fn padding(size: u64) -> usize {
    (RECORD_BYTES - (size % RECORD_BYTES as u64) as usize) % RECORD_BYTES
}

impl<R: Read> Reader<R> {
    /// Reads the archive that begins where the stream is.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            record: 0,
            member: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next member; nothing at the end. What was not read of the current one is passed over.
    pub async fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut extension = Extension::default();
        for _ in 0..EXTENSIONS_MAX {
            self.pass_over().await?;
            let Some(header) = self.header().await? else {
                return Ok(None);
            };
            let bad_number = TarError::BadNumber(self.member);
            let own_size = header::number(&header, header::SIZE).ok_or(bad_number)?;
            match header[header::TYPE] {
                b'x' => {
                    let data = self.extension(own_size, EXTENSION_BYTES_MAX).await?;
                    let malformed = TarError::BadExtension(self.member);
                    extension.parse(&data).ok_or(malformed)?;
                }
                b'L' => extension.path = Some(self.long_name(own_size).await?),
                b'K' => extension.link = Some(self.long_name(own_size).await?),
                // Defaults for all members, in practice the comment of `git archive`.
                b'g' => self.expect_data(own_size),
                _ => return self.make(&header, own_size, extension).map(Some),
            }
        }
        Err(TarError::BadExtension(self.member))
    }

    /// Reads data of the current member; returns how many bytes, zero at its end.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, TarError> {
        let len = (into.len() as u64).min(self.left) as usize;
        if len == 0 {
            return Ok(0);
        }
        match self.stream.read(&mut into[..len]).await?.min(len) {
            0 => Err(TarError::Truncated(self.member)),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }

    fn expect_data(&mut self, size: u64) {
        self.left = size;
        self.padding = padding(size);
        self.record = self
            .record
            .saturating_add(size.div_ceil(RECORD_BYTES as u64));
    }

    async fn pass_over(&mut self) -> Result<(), TarError> {
        let mut scrap = [0; 4 * RECORD_BYTES];
        while self.read(&mut scrap).await? > 0 {}
        let padding = core::mem::take(&mut self.padding);
        if self.fill(&mut scrap[..padding]).await? < padding {
            return Err(TarError::Truncated(self.member));
        }
        Ok(())
    }

    /// Fills `into`, unless the stream ends before; returns how many bytes.
    async fn fill(&mut self, into: &mut [u8]) -> Result<usize, TarError> {
        let mut done = 0;
        while done < into.len() {
            match self.stream.read(&mut into[done..]).await? {
                0 => break,
                len => done += len.min(into.len() - done),
            }
        }
        Ok(done)
    }

    /// The next header; nothing at a record of zeros or at the end of the stream.
    async fn header(&mut self) -> Result<Option<Record>, TarError> {
        let mut record = [0; RECORD_BYTES];
        let len = self.fill(&mut record).await?;
        self.member = self.record;
        self.record += 1;
        if len == 0 || record.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if len < RECORD_BYTES {
            return Err(TarError::Truncated(self.member));
        }
        if !header::is_header(&record) {
            return Err(TarError::NotAHeader(self.member));
        }
        Ok(Some(record))
    }

    async fn extension(&mut self, size: u64, max: u64) -> Result<Vec<u8>, TarError> {
        if size > max {
            return Err(TarError::TooLong(self.member));
        }
        self.expect_data(size);
        let mut data = vec![0; size as usize];
        let mut done = 0;
        while done < data.len() {
            done += self.read(&mut data[done..]).await?;
        }
        Ok(data)
    }

    async fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(size, PATH_BYTES_MAX as u64 + 1).await?;
        let len = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        name.truncate(len);
        Ok(name)
    }

    fn make(
        &mut self,
        header: &Record,
        own_size: u64,
        extension: Extension,
    ) -> Result<Member, TarError> {
        let bad_number = TarError::BadNumber(self.member);
        let number = |field| header::number(header, field).ok_or(bad_number);
        let mut path = extension.path.unwrap_or_else(|| own_path(header));
        let link = match extension.link {
            Some(link) => link,
            None => header::text(header, header::LINK).to_vec(),
        };
        if path.len() > PATH_BYTES_MAX || link.len() > PATH_BYTES_MAX {
            return Err(TarError::TooLong(self.member));
        }
        let kind = match header[header::TYPE] {
            // V7 has no type for directories: their names end with a slash.
            b'0' | b'7' | 0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            other => Kind::Other(other),
        };
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        // A hard link has no data, whatever its header says.
        let size = extension.size.unwrap_or(own_size);
        let size = if kind == Kind::HardLink { 0 } else { size };
        let modified_ns = match extension.modified_ns {
            Some(ns) => ns,
            None => number(header::MTIME)?
                .checked_mul(1_000_000_000)
                .ok_or(bad_number)?,
        };
        let id = |value: u64| u32::try_from(value).map_err(|_| bad_number);
        let uid = extension.uid.map_or_else(|| number(header::UID), Ok)?;
        let gid = extension.gid.map_or_else(|| number(header::GID), Ok)?;
        let member = Member {
            path,
            kind,
            link,
            mode: (number(header::MODE)? & 0o7777) as u32,
            uid: id(uid)?,
            gid: id(gid)?,
            size,
            modified_ns,
        };
        if size > i64::MAX as u64 {
            return Err(TarError::Storage(Error::TooBig));
        }
        self.expect_data(size);
        Ok(member)
    }
}

fn own_path(header: &Record) -> Vec<u8> {
    let mut path = Vec::new();
    if header[header::MAGIC] == *header::POSIX_MAGIC {
        let prefix = header::text(header, header::PREFIX);
        if !prefix.is_empty() {
            path.extend_from_slice(prefix);
            path.push(b'/');
        }
    }
    path.extend_from_slice(header::text(header, header::NAME));
    path
}
