//! PostMark as what goes on in the guest. What it leaves the guest itself checks, from the same parameters.

use anyhow::Result;

use super::subject::{Subject, succeeded};
use crate::guest::{Done, Event};

/// Has what is verified be read a file at a call: every byte of it, with as few calls as that takes.
pub const WHOLE_FILES: &str = "read=32k";

/// A PostMark that is done and synced before another one begins.
const SYNCED: &str = "files=30 transactions=20";

/// What every PostMark has here.
const ALWAYS: &str = "size=4k-28k subdirectories=4 keep=true";

/// PostMark at work.
pub struct Postmark {
    top: String,
    parameters: String,
    /// Parameters and directory of one that was synced before.
    synced: Option<(String, String)>,
    id: u64,
    done: Option<Done>,
}

impl Postmark {
    /// Begins one of this size in the directory `top`; with `synced`, after another one that is on the disks.
    pub fn begin(subject: &mut Subject, top: &str, size: &str, synced: bool) -> Result<Self> {
        let parameters = |top: &str, size: &str| format!("{size} {ALWAYS} location={top}");
        let synced = synced.then(|| format!("{top}s"));
        let synced = synced.map(|top| (parameters(&top, SYNCED), top));
        if let Some((parameters, _)) = &synced {
            subject.run(&format!("bench postmark {parameters}"))?;
            subject.run("sync")?;
        }
        let parameters = parameters(top, size);
        let id = subject
            .guest
            .start(&format!("bench postmark {parameters}"))?;
        Ok(Self {
            top: top.to_owned(),
            parameters,
            synced,
            id,
            done: None,
        })
    }

    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        self.done = self.done.take().or_else(|| event.done(self.id));
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.done.is_some()
    }

    /// Looks whether it went well and everything is there. `cut_short`: its own task was killed, so that it could not come to its end.
    pub fn verify(&self, subject: &mut Subject, cut_short: bool) -> Result<()> {
        self.verify_synced(subject)?;
        match &self.done {
            // It may have died before it had made a directory.
            Some(done) if !done.ok && cut_short => self.verify_found(subject),
            Some(done) if !done.ok => succeeded("bench postmark", done.clone()).map(drop),
            _ => subject.verify_postmark(&format!("{} {WHOLE_FILES}", self.parameters)),
        }
    }

    /// Looks whether all is there of what was synced before this one began.
    fn verify_synced(&self, subject: &mut Subject) -> Result<()> {
        match &self.synced {
            Some((parameters, _)) => {
                subject.verify_postmark(&format!("{parameters} {WHOLE_FILES}"))
            }
            None => Ok(()),
        }
    }

    /// Looks whether what is there is right, where a part of it may be missing.
    fn verify_found(&self, subject: &mut Subject) -> Result<()> {
        if subject.exists(&self.top)? {
            subject.verify_postmark(&format!("found {} {WHOLE_FILES}", self.parameters))?;
        }
        Ok(())
    }

    /// Files with blocks that cannot be read are counted and removed; the others must be right.
    pub fn verify_after_cut(&self, subject: &mut Subject) -> Result<u64> {
        self.verify_synced(subject)?;
        let mut unreadable = 0;
        let any_bad = subject.heard.resync.is_some_and(|resync| resync.bad > 0);
        if any_bad && subject.exists(&self.top)? {
            for line in subject.output(&format!("blocks {}", self.top))? {
                let bad = line.matches('!').count() as u64;
                if bad > 0 {
                    unreadable += bad;
                    let name = line.rsplit(' ').next().unwrap_or_default();
                    subject.run(&format!("rm {}/{name}", self.top))?;
                }
            }
        }
        self.verify_found(subject)?;
        Ok(unreadable)
    }

    /// Removes what it left.
    pub fn remove(self, subject: &mut Subject) -> Result<()> {
        let synced = self.synced.map(|(_, top)| top);
        for top in synced.iter().chain([&self.top]) {
            if subject.exists(top)? {
                subject.run(&format!("rm -r {top}"))?;
            }
        }
        Ok(())
    }
}
