//! How a call gets from a client end to a server end that is somewhere else.
//!
//! Each interface (`block`, `file`, `vfs`) is defined once: a trait, and a request and a reply type
//! that say the same as messages. `Client<T>` implements the trait over any [`Transport`]; `serve`
//! decodes a request, calls the trait, and encodes the reply. In the guest the transport is the
//! kernel's calls; in tests it is a function call.

use alloc::boxed::Box;
use core::pin::Pin;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, Result,
    buffer::{Sink, Source},
};

/// Bytes that an encoded request or reply may have.
pub const MESSAGE_BYTES: usize = 120;

/// An encoded request or reply.
pub type Message = heapless::Vec<u8, MESSAGE_BYTES>;

/// Carries one call to a server end and its reply back.
pub trait Transport {
    /// Sends `request`, lends `send` to be read and `receive` to be written until the reply.
    ///
    /// Errors: [`Error::PeerDied`], [`Error::PeerGone`], [`Error::PeerBusy`].
    fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> impl Future<Output = Result<Message>>;
}

/// Encodes a request or a reply. Every type of ours fits; [`Error::Protocol`] if one does not.
pub fn encode<T: Serialize>(value: &T) -> Result<Message> {
    let mut bytes = [0; MESSAGE_BYTES];
    let used = postcard::to_slice(value, &mut bytes).map_err(|_| Error::Protocol)?;
    Message::from_slice(used).map_err(|_| Error::Protocol)
}

/// Decodes a request or a reply; [`Error::Protocol`] if it is none.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|_| Error::Protocol)
}

/// Encodes `request`, calls, and decodes the reply.
pub async fn ask<T: Transport, Request: Serialize, Reply: DeserializeOwned>(
    transport: &T,
    request: &Request,
    send: Source<'_>,
    receive: Sink<'_>,
) -> Result<Reply> {
    let reply = transport.call(&encode(request)?, send, receive).await?;
    decode::<Result<Reply>>(&reply)?
}

/// A call being served; it gives the encoded reply.
///
/// Each kind of call is a future of its own in a box. The rarest calls have the largest futures, and
/// every request would carry the room for them otherwise; and what polls them is one small function
/// instead of one that has all of them in it.
pub type Serving<'a> = Pin<Box<dyn Future<Output = Message> + 'a>>;

/// Begins to serve a call: `serving!(server.call(argument))` is a [`Serving`].
macro_rules! serving {
    ($call:expr) => {
        alloc::boxed::Box::pin(async move { crate::transport::answer($call.await) })
    };
}
pub(crate) use serving;

/// Encodes the result of serving a request.
#[must_use]
pub fn answer<Reply: Serialize>(result: Result<Reply>) -> Message {
    encode(&result).unwrap_or_else(|_| {
        encode(&Err::<(), _>(Error::Protocol)).expect("an error code fits a message")
    })
}
