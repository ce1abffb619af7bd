//! Appends that are made durable as they come, as a log or a mail server makes them: what an `fsync`
//! costs whoever waits for it.
//!
//! ```text
//! files, empty → sync → ( append × writes → fsync of that file ) × count → delete
//!                        ╰──── of one file, then the next ────╯
//! ```
//!
//! What is in a file are PostMark's contents ([`Content`]), so that whoever looks after a crash can tell
//! whether all that was answered is there.

#[cfg(test)]
mod tests;

use alloc::{format, string::String, vec, vec::Vec};

use serde::Serialize;
use storage::{
    Error,
    clock::Clock,
    vfs::{Descriptor, FileSystem, OpenFlags},
};

use crate::{Go, postmark::Content, tree::write_all};

/// Most times that something is made durable in a run.
pub const COUNT_MAX: u32 = 100_000;
/// Most appends before it.
pub const WRITES_MAX: u32 = 10_000;
/// Most bytes of one append.
pub const SIZE_MAX: u32 = 1 << 20;
/// Most files: each stays open.
pub const FILES_MAX: u32 = 64;

/// What makes appends durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// `fsync` of the file.
    Fsync,
    /// `sync` of everything.
    Sync,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// How often something is made durable.
    pub count: u32,
    /// Appends before each time.
    pub writes: u32,
    /// Bytes of an append.
    pub size: u32,
    /// Files that are appended to by turns.
    pub files: u32,
    /// By which call.
    pub with: With,
    /// Of the contents.
    pub seed: u32,
    /// A directory that is not there yet.
    pub location: String,
    /// Whether the files stay.
    pub keep: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            count: 100,
            writes: 1,
            size: 4096,
            files: 1,
            with: With::Fsync,
            seed: 1,
            location: "/fsync".into(),
            keep: false,
        }
    }
}

impl Parameters {
    /// What is wrong with them, if anything is.
    ///
    /// # Errors
    /// In words, for the user.
    pub fn check(&self) -> Result<(), String> {
        let bounds = [
            ("count", self.count, COUNT_MAX),
            ("writes", self.writes, WRITES_MAX),
            ("size", self.size, SIZE_MAX),
            ("files", self.files, FILES_MAX),
        ];
        for (name, value, most) in bounds {
            if !(1..=most).contains(&value) {
                return Err(format!("{name}: expected 1 to {most}"));
            }
        }
        if self.location.len() < 2 || !self.location.starts_with('/') {
            return Err("location: expected the path of a directory".into());
        }
        Ok(())
    }
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Times that something was made durable.
    pub count: u32,
    /// Bytes appended.
    pub bytes: u64,
    /// All of it, nanoseconds.
    pub total_ns: u64,
    /// The appends alone.
    pub appends_ns: u64,
    /// Half of the calls that made durable took no longer.
    pub median_ns: u64,
    /// Ninety-nine of a hundred took no longer.
    pub p99_ns: u64,
    /// None took longer.
    pub max_ns: u64,
}

/// Appends and makes durable; `progress` is told how often that has been done.
///
/// `parameters` must have been checked. A run that is stopped removes nothing.
///
/// # Errors
/// What failed and why; the files stay.
pub async fn run<F: FileSystem>(
    system: &F,
    clock: &impl Clock,
    parameters: &Parameters,
    progress: &mut dyn FnMut(u32) -> Go,
) -> Result<Report, String> {
    let Parameters { location, .. } = parameters;
    let about = |what: &str| {
        let what = format!("{what} {location}");
        move |error: Error| format!("{what}: {error}")
    };
    let made = system.mkdir(location.as_bytes(), 0o755).await;
    made.map_err(about("mkdir"))?;
    let mut files = Vec::new();
    for number in 0..parameters.files {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND;
        let path = path(location, number);
        let opened = system.open(path.as_bytes(), flags, 0o644).await;
        files.push(opened.map_err(about("create a file in"))?);
    }
    let appended = match system.sync().await {
        Ok(_) => append(system, clock, parameters, &files, progress).await,
        Err(error) => Err(error),
    };
    for descriptor in files {
        system.close(descriptor).await.map_err(about("close in"))?;
    }
    let report = appended.map_err(about("append in"))?;
    if !parameters.keep && report.count == parameters.count {
        for number in 0..parameters.files {
            let gone = system.unlink(path(location, number).as_bytes()).await;
            gone.map_err(about("remove in"))?;
        }
        let gone = system.rmdir(location.as_bytes()).await;
        gone.map_err(about("rmdir"))?;
    }
    Ok(report)
}

fn path(location: &str, number: u32) -> String {
    format!("{location}/{number}")
}

async fn append<F: FileSystem>(
    system: &F,
    clock: &impl Clock,
    parameters: &Parameters,
    files: &[Descriptor],
    progress: &mut dyn FnMut(u32) -> Go,
) -> storage::Result<Report> {
    let mut report = Report::default();
    let mut times_ns = Vec::new();
    let mut data = vec![0; parameters.size as usize];
    let mut lengths = vec![0; files.len()];
    let begun = clock.now_ns();
    for (number, &descriptor) in (0..).zip(files).cycle().take(parameters.count as usize) {
        let content = Content::new(parameters.seed, number);
        let length: &mut u64 = &mut lengths[number as usize];
        let appends_begun = clock.now_ns();
        for _ in 0..parameters.writes {
            content.fill(*length, &mut data);
            write_all(system, descriptor, None, &data).await?;
            *length += data.len() as u64;
        }
        let appended = clock.now_ns();
        match parameters.with {
            With::Fsync => system.fsync(descriptor).await?,
            With::Sync => drop(system.sync().await?),
        }
        times_ns.push(clock.now_ns().saturating_sub(appended));
        report.appends_ns += appended.saturating_sub(appends_begun);
        report.count += 1;
        if progress(report.count) == Go::Stop {
            break;
        }
    }
    report.total_ns = clock.now_ns().saturating_sub(begun);
    report.bytes = lengths.iter().sum();
    times_ns.sort_unstable();
    if let Some(last) = times_ns.len().checked_sub(1) {
        report.median_ns = times_ns[last / 2];
        report.p99_ns = times_ns[(last * 99).div_ceil(100)];
        report.max_ns = times_ns[last];
    }
    Ok(report)
}
