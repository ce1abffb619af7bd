//! From TOML to tasks: the words of the format, each checked by itself.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::Deserialize;

use crate::{Mistake, Right, Role, Stack, Task, values};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    task: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    program: String,
    role: Role,
    #[serde(default)]
    calls: Vec<String>,
    device: Option<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    interrupts: Vec<u8>,
    #[serde(default)]
    rights: Vec<Right>,
    quota: String,
    #[serde(default)]
    arguments: String,
    #[serde(default)]
    optional: bool,
    restart: Option<bool>,
}

/// Reads a description. Values that make no sense are mistakes and replaced by harmless ones, so
/// that the rest is checked too; what is no description at all is the only mistake there is.
pub fn read(text: &str) -> Result<(Stack, Vec<Mistake>), Vec<Mistake>> {
    let file: File = toml::from_str(text).map_err(|error| {
        let text = error.to_string();
        // TOML's message shows the place in several lines; the first and the last say it.
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let text = match (lines.first(), lines.last()) {
            (Some(first), Some(last)) if lines.len() > 1 => format!("{first}: {last}"),
            _ => text.trim().into(),
        };
        alloc::vec![Mistake::general(text)]
    })?;
    let mut mistakes = Vec::new();
    let tasks = file
        .task
        .into_iter()
        .map(|entry| entry.into_task(&mut mistakes))
        .collect();
    Ok((Stack { tasks }, mistakes))
}

impl Entry {
    fn into_task(self, mistakes: &mut Vec<Mistake>) -> Task {
        let mut note = |text: String| mistakes.push(Mistake::of(&self.name, text));
        let quota_pages = values::quota_pages(&self.quota).unwrap_or_else(|text| {
            note(format!("quota: {text}"));
            values::QUOTA_PAGES_MIN
        });
        let device = self.device.and_then(|text| {
            values::device(&text)
                .map_err(|text| note(format!("device: {text}")))
                .ok()
        });
        let ports = self
            .ports
            .iter()
            .filter_map(|text| {
                values::ports(text)
                    .map_err(|text| note(format!("ports: {text}")))
                    .ok()
            })
            .collect();
        Task {
            program: self.program,
            role: self.role,
            calls: self.calls,
            device,
            ports,
            interrupts: self.interrupts,
            rights: self.rights,
            quota_pages,
            arguments: self.arguments,
            optional: self.optional,
            restart: self.restart.unwrap_or(self.role != Role::Application),
            name: self.name,
        }
    }
}
