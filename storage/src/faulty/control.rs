//! What the restart manager asks of a filter that is a task: rules, and the two halves of a power cut.
//!
//! One definition for both ends, like the interfaces of the stack.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    cut::Settled,
    device::{Faulty, Timer},
    rule::Rule,
    rules::Armed,
    write_cache::WriteCache,
};
use crate::{
    Error, Result,
    block::BlockDevice,
    buffer::{Sink, Source},
    transport::{Message, Transport, answer, ask, decode},
};

/// Most bytes of a list of rules.
const LIST_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Add(u32, Rule),
    Remove(u32),
    Rules,
    Cut,
    Settle(Option<u64>),
}

/// What a filter does for whom it trusts with faults.
pub trait Control {
    /// As [`Faulty::add`]; also [`Error::BadArgument`] if it names sectors that the disk does not have: it would wait for
    /// ever, and who asks for that has mistyped.
    fn add(&self, number: u32, rule: Rule) -> impl Future<Output = Result<()>>;
    /// As [`Faulty::remove`].
    fn remove(&self, number: u32) -> Result<()>;
    /// As [`Faulty::rules`].
    fn rules(&self) -> Vec<Armed>;
    /// As [`WriteCache::cut`].
    fn cut(&self);
    /// As [`WriteCache::settle`].
    fn settle(&self, seed: Option<u64>) -> impl Future<Output = Result<Settled>>;
}

impl<D: BlockDevice, T: Timer> Control for Faulty<WriteCache<D>, T> {
    async fn add(&self, number: u32, rule: Rule) -> Result<()> {
        let beyond = |last: u64| self.geometry.get().is_some_and(|disk| last >= disk.sectors);
        if rule.last_sector().is_some_and(beyond) {
            return Err(Error::BadArgument);
        }
        Faulty::add(self, Some(number), rule).await.map(|_| ())
    }
    fn remove(&self, number: u32) -> Result<()> {
        Faulty::remove(self, number)
    }
    fn rules(&self) -> Vec<Armed> {
        Faulty::rules(self)
    }
    fn cut(&self) {
        self.device().cut();
    }
    async fn settle(&self, seed: Option<u64>) -> Result<Settled> {
        self.device().settle(seed).await
    }
}

/// A filter behind a transport.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    async fn plain<Reply: DeserializeOwned>(&self, request: &Request) -> Result<Reply> {
        ask(&self.0, request, Source::empty(), Sink::empty()).await
    }

    /// As [`Control::add`].
    pub async fn add(&self, number: u32, rule: Rule) -> Result<()> {
        self.plain(&Request::Add(number, rule)).await
    }

    /// As [`Control::remove`].
    pub async fn remove(&self, number: u32) -> Result<()> {
        self.plain(&Request::Remove(number)).await
    }

    /// As [`Control::rules`].
    pub async fn rules(&self) -> Result<Vec<Armed>> {
        let mut bytes = alloc::vec![0; LIST_BYTES_MAX];
        let sink = Sink::local(&mut bytes);
        let len: u32 = ask(&self.0, &Request::Rules, Source::empty(), sink).await?;
        decode(bytes.get(..len as usize).ok_or(Error::Protocol)?)
    }

    /// As [`Control::cut`].
    pub async fn cut(&self) -> Result<()> {
        self.plain(&Request::Cut).await
    }

    /// As [`Control::settle`].
    pub async fn settle(&self, seed: Option<u64>) -> Result<Settled> {
        self.plain(&Request::Settle(seed)).await
    }
}

/// Serves one request.
pub async fn serve(control: &impl Control, request: &[u8], mut receive: Sink<'_>) -> Message {
    match decode(request) {
        Err(error) => answer(Err::<(), _>(error)),
        Ok(Request::Add(number, rule)) => answer(control.add(number, rule).await),
        Ok(Request::Remove(number)) => answer(control.remove(number)),
        Ok(Request::Rules) => answer(list(&control.rules(), &mut receive)),
        Ok(Request::Cut) => {
            control.cut();
            answer(Ok(()))
        }
        Ok(Request::Settle(seed)) => answer(control.settle(seed).await),
    }
}

fn list(rules: &[Armed], receive: &mut Sink<'_>) -> Result<u32> {
    let bytes = postcard::to_allocvec(rules).map_err(|_| Error::Protocol)?;
    receive.copy_from(0, &bytes).map_err(|_| Error::NoMemory)?;
    Ok(bytes.len() as u32)
}
