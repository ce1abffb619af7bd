//! What is in force, in the words in which it could be said.

use alloc::{format, string::String};

use abi::{Fault, Region, When};
use manager::injection::{MachineFault, TaskFault, What};
use storage::{
    faulty::{Action, Direction, Place, Rule},
    point::Point,
};

use super::words::told as add;

/// The name of a fault and its keys; what goes without saying is left out, but for the seed.
#[must_use]
pub fn told(what: &What) -> String {
    match what {
        What::Disk(rule) => disk(rule),
        What::Task(fault) => task(fault),
        What::Machine(fault) => machine(fault),
    }
}

fn disk(rule: &Rule) -> String {
    let mut text = String::new();
    match rule.place {
        Place::Anywhere => {}
        Place::Sectors { first, last } => add(&mut text, "range", format!("{first}-{last}"), ""),
        Place::Kind(kind) => add(&mut text, "type", kind.name(), ""),
    }
    match rule.direction {
        Direction::Reads => add(&mut text, "on", "reads", ""),
        Direction::Writes => add(&mut text, "on", "writes", ""),
        Direction::Both => {}
    }
    add(&mut text, "skip", rule.skip, 0);
    if rule.one_in > 1 {
        add(&mut text, "rate", format!("1/{}", rule.one_in), "");
    }
    let lasting = rule.one_in > 1 || matches!(rule.action, Action::Slow { .. });
    let usual = u64::from(!lasting);
    add(&mut text, "count", rule.times.unwrap_or(0), usual);
    add(&mut text, "seed", rule.seed, "");
    let name = match rule.action {
        Action::Corrupt { bytes } => {
            add(&mut text, "bytes", bytes, "");
            "corrupt"
        }
        Action::TornWrite { sectors } => {
            add(&mut text, "sectors", sectors, 0);
            "torn-write"
        }
        Action::LostWrite => "lost-write",
        Action::MisdirectedWrite { to } => {
            if let Some((first, last)) = to {
                add(&mut text, "to", format!("{first}-{last}"), "");
            }
            "misdirected-write"
        }
        Action::LostFlush => "lost-flush",
        Action::ReadError => "read-error",
        Action::WriteError => "write-error",
        Action::Slow { ms } => {
            add(&mut text, "delay", format!("{ms}ms"), "");
            "slow"
        }
        Action::Dead => "dead",
    };
    format!("{name}{text}")
}

fn task(fault: &TaskFault) -> String {
    let mut text = String::new();
    let when = fault.when();
    match when {
        When::Now => {}
        When::Requests(count) => add(&mut text, "after", count, ""),
        When::Point(number) => add(&mut text, "at", point(number), ""),
        When::OneIn(requests) => add(&mut text, "rate", format!("1/{requests}"), ""),
    }
    add(&mut text, "after", format!("{}ms", fault.after_ms), "0ms");
    add(&mut text, "every", format!("{}ms", fault.every_ms), "0ms");
    let lasting = fault.every_ms > 0 || matches!(when, When::OneIn(_));
    let usual = u64::from(!lasting);
    add(&mut text, "count", fault.count.unwrap_or(0), usual);
    add(&mut text, "seed", fault.seed, "");
    if fault.fault() == Some(Fault::WildWrite) {
        let region = Region::from_number((fault.argument >> 32) as u32);
        let named = Region::ALL.iter().find(|(it, _)| *it == region);
        let name = named.map_or("any", |(_, name)| name);
        add(&mut text, "memory", name, "any");
        add(&mut text, "writes", fault.argument as u32, 0);
    }
    format!("{}{text}", fault.fault().map_or("?", Fault::name))
}

fn machine(fault: &MachineFault) -> String {
    let mut text = String::new();
    add(&mut text, "after", format!("{}ms", fault.after_ms), "0ms");
    if let Some(number) = fault.point {
        add(&mut text, "at", point(number), "");
    }
    if fault.power {
        add(&mut text, "seed", fault.seed, "");
        return format!("power-cut{text}");
    }
    format!("reset{text}")
}

fn point(number: u32) -> &'static str {
    Point::from_number(number).map_or("?", Point::name)
}
