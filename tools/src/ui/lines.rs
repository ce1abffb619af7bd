//! A guest's console for a pipe: lines as they stood when they ended, and nothing that moves a cursor.
//!
//! On a terminal the guest's bottom line is drawn over itself, for the line that is typed and for progress:
//!
//! ```text
//! \r galago> ca ESC[K     \r galago> cat ESC[K     \r galago> cat /a ESC[K \r \n
//! ```
//!
//! Of that a pipe gets `galago> cat /a`.

use std::io::{Result, Write};

/// Longest line that is held back; a longer one goes in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Hands on whole lines.
#[derive(Debug)]
pub struct Lines<W: Write> {
    output: W,
    line: Vec<u8>,
    /// The cursor is at the line's beginning: what comes next stands in the place of what is there.
    over: bool,
    escape: Escape,
}

/// How much of an escape sequence (ECMA-48) there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// After `ESC [`: parameters, then a letter.
    Control,
}

impl<W: Write> Lines<W> {
    /// Has the lines go to `output`.
    pub fn new(output: W) -> Self {
        Self {
            output,
            line: Vec::new(),
            over: false,
            escape: Escape::None,
        }
    }

    fn take(&mut self, byte: u8) -> Result<()> {
        match (self.escape, byte) {
            (_, 0x1b) => self.escape = Escape::Begun,
            (Escape::Begun, b'[') => self.escape = Escape::Control,
            (Escape::Control, 0x20..=0x3f) => {}
            (Escape::Begun | Escape::Control, _) => self.escape = Escape::None,
            (Escape::None, b'\r') => self.over = true,
            (Escape::None, b'\n') => return self.end(b"\n"),
            (Escape::None, byte) => {
                if std::mem::take(&mut self.over) {
                    self.line.clear();
                }
                self.line.push(byte);
                if self.line.len() == LINE_BYTES_MAX {
                    return self.end(b"");
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, with: &[u8]) -> Result<()> {
        self.over = false;
        self.line.extend_from_slice(with);
        let line = std::mem::take(&mut self.line);
        self.output.write_all(&line)
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        bytes.iter().try_for_each(|byte| self.take(*byte))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }
}

impl<W: Write> Drop for Lines<W> {
    /// The last line may have no end; nobody is left who could hear of an error.
    fn drop(&mut self) {
        let _ = self.end(b"").and_then(|()| self.output.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_drawn_again_and_again_comes_once_in_whatever_pieces_it_comes() {
        let text =
            b"boot\r\n\x1b7\x1b[999C\x1b[6n\x1b8\rgalago> c\x1b[K\rgalago> ca\x1b[K\x1b[1D\r\n\
                     \x1b[31mred\x1b[0m\r\n\r50 %\x1b[K\r\x1b[Kdone\nthe last";
        for size in [1, 2, 3, 100] {
            let mut output = Vec::new();
            let mut lines = Lines::new(&mut output);
            for piece in text.chunks(size) {
                lines.write_all(piece).expect("written");
            }
            drop(lines);
            let text = String::from_utf8_lossy(&output);
            assert_eq!(
                text, "boot\ngalago> ca\nred\ndone\nthe last",
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_held_back_for_ever() {
        let mut output = Vec::new();
        let mut lines = Lines::new(&mut output);
        lines
            .write_all(&vec![b'x'; LINE_BYTES_MAX + 1])
            .expect("written");
        assert_eq!(lines.output.len(), LINE_BYTES_MAX);
    }
}
