//! Records of the kernel's log: `time_ns level role text`.

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Time since boot, nanoseconds.
    pub time_ns: u64,
    /// 1 error, 2 warning, 3 information, 4 debugging, 5 tracing; 0 an event for programs.
    pub level: u8,
    /// Who wrote it.
    pub task: &'a str,
    /// What; for an event, a JSON object.
    pub text: &'a str,
}

/// Names of the levels, by number.
pub const LEVELS: [&str; 6] = ["event", "error", "warn", "info", "debug", "trace"];

impl<'a> Record<'a> {
    /// Reads a line.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(4, ' ');
        let time_ns = parts.next()?.parse().ok()?;
        let level = parts
            .next()?
            .parse()
            .ok()
            .filter(|&level| level < LEVELS.len() as u8)?;
        Some(Self {
            time_ns,
            level,
            task: parts.next()?,
            text: parts.next().unwrap_or(""),
        })
    }

    /// The level's name.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        LEVELS.get(usize::from(self.level)).unwrap_or(&"?")
    }
}

/// The level of that name, or none for `off`; an error says what was expected.
pub fn level(name: &str) -> Result<u8, &'static str> {
    match name {
        "off" => Ok(0),
        name => LEVELS
            .iter()
            .skip(1)
            .position(|&level| level == name)
            .map(|place| place as u8 + 1)
            .ok_or("one of off, error, warn, info, debug, trace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_others_refused() {
        let record = Record::parse("1500 2 twinfs.1 two  spaces").expect("a record");
        let expected = Record {
            time_ns: 1500,
            level: 2,
            task: "twinfs.1",
            text: "two  spaces",
        };
        assert_eq!(record, expected);
        assert_eq!(record.level_name(), "warn");
        assert_eq!(
            Record::parse("1 3 kernel").map(|record| record.text),
            Some("")
        );
        for line in ["", "x 1 kernel a", "1 9 kernel a", "1 -1 kernel a", "1 2"] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
        assert_eq!(
            (level("off"), level("error"), level("trace")),
            (Ok(0), Ok(1), Ok(5))
        );
        assert!(level("event").is_err());
    }
}
