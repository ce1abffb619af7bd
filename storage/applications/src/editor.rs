//! Edits the line that is being typed on a terminal: a state machine from bytes to bytes.
//!
//! ```text
//! bytes typed ──▶ feed ──▶ what to print (escape sequences), and now and then a whole line
//! ```
//!
//! Arrows, Home, End, Delete, Backspace; Ctrl-A E B F D K U W L; history by Up and Down or Ctrl-P
//! and Ctrl-N. A line longer than the terminal is wide is shown in part, around the cursor, with `<`
//! and `>` where more of it is. How wide the terminal is it says itself, asked by [`ASK_WIDTH`].
//!
//! *Why not a crate?* Ours must let go of its line at any moment, because a log record is to be
//! printed above it, and take it up again; the kept crates own the terminal while they read.

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// Longest line, characters.
pub const LINE_MAX: usize = 1024;
/// Lines remembered.
pub const HISTORY_MAX: usize = 100;

/// Asks the terminal how wide it is: the cursor goes as far right as it can, and the terminal reports
/// where it is (ECMA-48: CUF, DSR), which [`Editor::feed`] understands. What answers nothing keeps its
/// width.
pub const ASK_WIDTH: &str = "\x1b7\x1b[999C\x1b[6n\x1b8";
/// Narrowest terminal that lines are shown on, columns.
const COLUMNS_MIN: usize = 20;

/// What a byte led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing to do.
    Nothing,
    /// A whole line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
}

/// Where in an escape sequence we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// After ESC `[`, with the number so far.
    Bracket(u16),
    /// After ESC `O`.
    Letter,
}

/// The line being typed.
pub struct Editor {
    prompt: String,
    /// Columns that the prompt takes: it may hold colours.
    prompt_columns: usize,
    columns: usize,
    line: Vec<char>,
    cursor: usize,
    escape: Escape,
    /// Bytes of a character that is not complete.
    partial: Vec<u8>,
    history: VecDeque<String>,
    /// How far back in the history the line is; zero for the line being typed.
    back: usize,
    /// The line being typed, while the history is shown.
    typed: Vec<char>,
    after_return: bool,
}

impl Editor {
    /// An editor for a terminal so many columns wide, until it says otherwise.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self {
            prompt: String::new(),
            prompt_columns: 0,
            columns: columns.max(COLUMNS_MIN),
            line: Vec::new(),
            cursor: 0,
            escape: Escape::None,
            partial: Vec::new(),
            history: VecDeque::new(),
            back: 0,
            typed: Vec::new(),
            after_return: false,
        }
    }

    /// Sets what stands before the line: `text`, in `columns` columns.
    pub fn set_prompt(&mut self, text: &str, columns: usize) {
        self.prompt = text.to_string();
        self.prompt_columns = columns;
    }

    /// Takes a byte that was typed; appends what to print to `out`.
    pub fn feed(&mut self, byte: u8, out: &mut Vec<u8>) -> Input {
        // A terminal that sends CR LF means one end of line.
        let line_feed_of_pair = core::mem::take(&mut self.after_return) && byte == b'\n';
        if line_feed_of_pair {
            return Input::Nothing;
        }
        match self.escape {
            Escape::None => self.key(byte, out),
            _ => {
                self.escape_key(byte, out);
                Input::Nothing
            }
        }
    }

    /// Prints prompt and line, with the cursor in its place, over whatever is in the current line.
    pub fn draw(&self, out: &mut Vec<u8>) {
        let room = self.columns.saturating_sub(self.prompt_columns + 1).max(1);
        // Shown is a window of the line that the cursor is in.
        let start = if self.cursor < room {
            0
        } else {
            self.cursor - room + 1
        };
        let end = self.line.len().min(start + room);
        let mut shown = self.line[start..end].to_vec();
        if start > 0 && self.cursor > start {
            shown[0] = '<';
        }
        if end < self.line.len() && self.cursor + 1 < end {
            shown[end - start - 1] = '>';
        }
        let shown = String::from_iter(shown);
        out.extend_from_slice(format!("\r{}{shown}\x1b[K", self.prompt).as_bytes());
        match end - self.cursor {
            0 => {}
            left => out.extend_from_slice(format!("\x1b[{left}D").as_bytes()),
        }
    }

    /// Takes prompt and line off the screen, so that something else can be printed there.
    pub fn hide(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\x1b[K");
    }

    /// Forgets the line, not the history.
    pub fn clear(&mut self) {
        self.line.clear();
        self.typed.clear();
        self.cursor = 0;
        self.back = 0;
        self.partial.clear();
        self.escape = Escape::None;
    }

    fn key(&mut self, byte: u8, out: &mut Vec<u8>) -> Input {
        match byte {
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                return self.finish(out);
            }
            0x03 => {
                out.extend_from_slice(b"^C\r\n");
                self.clear();
                return Input::Interrupt;
            }
            0x04 if self.line.is_empty() => return Input::End,
            0x1b => self.escape = Escape::Begun,
            0x01 => self.move_to(0, out),
            0x02 => self.move_to(self.cursor.saturating_sub(1), out),
            0x04 => self.delete(out),
            0x05 => self.move_to(self.line.len(), out),
            0x06 => self.move_to(self.cursor + 1, out),
            0x08 | 0x7f => self.backspace(out),
            0x0b => {
                self.line.truncate(self.cursor);
                self.draw(out);
            }
            0x0c => {
                out.extend_from_slice(b"\x1b[2J\x1b[H");
                self.draw(out);
            }
            0x0e => self.browse(-1, out),
            0x10 => self.browse(1, out),
            0x15 => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
                self.draw(out);
            }
            0x17 => self.delete_word(out),
            byte if byte < 0x20 => {}
            byte => self.character(byte, out),
        }
        Input::Nothing
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Input {
        out.extend_from_slice(b"\r\n");
        let line: String = self.line.iter().collect();
        self.clear();
        let worth = !line.trim().is_empty() && self.history.back() != Some(&line);
        if worth {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Input::Line(line)
    }

    fn escape_key(&mut self, byte: u8, out: &mut Vec<u8>) {
        let escape = core::mem::replace(&mut self.escape, Escape::None);
        match (escape, byte) {
            (Escape::Begun, b'[') => self.escape = Escape::Bracket(0),
            (Escape::Begun, b'O') => self.escape = Escape::Letter,
            (Escape::Bracket(number), b'0'..=b'9') => {
                let digit = u16::from(byte - b'0');
                self.escape = Escape::Bracket(number.saturating_mul(10).saturating_add(digit));
            }
            // Modifiers, as in `ESC [ 1 ; 5 C`, make no difference.
            (Escape::Bracket(_), b';') => self.escape = Escape::Bracket(0),
            (Escape::Bracket(_) | Escape::Letter, b'A') => self.browse(1, out),
            (Escape::Bracket(_) | Escape::Letter, b'B') => self.browse(-1, out),
            (Escape::Bracket(_) | Escape::Letter, b'C') => self.move_to(self.cursor + 1, out),
            (Escape::Bracket(_) | Escape::Letter, b'D') => {
                self.move_to(self.cursor.saturating_sub(1), out);
            }
            (Escape::Bracket(_) | Escape::Letter, b'H') | (Escape::Bracket(1 | 7), b'~') => {
                self.move_to(0, out);
            }
            (Escape::Bracket(_) | Escape::Letter, b'F') | (Escape::Bracket(4 | 8), b'~') => {
                self.move_to(self.line.len(), out);
            }
            (Escape::Bracket(3), b'~') => self.delete(out),
            (Escape::Bracket(column), b'R') => {
                self.columns = usize::from(column).max(COLUMNS_MIN);
                self.draw(out);
            }
            _ => {}
        }
    }

    fn move_to(&mut self, place: usize, out: &mut Vec<u8>) {
        self.cursor = place.min(self.line.len());
        self.draw(out);
    }

    fn character(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.partial.push(byte);
        match core::str::from_utf8(&self.partial) {
            Ok(text) => {
                let character = text.chars().next();
                self.partial.clear();
                if let Some(character) = character.filter(|_| self.line.len() < LINE_MAX) {
                    self.insert(character, out);
                }
            }
            Err(error) if error.error_len().is_some() => self.partial.clear(),
            Err(_) => {}
        }
    }

    fn insert(&mut self, character: char, out: &mut Vec<u8>) {
        self.line.insert(self.cursor, character);
        self.cursor += 1;
        let fits = self.prompt_columns + self.line.len() + 1 < self.columns;
        if self.cursor == self.line.len() && fits {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.draw(out);
        }
    }

    fn backspace(&mut self, out: &mut Vec<u8>) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.delete(out);
        }
    }

    fn delete(&mut self, out: &mut Vec<u8>) {
        if self.cursor < self.line.len() {
            self.line.remove(self.cursor);
        }
        self.draw(out);
    }

    fn delete_word(&mut self, out: &mut Vec<u8>) {
        let before = &self.line[..self.cursor];
        let word_end = before
            .iter()
            .rposition(|it| !it.is_whitespace())
            .map_or(0, |at| at + 1);
        let start = before[..word_end].iter().rposition(|it| it.is_whitespace());
        let start = start.map_or(0, |at| at + 1);
        self.line.drain(start..self.cursor);
        self.cursor = start;
        self.draw(out);
    }

    /// Goes back (1) or forth (-1) in the history.
    fn browse(&mut self, step: isize, out: &mut Vec<u8>) {
        let Some(back) = self.back.checked_add_signed(step) else {
            return;
        };
        if back > self.history.len() {
            return;
        }
        if self.back == 0 {
            self.typed = self.line.clone();
        }
        self.back = back;
        self.line = match back {
            0 => core::mem::take(&mut self.typed),
            back => self.history[self.history.len() - back].chars().collect(),
        };
        self.cursor = self.line.len();
        self.draw(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen of one line, as much of a terminal as the editor needs.
    fn screen(printed: &[u8]) -> (String, usize) {
        let (mut row, mut column): (Vec<char>, usize) = (Vec::new(), 0);
        let text = core::str::from_utf8(printed).expect("text");
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\r' => column = 0,
                '\n' => row.clear(),
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['));
                    let rest: String = characters.as_str().into();
                    let end = rest
                        .find(|it: char| it.is_ascii_alphabetic())
                        .expect("an end");
                    match &rest[..=end] {
                        "K" => row.truncate(column),
                        "2J" | "H" => (row, column) = (Vec::new(), 0),
                        left if left.ends_with('D') => {
                            column -= left[..end].parse::<usize>().expect("a number");
                        }
                        other => panic!("{other}"),
                    }
                    characters = text[text.len() - rest.len() + end + 1..].chars();
                }
                other => {
                    row.resize(row.len().max(column + 1), ' ');
                    row[column] = other;
                    column += 1;
                }
            }
        }
        (row.into_iter().collect(), column)
    }

    struct Session {
        editor: Editor,
        printed: Vec<u8>,
    }

    impl Session {
        fn new() -> Self {
            let mut editor = Editor::new(40);
            editor.set_prompt("> ", 2);
            let mut printed = Vec::new();
            editor.draw(&mut printed);
            Self { editor, printed }
        }

        fn keys(&mut self, keys: &str) -> Vec<Input> {
            let feed = |byte| self.editor.feed(byte, &mut self.printed);
            keys.bytes()
                .map(feed)
                .filter(|input| *input != Input::Nothing)
                .collect()
        }

        /// Types, checks that the screen shows the line, and returns the line.
        fn line(&mut self, keys: &str) -> String {
            assert_eq!(self.keys(keys), []);
            let line: String = self.editor.line.iter().collect();
            let (row, column) = screen(&self.printed);
            assert_eq!(row, format!("> {line}"), "after {keys:?}");
            assert_eq!(column, 2 + self.editor.cursor, "after {keys:?}");
            line
        }
    }

    #[test]
    fn every_key_edits_what_the_screen_shows() {
        let mut session = Session::new();
        for (keys, line) in [
            ("helo", "helo"),
            ("\x1b[D", "helo"),
            ("l", "hello"),
            ("\x1b[H", "hello"),
            (">", ">hello"),
            ("\x1b[F!", ">hello!"),
            ("\x7f\x08", ">hell"),
            ("\x01\x1b[3~", "hell"),
            ("\x06\x06\x0b", "he"),
            ("\x05 wörld x", "he wörld x"),
            ("\x02\x02\x7f", "he wörl x"),
            ("\x17", "he  x"),
            ("\x15", " x"),
            ("\x1b[1;5C\x1b[C\x1b[C", " x"),
            ("\x1bOD\x04", " "),
            ("\x0c", " "),
            ("\x1b[99~\x1b[Z\x1bq\x00\x1f", " "),
        ] {
            assert_eq!(session.line(keys), line, "after {keys:?}");
        }
    }

    #[test]
    fn lines_come_out_whole_whatever_ends_them() {
        let mut session = Session::new();
        let line = |text: &str| Input::Line(text.into());
        assert_eq!(
            session.keys("ab\x1b[Dc\r\nd\re\n\n"),
            [line("acb"), line("d"), line("e"), line("")]
        );
        assert_eq!(
            session.keys("lost\x03kept\r"),
            [Input::Interrupt, line("kept")]
        );
        assert_eq!(session.keys("\x04"), [Input::End]);
    }

    #[test]
    fn history_is_gone_through_and_the_typed_line_kept() {
        let mut session = Session::new();
        session.keys("one\rtwo\rtwo\r  \r");
        session.editor.draw(&mut session.printed);
        assert_eq!(session.line("new"), "new");
        assert_eq!(session.line("\x1b[A"), "two");
        assert_eq!(session.line("\x1b[A"), "one");
        assert_eq!(session.line("\x1b[A"), "one");
        assert_eq!(session.line("\x1b[B\x0e"), "new");
        assert_eq!(session.line("\x1b[B"), "new");
        assert_eq!(session.keys("\x10\r"), [Input::Line("two".into())]);
    }

    #[test]
    fn a_long_line_shows_the_part_around_the_cursor() {
        let mut session = Session::new();
        let keys: String = (0..60).map(|index| char::from(b'a' + index % 26)).collect();
        session.keys(&keys);
        let (row, column) = screen(&session.printed);
        assert!(row.len() < 40 && row.ends_with(&keys[50..]), "{row}");
        assert!(row.starts_with("> <"), "{row}");
        assert_eq!(column, row.len());
        session.keys("\x01");
        let (row, column) = screen(&session.printed);
        assert!(row.starts_with("> abcdef") && row.len() < 40, "{row}");
        assert!(row.ends_with('>'), "{row}");
        assert_eq!(column, 2);
    }

    #[test]
    fn the_terminal_says_how_wide_it_is() {
        let mut session = Session::new();
        let keys: String = (0..60).map(|index| char::from(b'a' + index % 26)).collect();
        session.keys(&keys);
        for (report, columns) in [("\x1b[24;30R", 30), ("\x1b[1;200R", 200), ("\x1b[1;1R", 20)] {
            assert_eq!(session.keys(report), []);
            let (row, column) = screen(&session.printed);
            assert_eq!(row.len(), columns.min(2 + 60 + 2) - 2, "{row}");
            assert_eq!(column, row.len());
        }
    }

    #[test]
    fn bounds_hold_against_a_flood() {
        let mut session = Session::new();
        session.keys(&"x".repeat(5000));
        assert_eq!(session.editor.line.len(), LINE_MAX);
        let lines: String = (0..500).map(|number| format!("{number}\r")).collect();
        session.keys(&lines);
        assert_eq!(session.editor.history.len(), HISTORY_MAX);
        let mut out = Vec::new();
        for byte in 0..=255 {
            session.editor.feed(byte, &mut out);
        }
    }

    #[test]
    fn hidden_and_drawn_again_it_is_where_it_was() {
        let mut session = Session::new();
        session.keys("abc\x1b[D");
        let before = screen(&session.printed);
        session.editor.hide(&mut session.printed);
        session.printed.extend_from_slice(b"a log record\r\n");
        session.editor.draw(&mut session.printed);
        assert_eq!(screen(&session.printed), before);
    }
}
