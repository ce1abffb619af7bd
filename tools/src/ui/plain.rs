//! A guest's console without its colours, for a terminal where they are not wanted (`NO_COLOR`).

use std::io::{Result, Write};

/// Longest escape sequence that is waited for; what is longer is none.
const SEQUENCE_BYTES_MAX: usize = 32;

/// Hands on what is written, without the sequences that set colours (ECMA-48: `ESC [ … m`).
#[derive(Debug)]
pub struct Plain<W> {
    output: W,
    /// The sequence under way, which may come in pieces.
    sequence: Vec<u8>,
}

impl<W: Write> Plain<W> {
    /// Takes the colours out of what goes to `output`.
    pub fn new(output: W) -> Self {
        Self {
            output,
            sequence: Vec::new(),
        }
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut plain = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == 0x1b {
                plain.append(&mut self.sequence);
                self.sequence.push(byte);
                continue;
            }
            if self.sequence.is_empty() {
                plain.push(byte);
                continue;
            }
            self.sequence.push(byte);
            let parameters = self.sequence.get(2..).unwrap_or_default();
            let goes_on = match (self.sequence.len(), byte) {
                (2, byte) => byte == b'[',
                (length, b'0'..=b'9' | b';') => length < SEQUENCE_BYTES_MAX,
                _ => false,
            };
            if goes_on {
                continue;
            }
            if parameters.last() == Some(&b'm') {
                self.sequence.clear();
            } else {
                plain.append(&mut self.sequence);
            }
        }
        self.output.write_all(&plain)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_everything_else_stays_in_whatever_pieces_it_comes() {
        let text = b"a\x1b[1;31mred\x1b[0m \x1b[2K\x1b[m\x1bxb\x1b[31";
        for size in [1, 2, 3, 100] {
            let mut plain = Plain::new(Vec::new());
            for piece in text.chunks(size) {
                plain.write_all(piece).expect("written");
            }
            assert_eq!(plain.output, b"ared \x1b[2K\x1bxb", "in pieces of {size}");
        }
    }
}
