//! Writes an archive, member by member.

use alloc::{format, vec::Vec};

use super::{
    Kind, Member, RECORD_BYTES, TarError,
    header::{self, Record},
    pax,
};
use crate::stream::Write;

/// Archives are filled up to a multiple of this, as `tar` does by default.
const BLOCKING_BYTES: u64 = 20 * RECORD_BYTES as u64;

/// An archive that is being written.
pub struct Writer<W> {
    stream: W,
    written: u64,
    /// Data that the current member is still owed.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Writes an archive where the stream is.
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            written: 0,
            left: 0,
            padding: 0,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Begins a member; for a file, `member.size` bytes of [`Writer::data`] must follow.
    pub async fn begin(&mut self, member: &Member) -> Result<(), TarError> {
        self.end_member().await?;
        let mut path = member.path.clone();
        if member.kind == Kind::Directory {
            path.push(b'/');
        }
        let mut record: Record = [0; RECORD_BYTES];
        let mut extension = Vec::new();
        match split(&path) {
            Some((prefix, name)) => {
                header::set_text(&mut record, header::PREFIX, prefix);
                header::set_text(&mut record, header::NAME, name);
            }
            None => {
                header::set_text(&mut record, header::NAME, &path[..header::NAME.len()]);
                pax::push(&mut extension, "path", &path);
            }
        }
        let link_fits = member.link.len() <= header::LINK.len();
        let link = &member.link[..member.link.len().min(header::LINK.len())];
        header::set_text(&mut record, header::LINK, link);
        if !link_fits {
            pax::push(&mut extension, "linkpath", &member.link);
        }
        let size = if member.kind == Kind::File {
            member.size
        } else {
            0
        };
        let seconds = member.modified_ns / 1_000_000_000;
        for (field, keyword, value) in [
            (header::UID, "uid", u64::from(member.uid)),
            (header::GID, "gid", u64::from(member.gid)),
            (header::SIZE, "size", size),
            (header::MTIME, "mtime", seconds),
        ] {
            if !header::set_number(&mut record, field, value) {
                pax::push(&mut extension, keyword, format!("{value}").as_bytes());
            }
        }
        header::set_number(&mut record, header::MODE, u64::from(member.mode & 0o7777));
        record[header::TYPE] = match member.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Directory => b'5',
            Kind::Other(flag) => flag,
        };
        if !extension.is_empty() {
            self.extension(&extension).await?;
        }
        self.header(&mut record).await?;
        self.expect(size);
        Ok(())
    }

    /// Writes data of the current member; no more than it was said to have.
    pub async fn data(&mut self, data: &[u8]) -> Result<(), TarError> {
        if data.len() as u64 > self.left {
            return Err(TarError::Storage(storage::Error::BadArgument));
        }
        self.left -= data.len() as u64;
        self.put(data).await
    }

    /// Ends the archive and gives the stream back.
    pub async fn finish(mut self) -> Result<W, TarError> {
        self.end_member().await?;
        let end = self.written + 2 * RECORD_BYTES as u64;
        let mut zeros = end.next_multiple_of(BLOCKING_BYTES) - self.written;
        while zeros > 0 {
            self.put(&[0; RECORD_BYTES]).await?;
            zeros -= RECORD_BYTES as u64;
        }
        Ok(self.stream)
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = (size.next_multiple_of(RECORD_BYTES as u64) - size) as usize;
    }

    async fn end_member(&mut self) -> Result<(), TarError> {
        // What the caller still owes: the archive must stay one, so it becomes zeros.
        while self.left > 0 {
            let len = self.left.min(RECORD_BYTES as u64);
            self.put(&[0; RECORD_BYTES][..len as usize]).await?;
            self.left -= len;
        }
        let padding = core::mem::take(&mut self.padding);
        self.put(&[0; RECORD_BYTES][..padding]).await
    }

    async fn extension(&mut self, data: &[u8]) -> Result<(), TarError> {
        let mut record: Record = [0; RECORD_BYTES];
        header::set_text(&mut record, header::NAME, b"././@PaxHeader");
        record[header::TYPE] = b'x';
        for (field, value) in [
            (header::MODE, 0o644),
            (header::UID, 0),
            (header::GID, 0),
            (header::SIZE, data.len() as u64),
            (header::MTIME, 0),
        ] {
            header::set_number(&mut record, field, value);
        }
        self.header(&mut record).await?;
        self.expect(data.len() as u64);
        self.data(data).await?;
        self.end_member().await
    }

    async fn header(&mut self, record: &mut Record) -> Result<(), TarError> {
        header::set_text(record, header::MAGIC, header::POSIX_MAGIC);
        header::seal(record);
        self.put(record).await
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.stream.write(bytes).await?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// Splits a path at a slash into what fits the prefix and what fits the name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= header::NAME.len() {
        return Some((b"", path));
    }
    // The slash itself is left out, and the name must not become empty.
    let first = path.len() - header::NAME.len() - 1;
    let last = header::PREFIX.len().min(path.len() - 2);
    let slash = (first.max(1)..=last).find(|&slash| path[slash] == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_split_where_both_parts_fit() {
        let path =
            |parts: [usize; 2]| [&[b'a'; 300][..parts[0]], b"/", &[b'b'; 300][..parts[1]]].concat();
        assert_eq!(
            split(&path([155, 100])).map(|(a, b)| (a.len(), b.len())),
            Some((155, 100))
        );
        assert_eq!(
            split(&path([1, 100])).map(|(a, b)| (a.len(), b.len())),
            Some((1, 100))
        );
        assert_eq!(
            split(&path([50, 49])).map(|(a, b)| (a.len(), b.len())),
            Some((0, 100))
        );
        assert_eq!(split(&path([156, 10])), None);
        assert_eq!(split(&path([10, 101])), None);
        assert_eq!(split(&[b'a'; 101]), None);
        let directory = [&[b'a'; 150][..], b"/"].concat();
        assert_eq!(split(&directory), None, "no empty name");
    }
}
