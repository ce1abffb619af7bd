//! What the journal's records say, and as what words. Whatever does not decode was written by mistake.

use alloc::vec::Vec;

use crate::{
    file::{AttributeChange, FileNumber},
    naming::{CallKey, descriptors::DescriptorState},
    transport::{MESSAGE_BYTES, Message},
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

/// The words of a record, taken or given one after the other.
struct Words<'a>(&'a mut [u64], usize);

impl Words<'_> {
    fn put(&mut self, word: u64) {
        self.0[self.1] = word;
        self.1 += 1;
    }

    fn take(&mut self) -> u64 {
        self.1 += 1;
        self.0[self.1 - 1]
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.put(u64::from_le_bytes(word));
        }
    }

    /// Bytes that `put_bytes` put, at most `N`.
    fn take_bytes<const N: usize>(&mut self) -> Option<heapless::Vec<u8, N>> {
        let len = usize::try_from(self.take()).ok()?;
        if len > N {
            return None;
        }
        let mut bytes = heapless::Vec::new();
        for at in (0..len).step_by(8) {
            let word = self.take().to_le_bytes();
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
    /// As words.
    pub fn encode(&self) -> [u64; CALL_WORDS] {
        let mut record = [0; CALL_WORDS];
        let mut words = Words(&mut record, 0);
        match self {
            Self::Header {
                volume,
                history,
                tag,
            } => {
                words.put(HEADER);
                words.put(*volume as u64);
                words.put((*volume >> 64) as u64);
                words.put(*history);
                words.put(*tag);
            }
            Self::Commit { call, names } => {
                words.put(COMMIT);
                words.put(*names);
                call.put(&mut words);
            }
            Self::Intent { call, intent } => {
                words.put(INTENT);
                words.put(0);
                call.put(&mut words);
                intent.put(&mut words);
            }
        }
        record
    }

    /// From words.
    pub fn decode(mut record: [u64; CALL_WORDS]) -> Option<Self> {
        let mut words = Words(&mut record, 0);
        Some(match words.take() {
            HEADER => Self::Header {
                volume: u128::from(words.take()) | u128::from(words.take()) << 64,
                history: words.take(),
                tag: words.take(),
            },
            COMMIT => Self::Commit {
                names: words.take(),
                call: Call::take(&mut words)?,
            },
            INTENT => {
                words.take();
                Self::Intent {
                    call: Call::take(&mut words)?,
                    intent: Intent::take(&mut words)?,
                }
            }
            _ => return None,
        })
    }
}

impl Call {
    fn put(&self, words: &mut Words<'_>) {
        words.put(self.op);
        let key = self.key.unwrap_or(CallKey {
            role: u64::MAX,
            generation: 0,
            session: 0,
            number: 0,
        });
        words.put(key.role);
        words.put(key.generation);
        words.put(u64::from(key.session));
        words.put(key.number);
        let (kind, state) = match self.effect {
            Effect::None => (0, None),
            Effect::Set(state) => (1, Some(state)),
            Effect::Closed(state) => (2, Some(state)),
        };
        words.put(kind);
        let state = state.map_or([0; DESCRIPTOR_WORDS], |state| encode_descriptor(&state));
        state.into_iter().for_each(|word| words.put(word));
        let end = words.1 + 1 + MESSAGE_BYTES / 8;
        words.put_bytes(&self.answer);
        words.1 = end;
    }

    fn take(words: &mut Words<'_>) -> Option<Self> {
        let op = words.take();
        let key = CallKey {
            role: words.take(),
            generation: words.take(),
            session: u32::try_from(words.take()).ok()?,
            number: words.take(),
        };
        let kind = words.take();
        let state = decode_descriptor(core::array::from_fn(|_| words.take()));
        let effect = match kind {
            0 => Effect::None,
            1 => Effect::Set(state?),
            2 => Effect::Closed(state?),
            _ => return None,
        };
        let end = words.1 + 1 + MESSAGE_BYTES / 8;
        let answer = words.take_bytes()?;
        words.1 = end;
        Some(Self {
            op,
            key: (key.role != u64::MAX).then_some(key),
            answer,
            effect,
        })
    }
}

impl Intent {
    fn put(&self, words: &mut Words<'_>) {
        match *self {
            Self::Answered => words.put(0),
            Self::Append {
                file,
                size,
                modified_ns,
            } => [1, file.0, size, modified_ns]
                .into_iter()
                .for_each(|word| words.put(word)),
            Self::Truncate {
                file,
                size,
                modified_ns,
            } => [2, file.0, size, modified_ns]
                .into_iter()
                .for_each(|word| words.put(word)),
            Self::Change { file, change } => {
                words.put(3);
                words.put(file.0);
                put_change(words, &change);
            }
        }
    }

    fn take(words: &mut Words<'_>) -> Option<Self> {
        let kind = words.take();
        if kind == 0 {
            return Some(Self::Answered);
        }
        let file = FileNumber(words.take());
        Some(match kind {
            1 => Self::Append {
                file,
                size: words.take(),
                modified_ns: words.take(),
            },
            2 => Self::Truncate {
                file,
                size: words.take(),
                modified_ns: words.take(),
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
fn put_change(words: &mut Words<'_>, change: &AttributeChange) {
    let small = [change.mode, change.uid, change.gid, change.links];
    let times = [change.accessed_ns, change.modified_ns, change.changed_ns];
    let there = small.iter().map(Option::is_some);
    let there = there.chain(times.iter().map(Option::is_some));
    let mask = there
        .enumerate()
        .fold(0, |mask, (bit, there)| mask | u64::from(there) << bit);
    words.put(mask);
    for pair in small.chunks(2) {
        let [low, high] = [pair[0], pair[1]].map(|it| u64::from(it.unwrap_or(0)));
        words.put(low | high << 32);
    }
    for time in times {
        words.put(time.unwrap_or(0));
    }
}

fn take_change(words: &mut Words<'_>) -> Option<AttributeChange> {
    let mask = words.take();
    if mask >> 7 != 0 {
        return None;
    }
    let there = |bit: u32| mask >> bit & 1 == 1;
    let (first, second) = (words.take(), words.take());
    let small = |bit: u32, word: u64| there(bit).then_some(word as u32);
    let time = |bit: u32, word: u64| there(bit).then_some(word);
    Some(AttributeChange {
        mode: small(0, first),
        uid: small(1, first >> 32),
        gid: small(2, second),
        links: small(3, second >> 32),
        accessed_ns: time(4, words.take()),
        modified_ns: time(5, words.take()),
        changed_ns: time(6, words.take()),
    })
}

/// A descriptor as words.
pub fn encode_descriptor(state: &DescriptorState) -> [u64; DESCRIPTOR_WORDS] {
    [
        state.role,
        state.generation,
        u64::from(state.descriptor.0) | u64::from(state.flags.bits()) << 32,
        state.file.0,
        state.position,
        u64::from(state.is_directory),
    ]
}

/// A descriptor from words.
pub fn decode_descriptor(words: [u64; DESCRIPTOR_WORDS]) -> Option<DescriptorState> {
    let [
        role,
        generation,
        numbers,
        file,
        position,
        is_directory @ 0..=1,
    ] = words
    else {
        return None;
    };
    Some(DescriptorState {
        role,
        generation,
        descriptor: Descriptor(numbers as u32),
        flags: OpenFlags::from_bits((numbers >> 32) as u32)?,
        file: FileNumber(file),
        position,
        is_directory: is_directory == 1,
    })
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
    pub fn encode(&self, op: u64, place: usize) -> [u64; UNDO_WORDS] {
        let mut record = [0; UNDO_WORDS];
        let mut words = Words(&mut record, 0);
        words.put(op);
        words.put((place as u64) << 8 | self.kind());
        match self {
            Self::Delete(file) => words.put(file.0),
            Self::Write {
                file,
                offset,
                modified_ns,
                bytes,
            } => {
                words.put(file.0);
                words.put(*offset);
                words.put(*modified_ns);
                words.put_bytes(bytes);
            }
            Self::Cut {
                file,
                size,
                modified_ns: time,
            } => [file.0, *size, *time]
                .into_iter()
                .for_each(|word| words.put(word)),
            Self::Links {
                file,
                links,
                changed_ns: time,
            } => [file.0, u64::from(*links), *time]
                .into_iter()
                .for_each(|word| words.put(word)),
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
    pub fn decode(mut record: [u64; UNDO_WORDS]) -> Option<(u64, usize, Self)> {
        let mut words = Words(&mut record, 0);
        let (op, place) = (words.take(), words.take());
        let file = FileNumber(words.take());
        let step = match place & 0xff {
            1 => Self::Delete(file),
            2 => Self::Write {
                file,
                offset: words.take(),
                modified_ns: words.take(),
                bytes: words.take_bytes::<UNDO_BYTES_MAX>()?.to_vec(),
            },
            3 => Self::Cut {
                file,
                size: words.take(),
                modified_ns: words.take(),
            },
            4 => Self::Links {
                file,
                links: u32::try_from(words.take()).ok()?,
                changed_ns: words.take(),
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
