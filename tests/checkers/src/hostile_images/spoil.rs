//! Bytes that do harm: numbers, pointers, records of directories.

use tests::random::Random;

use crate::format::{BLOCK_BYTES, Block, POINTER_BYTES};

/// Numbers at which arithmetic goes wrong.
pub const NUMBERS: [u64; 14] = [
    0,
    1,
    7,
    255,
    257,
    4096,
    1 << 16,
    1 << 20,
    1 << 32,
    (1 << 44) + 1,
    (1 << 48) - 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Flips a few bits.
pub fn flip(block: &mut Block, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        block[random.below(BLOCK_BYTES as u64) as usize] ^= 1 << random.below(8);
    }
}

/// Puts numbers where they do harm.
pub fn spoil(random: &mut Random, block: &mut Block, from: usize, to: usize) {
    for _ in 0..1 + random.below(3) {
        let at = from + random.below((to - from) as u64) as usize;
        match random.below(5) {
            0 => block[at] ^= 1 << random.below(8),
            1 => block[at] = random.number() as u8,
            kind => {
                let bytes = random.pick(&[2, 4, 8]);
                let at = (at / bytes * bytes).min(to - bytes);
                let value = match kind {
                    2 => random.below(20_000),
                    3 => random.number(),
                    _ => random.pick(&NUMBERS),
                };
                block[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            }
        }
    }
}

/// Has pointers lead elsewhere: swapped, doubled, into the static areas, to themselves, out of the volume, with
/// other states.
pub fn spoil_pointers(random: &mut Random, block: &mut Block, from: usize, to: usize) {
    let slots = (to - from) / POINTER_BYTES;
    let in_use: Vec<usize> = (0..slots)
        .map(|slot| from + slot * POINTER_BYTES)
        .filter(|&at| block[at..at + POINTER_BYTES].iter().any(|&byte| byte != 0))
        .collect();
    let any = |random: &mut Random| from + random.below(slots as u64) as usize * POINTER_BYTES;
    for _ in 0..1 + random.below(3) {
        let one = if in_use.is_empty() {
            any(random)
        } else {
            random.pick(&in_use)
        };
        let two = any(random);
        match random.below(7) {
            0 => {
                let (first, second) = (pointer(block, one), pointer(block, two));
                block[one..one + POINTER_BYTES].copy_from_slice(&second);
                block[two..two + POINTER_BYTES].copy_from_slice(&first);
            }
            1 => {
                let first = pointer(block, one);
                block[two..two + POINTER_BYTES].copy_from_slice(&first);
            }
            2 => block[one..one + POINTER_BYTES].fill(0),
            3 => block[one + 14] = random.number() as u8,
            4 => {
                let number = random.pick(&[
                    0,
                    1,
                    255,
                    256,
                    257,
                    300,
                    1023,
                    1535,
                    1536,
                    1 << 32,
                    (1 << 48) - 1,
                ]);
                block[one + 8..one + 14].copy_from_slice(&u64::to_le_bytes(number)[..6]);
            }
            5 => {
                let number = random.below(1600);
                block[one + 8..one + 14].copy_from_slice(&number.to_le_bytes()[..6]);
            }
            _ => spoil(random, block, one, one + POINTER_BYTES),
        }
    }
}

fn pointer(block: &Block, at: usize) -> [u8; POINTER_BYTES] {
    let mut bytes = [0; POINTER_BYTES];
    bytes.copy_from_slice(&block[at..at + POINTER_BYTES]);
    bytes
}

/// Its header or a record: file, length, kind, length of the name, name.
pub fn spoil_directory(random: &mut Random, block: &mut Block) {
    if random.one_in(4) {
        return spoil(random, block, 0, 32);
    }
    let mut records = vec![32];
    while let Some(&at) = records.last() {
        let length = usize::from(u16::from_le_bytes([block[at + 8], block[at + 9]]));
        let next = at + length.max(12);
        if next + 12 > BLOCK_BYTES || records.len() > 200 {
            break;
        }
        records.push(next);
    }
    let at = random.pick(&records);
    match random.below(6) {
        0 => block[at..at + 8].copy_from_slice(&random.pick(&NUMBERS).to_le_bytes()),
        1 => block[at..at + 8].copy_from_slice(&random.below(60).to_le_bytes()),
        2 => {
            let length = random.pick(&[0, 1, 3, 4, 8, 11, 12, 13, 16, 4064, 4096, 65_535]);
            block[at + 8..at + 10].copy_from_slice(&u16::to_le_bytes(length));
        }
        3 => block[at + 10] = random.below(6) as u8,
        4 => block[at + 11] = random.pick(&[0, 1, 2, 3, 12, 200, 255]),
        _ => {
            let from = at + 12;
            let to = (from + 8).min(BLOCK_BYTES);
            for byte in &mut block[from..to] {
                *byte = random.pick(b"/\0.a\xff");
            }
        }
    }
}
