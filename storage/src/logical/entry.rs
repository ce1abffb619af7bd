//! One entry of the mapping: where the copies of a logical file are.
//!
//! ```text
//!  0        1            2        3        4             10         16                        64
//!  ┌────────┬────────────┬────────┬────────┬─────────────┬──────────┬──── … ─────────────────┐
//!  │ state  │ redundancy │ flags  │ copies │ store  6×u8 │ zero 6×u8│ physical number  6×u64 │
//!  └────────┴────────────┴────────┴────────┴─────────────┴──────────┴──── … ─────────────────┘
//! ```
//!
//! All zeros is an unused entry, so that a hole in the mapping file is a run of unused entries. The
//! whole format is described in `docs/formats/mapping.md`.

use crate::{
    Error, Result,
    file::{Class, FileNumber, Redundancy},
};

/// Bytes in an entry.
pub(super) const ENTRY_BYTES: usize = 64;

/// Most copies of a file, and so most file stores in a volume.
pub const COPIES_MAX: usize = 6;

const STATE_USED: u8 = 1;
const FLAG_PROTECTED: u8 = 1;
const STORES_AT: usize = 4;
const ZERO_AT: usize = STORES_AT + COPIES_MAX;
const NUMBERS_AT: usize = 16;

/// One copy of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Which part of the volume it is on.
    pub store: u8,
    /// Its number there.
    pub physical: FileNumber,
}

/// The copies of a file, one at most on each store.
pub(super) type Copies = heapless::Vec<Copy, COPIES_MAX>;

/// What the mapping says of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub class: Class,
    pub copies: Copies,
}

impl Entry {
    /// The bytes of the entry.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = STATE_USED;
        bytes[1] = match self.class.redundancy {
            Redundancy::Mirror => 0,
            Redundancy::Single => 1,
        };
        bytes[2] = if self.class.protected {
            FLAG_PROTECTED
        } else {
            0
        };
        bytes[3] = self.copies.len() as u8;
        for (i, copy) in self.copies.iter().enumerate() {
            bytes[STORES_AT + i] = copy.store;
            let at = NUMBERS_AT + i * 8;
            bytes[at..at + 8].copy_from_slice(&copy.physical.0.to_le_bytes());
        }
        bytes
    }

    /// The entry in `bytes`, `None` if it is unused, [`Error::Corrupt`] if it makes no sense.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Result<Option<Self>> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let redundancy = match bytes[1] {
            0 => Redundancy::Mirror,
            1 => Redundancy::Single,
            _ => return Err(Error::Corrupt),
        };
        let count = usize::from(bytes[3]);
        let sound = bytes[0] == STATE_USED
            && bytes[2] & !FLAG_PROTECTED == 0
            && (1..=COPIES_MAX).contains(&count)
            && bytes[ZERO_AT..NUMBERS_AT].iter().all(|&byte| byte == 0);
        if !sound {
            return Err(Error::Corrupt);
        }
        let mut copies = Copies::new();
        let (numbers, _) = bytes[NUMBERS_AT..].as_chunks::<8>();
        for (&store, &number) in bytes[STORES_AT..].iter().zip(numbers).take(count) {
            let physical = FileNumber(u64::from_le_bytes(number));
            let twice = copies.iter().any(|copy: &Copy| copy.store == store);
            if twice || usize::from(store) >= COPIES_MAX || physical.0 == 0 {
                return Err(Error::Corrupt);
            }
            copies
                .push(Copy { store, physical })
                .map_err(|_| Error::Corrupt)?;
        }
        let protected = bytes[2] == FLAG_PROTECTED;
        Ok(Some(Self {
            class: Class {
                redundancy,
                protected,
            },
            copies,
        }))
    }
}

const MAGIC: [u8; 8] = *b"GalagoMa";
const VERSION: u32 = 1;

/// The header of the mapping file, in the place of entry 0, which is no file.
pub(super) fn encode_header(volume: u128) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
    bytes[16..32].copy_from_slice(&volume.to_le_bytes());
    bytes
}

/// Whether the header is that of a mapping of this volume that this version can read.
///
/// Errors: [`Error::WrongVersion`] for a later format, [`Error::Corrupt`] for anything else.
pub(super) fn check_header(bytes: &[u8; ENTRY_BYTES], volume: u128) -> Result<()> {
    if *bytes == encode_header(volume) {
        Ok(())
    } else if bytes[..8] == MAGIC && bytes[8..12] != VERSION.to_le_bytes() {
        Err(Error::WrongVersion)
    } else {
        Err(Error::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let copies = [
            Copy {
                store: 1,
                physical: FileNumber(0x0102_0304_0506_0708),
            },
            Copy {
                store: 0,
                physical: FileNumber(9),
            },
        ];
        Entry {
            class: Class {
                redundancy: Redundancy::Mirror,
                protected: true,
            },
            copies: Copies::from_slice(&copies).unwrap(),
        }
    }

    /// The bytes are a format: they must not change when the code does.
    #[test]
    fn an_entry_has_the_documented_bytes() {
        let mut expected = [0; 64];
        expected[..6].copy_from_slice(&[1, 0, 1, 2, 1, 0]);
        expected[16..24].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        expected[24] = 9;
        assert_eq!(entry().encode(), expected);
        assert_eq!(Entry::decode(&expected), Ok(Some(entry())));
    }

    #[test]
    fn a_hole_is_unused() {
        assert_eq!(Entry::decode(&[0; 64]), Ok(None));
    }

    /// What a broken or hostile disk may hold is refused, whichever byte is wrong.
    #[test]
    fn nonsense_is_refused() {
        let breakages: [(usize, u8); 8] = [
            (0, 2),
            (0, 0),
            (1, 2),
            (2, 3),
            (3, 0),
            (3, 7),
            (4, 6),
            (12, 1),
        ];
        for (at, value) in breakages {
            let mut bytes = entry().encode();
            bytes[at] = value;
            assert_eq!(
                Entry::decode(&bytes),
                Err(Error::Corrupt),
                "byte {at} = {value}"
            );
        }
        let mut two_on_one_store = entry().encode();
        two_on_one_store[5] = 1;
        assert_eq!(Entry::decode(&two_on_one_store), Err(Error::Corrupt));
        let mut no_number = entry().encode();
        no_number[24] = 0;
        assert_eq!(Entry::decode(&no_number), Err(Error::Corrupt));
    }

    #[test]
    fn a_header_is_of_one_volume_and_one_version() {
        let header = encode_header(7);
        assert_eq!(check_header(&header, 7), Ok(()));
        assert_eq!(check_header(&header, 8), Err(Error::Corrupt));
        assert_eq!(check_header(&[0; 64], 7), Err(Error::Corrupt));
        let mut later = header;
        later[8] = 2;
        assert_eq!(check_header(&later, 7), Err(Error::WrongVersion));
    }
}
