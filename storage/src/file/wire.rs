//! File calls as messages: the client ends, and the server ends.
//!
//! A write's checksums travel behind its data in the memory lent to send, eight bytes each.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Attachment, AttributeChange, Attributes, Checkpoint, FileNumber, FileService, FileStore,
    Resume, ResyncRange, StoreFormat, StoreInfo, Timestamp, Usage, VolumeFormat, Work, Write,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::{Sink, Source},
    checksum::Checksum,
    transport::{Message, Serving, Transport, answer, ask, decode, encode, serving},
};

/// What is the same above and below the logical layer.
#[derive(Debug, Serialize, Deserialize)]
enum FileRequest {
    Delete {
        file: FileNumber,
    },
    Read {
        file: FileNumber,
        offset: u64,
    },
    Write {
        file: FileNumber,
        offset: u64,
        checksums: u32,
        size: u64,
        modified_ns: u64,
    },
    Truncate {
        file: FileNumber,
        size: u64,
        modified_ns: u64,
    },
    Getattr {
        file: FileNumber,
    },
    Setattr {
        file: FileNumber,
        change: AttributeChange,
    },
    Usage,
}

#[derive(Debug, Serialize, Deserialize)]
enum ServiceRequest {
    Attach,
    Format(VolumeFormat),
    Create {
        file: FileNumber,
        attributes: Attributes,
    },
    File(FileRequest),
    Sync,
    EarlySyncWanted,
    Work,
    History,
    Numbers {
        first: FileNumber,
    },
    Resume(Resume),
    Prewrite {
        file: FileNumber,
        offset: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum StoreRequest {
    Format(StoreFormat),
    Info,
    Load(Timestamp),
    ResyncRanges { skip: u64 },
    Prewrite { file: FileNumber, offset: u64 },
    Create { attributes: Attributes },
    File(FileRequest),
    Sync(Checkpoint),
    Finish(Timestamp),
}

fn checksums_to_bytes(checksums: &[Checksum]) -> Vec<u8> {
    checksums
        .iter()
        .flat_map(|checksum| checksum.0.to_le_bytes())
        .collect()
}

fn checksums_from(bytes: &Source<'_>) -> Result<Vec<Checksum>> {
    let bytes = bytes.to_vec()?;
    let (whole, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Error::Protocol);
    }
    Ok(whole
        .iter()
        .map(|&chunk| Checksum(u64::from_le_bytes(chunk)))
        .collect())
}

/// Sends a write: its data, then its checksums.
async fn ask_write<T: Transport, Request: Serialize, Reply: DeserializeOwned>(
    transport: &T,
    write: Write<'_>,
    wrap: impl FnOnce(FileRequest) -> Request,
) -> Result<Reply> {
    let request = wrap(FileRequest::Write {
        file: write.file,
        offset: write.offset,
        checksums: write.checksums.len() as u32,
        size: write.size,
        modified_ns: write.modified_ns,
    });
    let tail = checksums_to_bytes(write.checksums);
    let mut send = write.data;
    send.push_local(&tail);
    ask(transport, &request, send, Sink::empty()).await
}

/// Takes a write apart again: how long the data are, and the checksums behind them.
fn split_write(send: &Source<'_>, checksums: u32) -> Result<(usize, Vec<Checksum>)> {
    let tail = (checksums as usize).checked_mul(8).ok_or(Error::Protocol)?;
    let data = send.len().checked_sub(tail).ok_or(Error::Protocol)?;
    if checksums != 0 && data.div_ceil(BLOCK_BYTES) != checksums as usize {
        return Err(Error::Protocol);
    }
    Ok((data, checksums_from(&send.slice(data, tail))?))
}

/// A [`FileService`] behind a transport. It reports [`Error::PeerDied`] as it is: what to do about
/// it is the cache's business, which alone knows what that has undone.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    async fn plain<Reply: DeserializeOwned>(&self, request: &ServiceRequest) -> Result<Reply> {
        ask(&self.0, request, Source::empty(), Sink::empty()).await
    }
}

impl<T: Transport> FileService for Client<T> {
    async fn attach(&self) -> Result<Attachment> {
        self.plain(&ServiceRequest::Attach).await
    }
    async fn resume(&self, from: &Resume) -> Result<Attachment> {
        self.plain(&ServiceRequest::Resume(*from)).await
    }
    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        self.plain(&ServiceRequest::Format(*format)).await
    }
    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        self.plain(&ServiceRequest::Create {
            file,
            attributes: *attributes,
        })
        .await
    }
    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.plain(&ServiceRequest::File(FileRequest::Delete { file }))
            .await
    }
    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        let request = ServiceRequest::File(FileRequest::Read { file, offset });
        ask(&self.0, &request, Source::empty(), data).await
    }
    async fn write(&self, write: Write<'_>) -> Result<usize> {
        ask_write(&self.0, write, ServiceRequest::File).await
    }
    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.plain(&ServiceRequest::File(FileRequest::Truncate {
            file,
            size,
            modified_ns,
        }))
        .await
    }
    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.plain(&ServiceRequest::File(FileRequest::Getattr { file }))
            .await
    }
    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.plain(&ServiceRequest::File(FileRequest::Setattr {
            file,
            change: *change,
        }))
        .await
    }
    async fn sync(&self) -> Result<Timestamp> {
        self.plain(&ServiceRequest::Sync).await
    }
    async fn early_sync_wanted(&self) -> Result<()> {
        self.plain(&ServiceRequest::EarlySyncWanted).await
    }
    async fn prewrite(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> Result<bool> {
        let bytes = checksums_to_bytes(checksums);
        let request = ServiceRequest::Prewrite { file, offset };
        ask(&self.0, &request, Source::local(&bytes), Sink::empty()).await
    }
    async fn usage(&self) -> Result<Usage> {
        self.plain(&ServiceRequest::File(FileRequest::Usage)).await
    }
    async fn history(&self) -> Result<u64> {
        self.plain(&ServiceRequest::History).await
    }
    async fn work(&self) -> Result<Work> {
        self.plain(&ServiceRequest::Work).await
    }
    async fn numbers(&self, first: FileNumber, bitmap: Sink<'_>) -> Result<usize> {
        ask(
            &self.0,
            &ServiceRequest::Numbers { first },
            Source::empty(),
            bitmap,
        )
        .await
    }
}

/// Whether a request is one that is made to stay pending ([`FileService::early_sync_wanted`]).
#[must_use]
pub fn stays_pending(request: &[u8]) -> bool {
    encode(&ServiceRequest::EarlySyncWanted).is_ok_and(|pending| pending == request)
}

/// A [`FileStore`] behind a transport. It reports [`Error::PeerDied`] as it is: the logical layer
/// then ends itself, and all of them start again from the last checkpoint.
pub struct StoreClient<T>(pub T);

impl<T: Transport> StoreClient<T> {
    async fn plain<Reply: DeserializeOwned>(&self, request: &StoreRequest) -> Result<Reply> {
        ask(&self.0, request, Source::empty(), Sink::empty()).await
    }
}

impl<T: Transport> FileStore for StoreClient<T> {
    async fn format(&self, format: &StoreFormat) -> Result<()> {
        self.plain(&StoreRequest::Format(*format)).await
    }
    async fn info(&self) -> Result<StoreInfo> {
        self.plain(&StoreRequest::Info).await
    }
    async fn load(&self, checkpoint: Timestamp) -> Result<()> {
        self.plain(&StoreRequest::Load(checkpoint)).await
    }
    async fn resync_ranges(&self, skip: u64) -> Result<heapless::Vec<ResyncRange, 4>> {
        self.plain(&StoreRequest::ResyncRanges { skip }).await
    }
    async fn prewrite(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> Result<bool> {
        let bytes = checksums_to_bytes(checksums);
        let request = StoreRequest::Prewrite { file, offset };
        ask(&self.0, &request, Source::local(&bytes), Sink::empty()).await
    }
    async fn create(&self, attributes: &Attributes) -> Result<FileNumber> {
        self.plain(&StoreRequest::Create {
            attributes: *attributes,
        })
        .await
    }
    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.plain(&StoreRequest::File(FileRequest::Delete { file }))
            .await
    }
    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        let request = StoreRequest::File(FileRequest::Read { file, offset });
        ask(&self.0, &request, Source::empty(), data).await
    }
    async fn write(&self, write: Write<'_>) -> Result<()> {
        ask_write(&self.0, write, StoreRequest::File).await
    }
    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.plain(&StoreRequest::File(FileRequest::Truncate {
            file,
            size,
            modified_ns,
        }))
        .await
    }
    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.plain(&StoreRequest::File(FileRequest::Getattr { file }))
            .await
    }
    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.plain(&StoreRequest::File(FileRequest::Setattr {
            file,
            change: *change,
        }))
        .await
    }
    async fn sync(&self, checkpoint: Checkpoint) -> Result<()> {
        self.plain(&StoreRequest::Sync(checkpoint)).await
    }
    async fn finish(&self, checkpoint: Timestamp) -> Result<()> {
        self.plain(&StoreRequest::Finish(checkpoint)).await
    }
    async fn usage(&self) -> Result<Usage> {
        self.plain(&StoreRequest::File(FileRequest::Usage)).await
    }
}

/// Serves the calls that mean the same on both sides of the logical layer.
macro_rules! serve_file {
    ($target:expr, $request:expr, $send:expr, $receive:expr) => {
        match $request {
            FileRequest::Delete { file } => serving!($target.delete(file)),
            FileRequest::Read { file, offset } => serving!($target.read(file, offset, $receive)),
            FileRequest::Write {
                file,
                offset,
                checksums,
                size,
                modified_ns,
            } => match split_write(&$send, checksums) {
                Err(error) => return answer(Err::<(), _>(error)),
                Ok((data, checksums)) => serving!($target.write(Write {
                    file,
                    offset,
                    data: $send.slice(0, data),
                    checksums: &checksums,
                    size,
                    modified_ns,
                })),
            },
            FileRequest::Truncate {
                file,
                size,
                modified_ns,
            } => serving!($target.truncate(file, size, modified_ns)),
            FileRequest::Getattr { file } => serving!($target.getattr(file)),
            FileRequest::Setattr { file, change } => serving!($target.setattr(file, &change)),
            FileRequest::Usage => serving!($target.usage()),
        }
    };
}

/// Serves one request over a file service.
pub async fn serve<S: FileService>(
    service: &S,
    request: &[u8],
    send: Source<'_>,
    receive: Sink<'_>,
) -> Message {
    let serving: Serving<'_> = match decode(request) {
        Err(error) => return answer(Err::<(), _>(error)),
        Ok(ServiceRequest::Attach) => serving!(service.attach()),
        Ok(ServiceRequest::Prewrite { file, offset }) => match checksums_from(&send) {
            Err(error) => return answer(Err::<(), _>(error)),
            Ok(checksums) => serving!(service.prewrite(file, offset, &checksums)),
        },
        Ok(ServiceRequest::Resume(from)) => serving!(service.resume(&from)),
        Ok(ServiceRequest::Format(format)) => serving!(service.format(&format)),
        Ok(ServiceRequest::Create { file, attributes }) => {
            serving!(service.create(file, &attributes))
        }
        Ok(ServiceRequest::File(request)) => serve_file!(service, request, send, receive),
        Ok(ServiceRequest::Sync) => serving!(service.sync()),
        Ok(ServiceRequest::EarlySyncWanted) => serving!(service.early_sync_wanted()),
        Ok(ServiceRequest::Work) => serving!(service.work()),
        Ok(ServiceRequest::History) => serving!(service.history()),
        Ok(ServiceRequest::Numbers { first }) => serving!(service.numbers(first, receive)),
    };
    serving.await
}

/// Serves one request over a file store.
pub async fn serve_store<S: FileStore>(
    store: &S,
    request: &[u8],
    send: Source<'_>,
    receive: Sink<'_>,
) -> Message {
    let serving: Serving<'_> = match decode(request) {
        Err(error) => return answer(Err::<(), _>(error)),
        Ok(StoreRequest::Format(format)) => serving!(store.format(&format)),
        Ok(StoreRequest::Info) => serving!(store.info()),
        Ok(StoreRequest::Load(checkpoint)) => serving!(store.load(checkpoint)),
        Ok(StoreRequest::ResyncRanges { skip }) => serving!(store.resync_ranges(skip)),
        Ok(StoreRequest::Prewrite { file, offset }) => match checksums_from(&send) {
            Err(error) => return answer(Err::<(), _>(error)),
            Ok(checksums) => serving!(store.prewrite(file, offset, &checksums)),
        },
        Ok(StoreRequest::Create { attributes }) => serving!(store.create(&attributes)),
        Ok(StoreRequest::File(request)) => serve_file!(store, request, send, receive),
        Ok(StoreRequest::Sync(checkpoint)) => serving!(store.sync(checkpoint)),
        Ok(StoreRequest::Finish(checkpoint)) => serving!(store.finish(checkpoint)),
    };
    serving.await
}
