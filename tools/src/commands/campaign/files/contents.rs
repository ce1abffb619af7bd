//! What `fill` writes: bytes that follow from a seed and the offset, as `docs/postmark.md` defines them.
//!
//! Written from the document and not shared with the guest, so that neither vouches for itself.

/// Word `index` of file 0 under `seed`.
fn word(seed: u32, index: u64) -> u64 {
    let mix = |value: u64| (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    let key = mix(mix((u64::from(seed) << 32).wrapping_add(step)));
    mix(key.wrapping_add(index.wrapping_mul(step)))
}

/// `length` bytes from `offset` on.
pub fn bytes(seed: u32, offset: usize, length: usize) -> Vec<u8> {
    let byte = |at: usize| word(seed, (at / 8) as u64).to_le_bytes()[at % 8];
    (offset..offset + length).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_those_of_the_document() {
        // Computed in Python from the formula.
        assert_eq!(bytes(42, 0, 4), EXPECTED[..4]);
        assert_eq!(bytes(42, 6, 10), EXPECTED[6..]);
    }

    const EXPECTED: [u8; 16] = [
        14, 166, 166, 241, 225, 224, 177, 221, 130, 170, 83, 104, 99, 162, 152, 127,
    ];
}
