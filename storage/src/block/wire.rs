//! Block calls as messages: the client end, and the server end.

use serde::{Deserialize, Serialize};

use super::{BlockDevice, Geometry};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    transport::{Message, Serving, Transport, answer, ask, decode, serving},
};

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Attach,
    Read { sector: u64 },
    Write { sector: u64 },
    Flush,
    Discard { sector: u64, sectors: u64 },
    WriteZeroes { sector: u64, sectors: u64 },
}

/// Times a call is issued again because its server died. A driver that dies on every call must not
/// keep its client for ever.
const REISSUES_MAX: u32 = 64;

/// A block device behind a transport.
///
/// Block calls are idempotent, so when the driver dies the client issues what was pending again, to
/// the next instance; its own callers see a delay.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    async fn ask<Reply: serde::de::DeserializeOwned>(
        &self,
        request: &Request,
        send: Source<'_>,
        mut receive: Sink<'_>,
    ) -> Result<Reply> {
        for _ in 0..REISSUES_MAX {
            match ask(&self.0, request, send.clone(), receive.reborrow()).await {
                Err(Error::PeerDied) => {}
                result => return result,
            }
        }
        Err(Error::Device)
    }
}

impl<T: Transport> BlockDevice for Client<T> {
    async fn attach(&self) -> Result<Geometry> {
        self.ask(&Request::Attach, Source::empty(), Sink::empty())
            .await
    }
    async fn read(&self, sector: u64, data: Sink<'_>) -> Result<()> {
        self.ask(&Request::Read { sector }, Source::empty(), data)
            .await
    }
    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.ask(&Request::Write { sector }, data, Sink::empty())
            .await
    }
    async fn flush(&self) -> Result<()> {
        self.ask(&Request::Flush, Source::empty(), Sink::empty())
            .await
    }
    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.ask(
            &Request::Discard { sector, sectors },
            Source::empty(),
            Sink::empty(),
        )
        .await
    }
    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.ask(
            &Request::WriteZeroes { sector, sectors },
            Source::empty(),
            Sink::empty(),
        )
        .await
    }
}

/// Serves one request over `device`.
pub async fn serve<D: BlockDevice>(
    device: &D,
    request: &[u8],
    send: Source<'_>,
    receive: Sink<'_>,
) -> Message {
    let serving: Serving<'_> = match decode(request) {
        Err(error) => return answer(Err::<(), _>(error)),
        Ok(Request::Attach) => serving!(device.attach()),
        Ok(Request::Read { sector }) => serving!(device.read(sector, receive)),
        Ok(Request::Write { sector }) => serving!(device.write(sector, send)),
        Ok(Request::Flush) => serving!(device.flush()),
        Ok(Request::Discard { sector, sectors }) => serving!(device.discard(sector, sectors)),
        Ok(Request::WriteZeroes { sector, sectors }) => {
            serving!(device.write_zeroes(sector, sectors))
        }
    };
    serving.await
}
