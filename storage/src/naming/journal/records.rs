//! What the journal's records say, and as what words. Whatever does not decode was written by mistake.

use alloc::vec::Vec;

use crate::{
    file::{AttributeChange, FileNumber},
    naming::{CallKey, descriptors::DescriptorState},
    transport::Message,
    vfs::{Descriptor, OpenFlags},
};

/// Words of a record of a call.
pub const CALL_WORDS: usize = 41;
/// Words of a step to take back.
pub const UNDO_WORDS: usize = 62;
/// Words of a file to delete.
pub const DELETION_WORDS: usize = 2;
/// Words of a descriptor.
pub const DESCRIPTOR_WORDS: usize = 6;

/// Bytes of a file that one step can put back.
pub const UNDO_BYTES_MAX: usize = (UNDO_WORDS - 6) * 8;

/// A record as it is stored: as many words as it takes.
pub type Record<const WORDS: usize> = heapless::Vec<u64, WORDS>;

fn put<const WORDS: usize>(record: &mut Record<WORDS>, word: u64) {
    record
        .push(word)
        .expect("there is room for what a record says");
}

fn put_all<const WORDS: usize>(record: &mut Record<WORDS>, words: &[u64]) {
    let room = record.extend_from_slice(words);
    room.expect("there is room for what a record says");
}

fn put_bytes<const WORDS: usize>(record: &mut Record<WORDS>, bytes: &[u8]) {
    put(record, bytes.len() as u64);
    let (whole, rest) = bytes.as_chunks();
    for chunk in whole {
        put(record, u64::from_le_bytes(*chunk));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        put(record, u64::from_le_bytes(word));
    }
}

/// The words of a record, taken one after the other.
struct Words<'a>(core::slice::Iter<'a, u64>);

impl<'a> Words<'a> {
    fn of(record: &'a [u64]) -> Self {
        Self(record.iter())
    }

    fn take(&mut self) -> Option<u64> {
        self.0.next().copied()
    }

    /// Bytes that `put_bytes` put, at most `N`.
    fn take_bytes<const N: usize>(&mut self) -> Option<heapless::Vec<u8, N>> {
        let len = usize::try_from(self.take()?).ok()?;
        if len > N {
            return None;
        }
        let mut bytes = heapless::Vec::new();
        for at in (0..len).step_by(8) {
            let word = self.take()?.to_le_bytes();
            bytes.extend_from_slice(&word[..(len - at).min(8)]).ok()?;
        }
        Some(bytes)
    }
}

/// What a call does to a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// It is this from now on.
    Set(DescriptorState),
    /// It is closed.
    Closed(DescriptorState),
}

/// A change of one file that a successor finishes or takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// An append to a file of this size: what came of it is cut off.
    Append {
        /// The file.
        file: FileNumber,
        /// Its size before.
        size: u64,
        /// Its time of change before.
        modified_ns: u64,
        /// That of its attributes before.
        changed_ns: u64,
    },
    /// A truncation: it is made.
    Truncate {
        /// The file.
        file: FileNumber,
        /// Its size after.
        size: u64,
        /// Its time of change after.
        modified_ns: u64,
    },
    /// A change of attributes: it is made.
    Change {
        /// The file.
        file: FileNumber,
        /// The change.
        change: AttributeChange,
    },
    /// Nothing is to be done any more but to give the answer.
    Answered,
}

/// A call of a client: who asked what, and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The operation's number; they count up.
    pub op: u64,
    /// Whose call. `None`: nobody will ask again.
    pub key: Option<CallKey>,
    /// The answer.
    pub answer: Message,
    /// What it does to a descriptor.
    pub effect: Effect,
}

/// A record of the table of calls.
#[derive(Clone, Debug, PartialEq)]
pub enum CallRecord {
    /// Which volume all of it is about.
    Header {
        /// The volume.
        volume: u128,
        /// The history that the layer below named.
        history: u64,
        /// What new descriptors carry; another after descriptors were lost.
        tag: u64,
    },
    /// The operation that ended last.
    Commit {
        /// The call.
        call: Call,
        /// The last change of names that is not to be taken back.
        names: u64,
    },
    /// A call under way, or one that was answered and whose client may ask again.
    Intent {
        /// The call.
        call: Call,
        /// What a successor does.
        intent: Intent,
    },
}

const HEADER: u64 = 1;
const COMMIT: u64 = 2;
const INTENT: u64 = 3;

impl CallRecord {
    /// A header as words.
    pub fn header(volume: u128, history: u64, tag: u64) -> Record<CALL_WORDS> {
        let mut record = Record::new();
        let (low, high) = (volume as u64, (volume >> 64) as u64);
        put_all(&mut record, &[HEADER, low, high, history, tag]);
        record
    }

    /// A commit as words.
    pub fn commit(call: &Call, names: u64) -> Record<CALL_WORDS> {
        let mut record = Record::new();
        put_all(&mut record, &[COMMIT, names]);
        call.put(&mut record);
        record
    }

    /// A call under way, or its answer, as words.
    pub fn intent(call: &Call, intent: Intent) -> Record<CALL_WORDS> {
        let mut record = Record::new();
        put(&mut record, INTENT);
        call.put(&mut record);
        intent.put(&mut record);
        record
    }

    /// From words.
    pub fn decode(record: &[u64; CALL_WORDS]) -> Option<Self> {
        let mut words = Words::of(record);
        Some(match words.take()? {
            HEADER => Self::Header {
                volume: u128::from(words.take()?) | u128::from(words.take()?) << 64,
                history: words.take()?,
                tag: words.take()?,
            },
            COMMIT => Self::Commit {
                names: words.take()?,
                call: Call::take(&mut words)?,
            },
            INTENT => Self::Intent {
                call: Call::take(&mut words)?,
                intent: Intent::take(&mut words)?,
            },
            _ => return None,
        })
    }
}

impl Call {
    /// None.
    pub fn none() -> Self {
        Self {
            op: 0,
            key: None,
            answer: Message::new(),
            effect: Effect::None,
        }
    }

    fn put(&self, record: &mut Record<CALL_WORDS>) {
        let key = self.key.unwrap_or(CallKey {
            role: u64::MAX,
            generation: 0,
            session: 0,
            number: 0,
        });
        let (kind, state) = match &self.effect {
            Effect::None => (0, None),
            Effect::Set(state) => (1, Some(state)),
            Effect::Closed(state) => (2, Some(state)),
        };
        let session = u64::from(key.session) | kind << 32;
        put_all(
            record,
            &[self.op, key.role, key.generation, session, key.number],
        );
        if let Some(state) = state {
            put_all(record, &encode_descriptor(state, false));
        }
        put_bytes(record, &self.answer);
    }

    fn take(words: &mut Words<'_>) -> Option<Self> {
        let op = words.take()?;
        let (role, generation) = (words.take()?, words.take()?);
        let (session, number) = (words.take()?, words.take()?);
        let key = CallKey {
            role,
            generation,
            session: session as u32,
            number,
        };
        let kind = session >> 32;
        let mut state = || {
            let mut state = [0; DESCRIPTOR_WORDS];
            for word in &mut state {
                *word = words.take()?;
            }
            decode_descriptor(state).map(|(state, _)| state)
        };
        let effect = match kind {
            0 => Effect::None,
            1 => Effect::Set(state()?),
            2 => Effect::Closed(state()?),
            _ => return None,
        };
        Some(Self {
            op,
            key: (key.role != u64::MAX).then_some(key),
            answer: words.take_bytes()?,
            effect,
        })
    }
}

impl Intent {
    fn put(self, record: &mut Record<CALL_WORDS>) {
        match self {
            Self::Answered => put(record, 0),
            Self::Append {
                file,
                size,
                modified_ns,
                changed_ns,
            } => put_all(record, &[1, file.0, size, modified_ns, changed_ns]),
            Self::Truncate {
                file,
                size,
                modified_ns,
            } => put_all(record, &[2, file.0, size, modified_ns]),
            Self::Change { file, change } => {
                put_all(record, &[3, file.0]);
                put_change(record, &change);
            }
        }
    }

    fn take(words: &mut Words<'_>) -> Option<Self> {
        let kind = words.take()?;
        if kind == 0 {
            return Some(Self::Answered);
        }
        let file = FileNumber(words.take()?);
        Some(match kind {
            1 => Self::Append {
                file,
                size: words.take()?,
                modified_ns: words.take()?,
                changed_ns: words.take()?,
            },
            2 => Self::Truncate {
                file,
                size: words.take()?,
                modified_ns: words.take()?,
            },
            3 => Self::Change {
                file,
                change: take_change(words)?,
            },
            _ => return None,
        })
    }
}

/// Which fields there are, and two numbers of 32 bits a word.
fn put_change(record: &mut Record<CALL_WORDS>, change: &AttributeChange) {
    let small = [change.mode, change.uid, change.gid, change.links];
    let times = [change.accessed_ns, change.modified_ns, change.changed_ns];
    let there = small.iter().map(Option::is_some);
    let there = there.chain(times.iter().map(Option::is_some));
    let mask = there
        .enumerate()
        .fold(0, |mask, (bit, there)| mask | u64::from(there) << bit);
    put(record, mask);
    for pair in small.chunks(2) {
        let [low, high] = [pair[0], pair[1]].map(|it| u64::from(it.unwrap_or(0)));
        put(record, low | high << 32);
    }
    put_all(record, &times.map(|time| time.unwrap_or(0)));
}

fn take_change(words: &mut Words<'_>) -> Option<AttributeChange> {
    let mask = words.take()?;
    if mask >> 7 != 0 {
        return None;
    }
    let there = |bit: u32| mask >> bit & 1 == 1;
    let (first, second) = (words.take()?, words.take()?);
    let small = |bit: u32, word: u64| there(bit).then_some(word as u32);
    let time = |bit: u32, word: u64| there(bit).then_some(word);
    Some(AttributeChange {
        mode: small(0, first),
        uid: small(1, first >> 32),
        gid: small(2, second),
        links: small(3, second >> 32),
        accessed_ns: time(4, words.take()?),
        modified_ns: time(5, words.take()?),
        changed_ns: time(6, words.take()?),
    })
}

/// In the last word of a descriptor's record.
const IS_DIRECTORY: u64 = 1;
const IS_BEHIND: u64 = 2;

/// A descriptor as words. `is_behind`: what the last commit says of it counts, and not this.
pub fn encode_descriptor(state: &DescriptorState, is_behind: bool) -> [u64; DESCRIPTOR_WORDS] {
    let is_directory = if state.is_directory { IS_DIRECTORY } else { 0 };
    [
        state.role,
        state.generation,
        u64::from(state.descriptor.0) | u64::from(state.flags.bits()) << 32,
        state.file.0,
        state.position,
        is_directory | if is_behind { IS_BEHIND } else { 0 },
    ]
}

/// A descriptor from words, and whether it is behind.
pub fn decode_descriptor(words: [u64; DESCRIPTOR_WORDS]) -> Option<(DescriptorState, bool)> {
    let [role, generation, numbers, file, position, marks @ 0..=3] = words else {
        return None;
    };
    let state = DescriptorState {
        role,
        generation,
        descriptor: Descriptor(numbers as u32),
        flags: OpenFlags::from_bits((numbers >> 32) as u32)?,
        file: FileNumber(file),
        position,
        is_directory: marks & IS_DIRECTORY != 0,
    };
    Some((state, marks & IS_BEHIND != 0))
}

/// A step that takes back one call below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// The file was created: delete it.
    Delete(FileNumber),
    /// Bytes were overwritten: put them back.
    Write {
        /// The file.
        file: FileNumber,
        /// Where.
        offset: u64,
        /// The time of change before.
        modified_ns: u64,
        /// What was there, at most [`UNDO_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// The file was made longer: cut it to the size that it had.
    Cut {
        /// The file.
        file: FileNumber,
        /// Its size before.
        size: u64,
        /// Its time of change before.
        modified_ns: u64,
    },
    /// The count of links was changed.
    Links {
        /// The file.
        file: FileNumber,
        /// Links before.
        links: u32,
        /// The time of change of the attributes before.
        changed_ns: u64,
    },
}

impl Undo {
    /// As words: the step of this place of an operation.
    pub fn encode(&self, op: u64, place: usize) -> Record<UNDO_WORDS> {
        let mut record = Record::new();
        let kind = (place as u64) << 8 | self.kind();
        put_all(&mut record, &[op, kind, self.file().0]);
        match self {
            Self::Delete(_) => {}
            Self::Write {
                offset,
                modified_ns,
                bytes,
                ..
            } => {
                put_all(&mut record, &[*offset, *modified_ns]);
                put_bytes(&mut record, bytes);
            }
            Self::Cut {
                size,
                modified_ns: time,
                ..
            } => put_all(&mut record, &[*size, *time]),
            Self::Links {
                links,
                changed_ns: time,
                ..
            } => put_all(&mut record, &[u64::from(*links), *time]),
        }
        record
    }

    fn kind(&self) -> u64 {
        match self {
            Self::Delete(_) => 1,
            Self::Write { .. } => 2,
            Self::Cut { .. } => 3,
            Self::Links { .. } => 4,
        }
    }

    /// Operation, place and step from words.
    pub fn decode(record: &[u64; UNDO_WORDS]) -> Option<(u64, usize, Self)> {
        let mut words = Words::of(record);
        let (op, place) = (words.take()?, words.take()?);
        let file = FileNumber(words.take()?);
        let step = match place & 0xff {
            1 => Self::Delete(file),
            2 => Self::Write {
                file,
                offset: words.take()?,
                modified_ns: words.take()?,
                bytes: words.take_bytes::<UNDO_BYTES_MAX>()?.to_vec(),
            },
            3 => Self::Cut {
                file,
                size: words.take()?,
                modified_ns: words.take()?,
            },
            4 => Self::Links {
                file,
                links: u32::try_from(words.take()?).ok()?,
                changed_ns: words.take()?,
            },
            _ => return None,
        };
        Some((op, (place >> 8) as usize, step))
    }

    /// Which file it is about.
    pub fn file(&self) -> FileNumber {
        match self {
            Self::Delete(file)
            | Self::Write { file, .. }
            | Self::Cut { file, .. }
            | Self::Links { file, .. } => *file,
        }
    }
}
