//! The words after a command's name: flags, `key=value` pairs, and the rest in order.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// What a command takes.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// Letters of flags, such as `lr` for `-l` and `-r`.
    pub flags: &'static str,
    /// Keys of pairs.
    pub keys: &'static [&'static str],
    /// Fewest other words.
    pub words_min: usize,
    /// Most other words.
    pub words_max: usize,
}

/// The words of one command, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    flags: String,
    pairs: Vec<(String, String)>,
    /// The other words.
    pub words: Vec<String>,
}

impl Takes {
    /// A command that takes so many words and nothing else.
    #[must_use]
    pub const fn words(min: usize, max: usize) -> Self {
        Self {
            flags: "",
            keys: &[],
            words_min: min,
            words_max: max,
        }
    }

    /// And these flags.
    #[must_use]
    pub const fn flags(self, flags: &'static str) -> Self {
        Self { flags, ..self }
    }

    /// And pairs with these keys.
    #[must_use]
    pub const fn keys(self, keys: &'static [&'static str]) -> Self {
        Self { keys, ..self }
    }

    /// Sorts the words after the command's name; what does not fit is named.
    ///
    /// `--` makes plain words of all that follow. Pairs are recognised only by commands that take
    /// any, and only if the part before `=` could be a key: text with `=` in it stays a word.
    pub fn parse(&self, words: &[String]) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        let mut plain = false;
        for word in words {
            let pair = word
                .split_once('=')
                .filter(|(key, _)| is_key(key) && !self.keys.is_empty());
            match (
                word.strip_prefix('-').filter(|letters| !letters.is_empty()),
                pair,
            ) {
                _ if plain => arguments.words.push(word.clone()),
                (Some("-"), _) => plain = true,
                (Some(letters), _) if !self.flags.is_empty() => {
                    if letters.starts_with('-') {
                        return Err(format!("there is no {word}"));
                    }
                    if let Some(letter) = letters.chars().find(|&it| !self.flags.contains(it)) {
                        return Err(format!("there is no -{letter}"));
                    }
                    arguments.flags.push_str(letters);
                }
                (_, Some((key, _))) if arguments.value(key).is_some() => {
                    return Err(format!("{key}= is there twice"));
                }
                (_, Some((key, value))) => {
                    arguments.pairs.push((key.to_string(), value.to_string()));
                }
                _ => arguments.words.push(word.clone()),
            }
        }
        arguments.check_keys(self.keys)?;
        let count = arguments.words.len();
        if count < self.words_min {
            return Err("there is a word too few".into());
        }
        if count > self.words_max {
            return Err(format!(
                "`{}` is a word too many",
                arguments.words[self.words_max]
            ));
        }
        Ok(arguments)
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl Arguments {
    /// Whether the flag was given.
    #[must_use]
    pub fn flag(&self, letter: char) -> bool {
        self.flags.contains(letter)
    }

    /// That all keys given are among these, of those that the command takes; one that is not is named.
    pub fn check_keys(&self, keys: &[&str]) -> Result<(), String> {
        let other = |(key, _): &&(String, String)| !keys.contains(&key.as_str());
        match self.pairs.iter().find(other) {
            Some((key, _)) => Err(format!("there is no {key}=")),
            None => Ok(()),
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key, read by `parse`; an error names the key and what was expected.
    pub fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        self.value(key)
            .map(|text| {
                parse(text).map_err(|expected| format!("{key}={text}: expected {expected}"))
            })
            .transpose()
    }

    /// A word by its place.
    #[must_use]
    pub fn word(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{duration_ns, number};

    fn parse(takes: Takes, line: &str) -> Result<Arguments, String> {
        let words: Vec<_> = line.split_whitespace().map(ToString::to_string).collect();
        takes.parse(&words)
    }

    #[test]
    fn flags_pairs_and_words_are_sorted() {
        let takes = Takes::words(0, 2).flags("lr").keys(&["every", "count"]);
        let arguments = parse(takes, "-l a every=200ms -r b count=2").expect("fits");
        assert!(arguments.flag('l') && arguments.flag('r'));
        assert_eq!(arguments.words, ["a", "b"]);
        assert_eq!(
            arguments.parsed("every", duration_ns),
            Ok(Some(200_000_000))
        );
        assert_eq!(arguments.parsed("count", number), Ok(Some(2)));
        assert_eq!(arguments.parsed("seed", number), Ok(None));
        assert!(parse(takes, "-lr").expect("fits").flag('r'));
    }

    #[test]
    fn text_that_looks_like_an_option_can_be_written() {
        let takes = Takes::words(0, 3).flags("a");
        assert_eq!(
            parse(takes, "x=y -- -a").expect("fits").words,
            ["x=y", "-a"]
        );
        assert_eq!(parse(takes, "-").expect("fits").words, ["-"]);
        assert_eq!(parse(Takes::words(0, 1), "-5").expect("fits").words, ["-5"]);
        let takes = takes.keys(&["b"]);
        assert_eq!(parse(takes, "/a=b").expect("fits").words, ["/a=b"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let takes = Takes::words(1, 2).flags("l").keys(&["every"]);
        for (line, part) in [
            ("-x a", "-x"),
            ("--long a", "--long"),
            ("ever=1 a", "ever="),
            ("", "too few"),
            ("a b c", "`c`"),
            ("a every=1s every=2s", "every= is there twice"),
        ] {
            let message = parse(takes, line).expect_err(line);
            assert!(message.contains(part), "{message}");
        }
        let arguments = parse(takes, "a every=soon").expect("fits");
        let message = arguments
            .parsed("every", duration_ns)
            .expect_err("no duration");
        assert_eq!(
            message,
            "every=soon: expected a duration such as 200ms or 5s"
        );
    }
}
