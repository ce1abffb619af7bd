//! What a guest tells while an experiment goes on: deaths, recoveries, replays, errors.

use super::record::{Cut, Replay, Resync};
use crate::guest::Event;

/// Texts of a kind that are kept.
const KEPT_MAX: usize = 16;

/// All that was heard since it was last asked for.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Task, cause, reason, as far as there is room.
    pub deaths: Vec<(String, String)>,
    /// Deaths that are not in `deaths`.
    pub deaths_more: u64,
    /// Who recovered, and how long it took.
    pub recoveries: Vec<(String, u64)>,
    /// The longest recovery of the cache.
    pub replay: Option<Replay>,
    /// From a crash until all that it had undone was written down again, the longest.
    pub below_again_ns: Option<u64>,
    /// What was made equal again after the last boot.
    pub resync: Option<Resync>,
    /// What the disks had not flushed when the power went.
    pub cut: Option<Cut>,
    /// Pages and files that the cache said it had to give up, and why it gave up all that was not synced.
    pub losses: Vec<String>,
    /// The newest checkpoint that a command told of.
    pub checkpoint: u64,
    /// How often a fault that was injected has struck.
    pub hits: u64,
    /// The cache went back to the last checkpoint.
    pub lost_all: bool,
    /// A store went back to its penultimate checkpoint.
    pub penultimate: bool,
    /// Tasks that were taken out of the stack.
    pub stopped: Vec<String>,
    /// Errors and warnings of the log.
    pub words: Vec<String>,
    /// The console began anew.
    pub consoles: u32,
    /// From power-on until the volume was mounted, nanoseconds of the guest's time, at the last boot.
    pub mounted_ns: Option<u64>,
    /// Injections whose one time came when nobody was there.
    pub missed: u64,
    /// What was told and not heard: records that the console had no room to send, arrivals that nobody read, lines
    /// that say nothing.
    pub unheard: u64,
}

impl Heard {
    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        let text = |name: &str| event.text(name).unwrap_or_default().to_owned();
        let number = |name: &str| event.number(name).unwrap_or(0);
        let is = |name: &str| event.get(name).is_some_and(|it| *it == true);
        match event.kind() {
            "death" => self.note_death(
                text("task"),
                format!("{}: {}", text("cause"), text("reason")),
            ),
            "recovery" if self.recoveries.len() < KEPT_MAX => {
                self.recoveries.push((text("task"), number("duration_ns")));
            }
            "replay" => {
                let replay = Replay {
                    pages: number("pages"),
                    files: number("files"),
                    duration_ns: number("duration_ns"),
                    skipped: is("skipped"),
                };
                let longer = |before: &Replay| before.duration_ns < replay.duration_ns;
                if self.replay.as_ref().is_none_or(longer) {
                    self.replay = Some(replay);
                }
            }
            "below_again" => {
                self.below_again_ns = self.below_again_ns.max(Some(number("duration_ns")));
            }
            "resync" => {
                self.resync = Some(Resync {
                    blocks: number("blocks"),
                    rewritten: number("rewritten"),
                    bad: number("bad"),
                });
            }
            "power-cut" => {
                let cut = self.cut.get_or_insert_default();
                cut.unflushed += number("unflushed");
                cut.kept += number("kept");
                cut.torn += number("torn");
            }
            "loss" => {
                let reason = event.text("reason").map(str::to_owned);
                let page = || format!("page {} of file {}", number("page"), number("file"));
                self.lost_all |= reason.is_some();
                keep(&mut self.losses, reason.unwrap_or_else(page));
            }
            "load" => self.penultimate |= is("penultimate"),
            "stopped" => keep(&mut self.stopped, text("task")),
            "ready" => {
                self.consoles += u32::from(is("restart"));
                self.mounted_ns = event.number("mounted_ns");
            }
            "missed" => self.missed += 1,
            "lost" => self.unheard += number("records").max(number("count")).max(1),
            "garbled" => self.unheard += 1,
            "log" => self.note_log(event),
            "done" => {
                let told = event.get("result").and_then(|it| it["checkpoint"].as_u64());
                self.checkpoint = self.checkpoint.max(told.unwrap_or(0));
            }
            _ => {}
        }
    }

    fn note_death(&mut self, task: String, words: String) {
        if self.deaths.len() < KEPT_MAX {
            self.deaths.push((task, words));
        } else {
            self.deaths_more += 1;
        }
    }

    fn note_log(&mut self, event: &Event) {
        let text = |name: &str| event.text(name).unwrap_or_default();
        // Who tells of deaths cannot tell of its own; the kernel's log does.
        if let (Some(words), stack::MANAGER) = (text("text").strip_prefix("died: "), text("task")) {
            self.note_death(stack::MANAGER.into(), words.to_owned());
        }
        if matches!(text("level"), "error" | "warn") {
            keep(
                &mut self.words,
                format!("{}: {}", text("task"), text("text")),
            );
        }
    }

    /// Whether this task died, whoever told of it.
    pub fn has_died(&self, task: &str) -> bool {
        let told = self.deaths.iter().any(|(name, _)| name == task);
        told || (task == "console" && self.consoles > 0)
    }

    /// Whether what was injected into this target has happened.
    pub fn has_struck(&self, target: &str) -> bool {
        self.hits > 0 || self.has_died(target)
    }

    /// Deaths, a line each.
    pub fn death_lines(&self) -> Vec<String> {
        let line = |(task, words): &(String, String)| format!("{task}: {words}");
        let more = (self.deaths_more > 0).then(|| format!("and {} more", self.deaths_more));
        self.deaths.iter().map(line).chain(more).collect()
    }

    /// How long it took until the stack served again after the death of this task.
    pub fn recovery_of(&self, task: &str) -> Option<u64> {
        let mut found = self.recoveries.iter().filter(|(name, _)| name == task);
        found.next().map(|(_, ns)| *ns)
    }
}

fn keep(texts: &mut Vec<String>, text: String) {
    if texts.len() < KEPT_MAX {
        texts.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_and_not_heard_is_counted() {
        let mut heard = Heard::default();
        heard.note(&Event::parse(r#"{"event":"lost","records":3}"#).expect("an event"));
        assert_eq!(heard.unheard, 3);
        heard.note(&Event::lost(2));
        heard.note(&Event::garbled("half a li"));
        assert_eq!(heard.unheard, 6);
    }

    #[test]
    fn what_tasks_tell_is_understood() {
        let mut heard = Heard::default();
        for line in [
            r#"{"event":"death","task":"cache","cause":"panic","reason":"at 5"}"#,
            r#"{"event":"recovery","task":"cache","duration_ns":7}"#,
            r#"{"event":"replay","files":1,"pages":2,"duration_ns":3,"skipped":false}"#,
            r#"{"event":"replay","files":4,"pages":5,"duration_ns":6,"skipped":true}"#,
            r#"{"event":"below_again","duration_ns":8}"#,
            r#"{"event":"below_again","duration_ns":7}"#,
            r#"{"event":"resync","blocks":3,"rewritten":2,"bad":1}"#,
            r#"{"event":"power-cut","task":"faulty.0","unflushed":24,"kept":9,"torn":2}"#,
            r#"{"event":"power-cut","task":"faulty.1","unflushed":8,"kept":8,"torn":0}"#,
            r#"{"event":"loss","file":5,"page":6}"#,
            r#"{"event":"loss","reason":"too many","files":3}"#,
            r#"{"event":"load","checkpoint":1,"penultimate":true}"#,
            r#"{"event":"load","checkpoint":2,"penultimate":false}"#,
            r#"{"event":"ready","restart":true}"#,
            r#"{"event":"done","id":1,"ok":true,"result":{"checkpoint":8}}"#,
            r#"{"event":"done","id":2,"ok":true,"result":{"checkpoint":7}}"#,
            r#"{"event":"log","level":"warn","task":"logical","text":"odd"}"#,
            r#"{"event":"log","level":"info","task":"logical","text":"even"}"#,
            r#"{"event":"log","level":"info","task":"manager","text":"died: injected kill at 5"}"#,
            r#"{"event":"stopped","task":"virtio-blk.1","reason":"crashed too often"}"#,
            r#"{"event":"missed","number":3}"#,
        ] {
            heard.note(&Event::parse(line).expect("an event"));
        }
        assert_eq!(
            heard.deaths,
            [
                ("cache".to_owned(), "panic: at 5".to_owned()),
                ("manager".to_owned(), "injected kill at 5".to_owned())
            ]
        );
        assert_eq!((heard.missed, heard.unheard), (1, 0));
        assert_eq!(heard.stopped, ["virtio-blk.1"]);
        assert_eq!(heard.recovery_of("cache"), Some(7));
        assert_eq!(heard.below_again_ns, Some(8));
        let longest = heard.replay.expect("a replay");
        assert_eq!((longest.pages, longest.skipped), (5, true));
        assert!(heard.penultimate);
        assert_eq!(heard.checkpoint, 8);
        assert_eq!(heard.losses, ["page 6 of file 5", "too many"]);
        assert!(heard.lost_all);
        let cut = heard.cut.expect("a cut");
        assert_eq!(
            (cut.unflushed, cut.kept, cut.torn),
            (32, 17, 2),
            "both disks"
        );
        let resync = heard.resync.expect("a resynchronisation");
        assert_eq!((resync.blocks, resync.rewritten, resync.bad), (3, 2, 1));
        assert_eq!((heard.consoles, heard.words.len()), (1, 1));
    }
}
