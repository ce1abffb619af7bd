//! The operations on single files: written from, and checked against, their defined contents.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write as _;

use storage::{
    Error, Result,
    buffer::{Sink, Source},
    vfs::{Descriptor, FileSystem, OpenFlags},
};

use super::{content::Content, parameters::Parameters, report::Errors, table::File};

/// What is wrong with the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The byte at this offset.
    Byte(u64),
    /// It ends here, before it should.
    Short(u64),
    /// Its length is this, not what it should be.
    Length(u64),
}

impl Wrong {
    pub(super) fn describe(self, path: &str) -> String {
        match self {
            Self::Byte(offset) => format!("{path}: wrong byte at {offset}"),
            Self::Short(offset) => format!("{path}: ends early, at {offset}"),
            Self::Length(len) => format!("{path}: wrong length {len}"),
        }
    }
}

/// Why a step went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Failed(Error),
    Wrong(Wrong),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The operations on single files.
pub(super) struct Files<'a, F> {
    pub(super) system: &'a F,
    parameters: &'a Parameters,
    buffer: Vec<u8>,
}

impl<'a, F: FileSystem> Files<'a, F> {
    pub(super) fn new(system: &'a F, parameters: &'a Parameters) -> Self {
        let len = parameters.read_call().max(parameters.write_call());
        Self {
            system,
            parameters,
            buffer: vec![0; len as usize],
        }
    }

    /// `LOCATION/sSUBDIRECTORY/NUMBER`, or without the subdirectory where there are none.
    pub(super) fn path(&self, file: File) -> String {
        let mut path = String::with_capacity(self.parameters.location.len() + 20);
        path.push_str(&self.parameters.location);
        if self.parameters.subdirectories > 1 {
            let _ = write!(path, "/s{}", file.subdirectory);
        }
        let _ = write!(path, "/{}", file.number);
        path
    }

    pub(super) async fn create(&mut self, file: File) -> core::result::Result<(), Fault> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        self.write(file, flags, 0, file.size).await
    }

    pub(super) async fn append(&mut self, file: File, len: u32) -> core::result::Result<(), Fault> {
        self.write(file, OpenFlags::WRITE | OpenFlags::APPEND, file.size, len)
            .await
    }

    pub(super) async fn delete(&mut self, file: File) -> core::result::Result<(), Fault> {
        Ok(self.system.unlink(self.path(file).as_bytes()).await?)
    }

    async fn write(
        &mut self,
        file: File,
        flags: OpenFlags,
        offset: u32,
        len: u32,
    ) -> core::result::Result<(), Fault> {
        let path = self.path(file);
        let descriptor = self.system.open(path.as_bytes(), flags, 0o644).await?;
        let result = self.write_blocks(descriptor, file, offset, len).await;
        let closed = self.system.close(descriptor).await;
        result?;
        Ok(closed?)
    }

    async fn write_blocks(
        &mut self,
        descriptor: Descriptor,
        file: File,
        offset: u32,
        len: u32,
    ) -> Result<()> {
        let content = Content::new(self.parameters.seed, file.number);
        let mut done = 0;
        while done < len {
            let step = self.parameters.write_call().min(len - done) as usize;
            let block = &mut self.buffer[..step];
            content.fill(u64::from(offset) + u64::from(done), block);
            let mut written = 0;
            while written < step {
                let rest = Source::local(&block[written..]);
                match self.system.write(descriptor, None, rest).await? {
                    0 => return Err(Error::NoSpace),
                    count => written += count.min(step - written),
                }
            }
            done += step as u32;
        }
        Ok(())
    }

    /// Reads all of a file and compares it.
    pub(super) async fn read(&mut self, file: File) -> core::result::Result<(), Fault> {
        let path = self.path(file);
        self.read_path(&path, file).await
    }

    /// Reads all of a file, which has this path, and compares it.
    pub(super) async fn read_path(
        &mut self,
        path: &str,
        file: File,
    ) -> core::result::Result<(), Fault> {
        let descriptor = self
            .system
            .open(path.as_bytes(), OpenFlags::READ, 0)
            .await?;
        let result = self.read_blocks(descriptor, file).await;
        let closed = self.system.close(descriptor).await;
        result?;
        Ok(closed?)
    }

    async fn read_blocks(
        &mut self,
        descriptor: Descriptor,
        file: File,
    ) -> core::result::Result<(), Fault> {
        let content = Content::new(self.parameters.seed, file.number);
        let mut done = 0;
        while done < file.size {
            let step = self.parameters.read_call().min(file.size - done) as usize;
            let block = &mut self.buffer[..step];
            let count = self
                .system
                .read(descriptor, None, Sink::local(block))
                .await?
                .min(step);
            if count == 0 {
                return Err(Fault::Wrong(Wrong::Short(u64::from(done))));
            }
            if let Some(offset) = content.mismatch(u64::from(done), &block[..count]) {
                return Err(Fault::Wrong(Wrong::Byte(offset)));
            }
            done += count as u32;
        }
        Ok(())
    }
}

impl Errors {
    pub(super) fn add_fault(&mut self, what: &str, path: &str, fault: Fault) {
        self.add(|| match fault {
            Fault::Failed(error) => format!("{what} {path}: {error}"),
            Fault::Wrong(wrong) => wrong.describe(path),
        });
    }
}
