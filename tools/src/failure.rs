//! Why `galago` failed, as a user and a script need to know it: one line, and one exit status a kind.

/// A failure with an exit status of its own. Anything else that goes wrong counts as the host's.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for ran, and did not hold: a command failed, a test failed, a hash differs.
    #[error("{0}")]
    Check(String),
    /// The request makes no sense: an unknown stack, a missing file, options that contradict.
    #[error("{0}")]
    Usage(String),
    /// The host lacks something, or denies it: QEMU, a compiler, space, a file.
    #[error("{0}")]
    Host(String),
    /// The guest hung, panicked, reset itself or ended too early.
    #[error("{what}")]
    Guest {
        /// What happened, in one line.
        what: String,
        /// The last lines of its console.
        tail: Vec<String>,
    },
}

impl Failure {
    /// The exit status of the program; `0` and `2` (usage, as clap has it) follow the custom.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Usage(_) => 2,
            Self::Host(_) => 3,
            Self::Guest { .. } => 4,
        }
    }

    /// The exit status that an error of any origin leads to.
    #[must_use]
    pub fn status_of(error: &anyhow::Error) -> u8 {
        error.downcast_ref::<Self>().map_or(3, Self::exit_status)
    }
}

/// Why a file could not be had, without the number that the host has for it.
#[must_use]
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn reasons_are_words() {
        let error = std::fs::read("/no/such/file").unwrap_err();
        assert_eq!(reason(&error), "no such file or directory");
    }

    #[test]
    fn a_script_can_tell_failures_apart_even_under_context() {
        let hung = Failure::Guest {
            what: "the guest hung".into(),
            tail: vec![],
        };
        assert_eq!(
            Failure::status_of(&anyhow::Error::new(hung).context("demo")),
            4
        );
        let check: anyhow::Result<()> = Err(Failure::Check("1 failed".into()).into());
        assert_eq!(Failure::status_of(&check.context("test").unwrap_err()), 1);
        assert_eq!(Failure::status_of(&anyhow::anyhow!("no space")), 3);
    }
}
