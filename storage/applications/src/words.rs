//! Splits a line into commands and words.
//!
//! Words are separated by spaces, commands by `;`. Quotes of either kind keep both in a word, and a
//! backslash takes the next character as it is (not within single quotes). `#` at the beginning of a
//! word starts a comment. There is nothing else: no variables, no patterns, no pipes.

use alloc::{string::String, vec::Vec};

/// Words that a command may have.
pub const WORDS_MAX: usize = 64;

/// Why a line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// A quote is not closed.
    OpenQuote(char),
    /// A backslash ends the line.
    OpenBackslash,
    /// More than [`WORDS_MAX`] words in a command.
    TooManyWords,
}

impl core::fmt::Display for BadLine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OpenQuote(quote) => write!(f, "expected a closing {quote}"),
            Self::OpenBackslash => f.write_str("expected a character after the backslash"),
            Self::TooManyWords => write!(f, "expected at most {WORDS_MAX} words"),
        }
    }
}

/// The commands of a line, each with at least one word.
pub fn split(line: &str) -> Result<Vec<Vec<String>>, BadLine> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '#' if word.is_none() => break,
            ';' => {
                words.extend(word.take());
                if !words.is_empty() {
                    commands.push(core::mem::take(&mut words));
                }
            }
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                quoted(character, &mut characters, word)?;
            }
            '\\' => {
                let next = characters.next().ok_or(BadLine::OpenBackslash)?;
                word.get_or_insert_default().push(next);
            }
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
        if words.len() > WORDS_MAX {
            return Err(BadLine::TooManyWords);
        }
    }
    words.extend(word);
    if words.len() > WORDS_MAX {
        return Err(BadLine::TooManyWords);
    }
    if !words.is_empty() {
        commands.push(words);
    }
    Ok(commands)
}

fn quoted(
    quote: char,
    characters: &mut core::str::Chars<'_>,
    word: &mut String,
) -> Result<(), BadLine> {
    while let Some(character) = characters.next() {
        match character {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => word.push(characters.next().ok_or(BadLine::OpenQuote(quote))?),
            other => word.push(other),
        }
    }
    Err(BadLine::OpenQuote(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_commands_are_told_apart() {
        for (line, expected) in [
            ("", &[][..]),
            ("  # nothing", &[]),
            ("ls", &[&["ls"][..]]),
            ("ls -l  /a", &[&["ls", "-l", "/a"]]),
            (
                "mkdir a;ls ; ; sync",
                &[&["mkdir", "a"], &["ls"], &["sync"]],
            ),
            ("write a 'b;  c' # d", &[&["write", "a", "b;  c"]]),
            ("write \"a b\"c ''", &[&["write", "a bc", ""]]),
            (
                r#"write a\ b \" "\"" '\'"#,
                &[&["write", "a b", "\"", "\"", "\\"]],
            ),
            ("write a#b", &[&["write", "a#b"]]),
        ] {
            assert_eq!(split(line).expect(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_left_open_is_said() {
        assert_eq!(split("write 'a"), Err(BadLine::OpenQuote('\'')));
        assert_eq!(split("write \"a"), Err(BadLine::OpenQuote('"')));
        assert_eq!(split("write \"a\\"), Err(BadLine::OpenQuote('"')));
        assert_eq!(split("write a\\"), Err(BadLine::OpenBackslash));
        assert_eq!(split(&"a ".repeat(65)), Err(BadLine::TooManyWords));
        assert!(split(&"a ".repeat(64)).is_ok());
    }
}
