//! Calls as messages, each carried out once however often it comes.

use super::{CallKey, Naming, client::Client, descriptors::ClientId};
use crate::{
    Result,
    buffer::{Sink, Source},
    clock::Clock,
    file::FileService,
    transport::{Message, answer, decode},
    vfs::{self, Descriptor, FileSystem as _},
};

impl<F: FileService, C: Clock> Naming<F, C> {
    /// Serves a call of a client: gives the answer to `reply`, and then does what the call has left to do,
    /// such as deleting a file without a name.
    ///
    /// A call that an earlier instance has carried out is not carried out again; its answer is given.
    ///
    /// `reply` says whether there was somebody to hear it. What a client opens that has given the call up is
    /// closed.
    pub async fn serve(
        &self,
        client: ClientId,
        message: &[u8],
        send: Source<'_>,
        receive: Sink<'_>,
        reply: impl FnOnce(&Message) -> bool,
    ) {
        let call = match vfs::Call::decode(message) {
            Ok(call) => call,
            Err(error) => {
                reply(&answer(Err::<(), _>(error)));
                return;
            }
        };
        let opens = call.opens();
        let key = CallKey {
            role: client.role,
            generation: client.generation,
            session: call.id().session,
            number: call.id().number,
        };
        // What an earlier instance has done counts on the volume that it did it on. If none can be mounted, the
        // call fails.
        let is_known = self.journal.is_settled() || self.mount().await.is_ok();
        if is_known && let Some(answer) = self.journal.answer(key, call.id().oldest()) {
            reply(&answer);
            return;
        }
        let system = Client::new(self, client, Some(key));
        let message = vfs::serve(&system, call, send, receive).await;
        if !reply(&message)
            && opens
            && let Ok(Ok(opened)) = decode::<Result<Descriptor>>(&message)
        {
            // If it is closed already, so much the better.
            let _ = Client::new(self, client, None).close(opened).await;
        }
        let volume = self.volume.borrow().clone();
        if let Some(volume) = volume {
            self.tidy(&volume).await;
        }
    }
}
