//! What commands work with, and how a line becomes one.

use alloc::{
    boxed::Box,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    pin::Pin,
};

use applications::{
    arguments::{Arguments, Takes},
    words,
};
use manager::control;
use runtime::{Endpoint, start};
use serde_json::Value;
use storage::{
    Error,
    vfs::{self, FileSystem as _},
};
use workload::postmark::interface;

use crate::{
    commands,
    losses::Watch,
    output::{Failure, Output},
    terminal::Terminal,
};

/// What a command tells at its end: for programs, members of a JSON object, or null.
pub type Outcome = Result<Value, Failure>;

/// A command at work.
pub type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A command.
pub struct Command {
    /// What the user types.
    pub name: &'static str,
    /// How, in a line; in several if there are several ways.
    pub usage: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// One or more examples, each a line.
    pub examples: &'static [&'static str],
    /// What keys mean that do not speak for themselves.
    pub keys: &'static [(&'static str, &'static str)],
    /// What words it takes.
    pub takes: Takes,
    /// Does it.
    pub run: for<'a> fn(&'a Context<'a>) -> Work<'a>,
}

/// What a command at work has at hand.
pub struct Context<'a> {
    /// The parts of the system.
    pub shell: &'a Rc<Shell>,
    /// Where to write.
    pub output: &'a Output,
    /// What it was told.
    pub arguments: &'a Arguments,
    files: &'a Files,
}

/// The file system as one command sees it. What a command that is given up has opened is closed.
///
/// The next command goes on with the same client: so it says that this one's answers have come, and naming need not keep
/// them.
struct Files {
    system: Rc<vfs::Client<Endpoint>>,
    shell: Rc<Shell>,
}

impl Files {
    fn new(shell: &Rc<Shell>) -> Self {
        let idle = shell.idle.borrow_mut().pop();
        Self {
            system: idle.unwrap_or_else(|| Rc::new(vfs::Client::new(shell.naming))),
            shell: shell.clone(),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let (system, shell) = (self.system.clone(), self.shell.clone());
        let left = system.left_open();
        if left.is_empty() {
            shell.idle.borrow_mut().push(system);
            return;
        }
        runtime::spawn(async move {
            for descriptor in left {
                // If naming is gone, so is what was open.
                let _ = system.close(descriptor).await;
            }
            shell.idle.borrow_mut().push(system);
        });
    }
}

impl Context<'_> {
    /// The file system.
    pub fn system(&self) -> &vfs::Client<Endpoint> {
        &self.files.system
    }

    /// A word by its place, or what the usage promises instead.
    pub fn word(&self, place: usize) -> &str {
        self.arguments.word(place).unwrap_or_default()
    }

    /// The restart manager, or why there is none.
    pub fn manager(&self) -> Result<&control::Client<Endpoint>, Failure> {
        self.shell
            .manager
            .as_ref()
            .ok_or_else(|| "the console may not call the manager".into())
    }

    /// A path by its place; the root if there is none.
    pub fn path(&self, place: usize) -> &[u8] {
        self.arguments.word(place).unwrap_or("/").as_bytes()
    }
}

/// The parts of the system that commands use.
pub struct Shell {
    /// The file system, as the console's own client of naming.
    pub system: vfs::Client<Endpoint>,
    /// Where it is.
    naming: Endpoint,
    /// Clients of naming that no command uses; as many as there were commands at a time.
    idle: RefCell<Vec<Rc<vfs::Client<Endpoint>>>>,
    /// The PostMark task, if the stack has one.
    pub postmark: Option<interface::Client<Endpoint>>,
    /// The restart manager.
    pub manager: Option<control::Client<Endpoint>>,
    /// The console on the first port, whose settings commands change.
    pub terminal: Rc<Terminal>,
    /// What is known to be lost.
    pub losses: Rc<Watch>,
    /// When the volume was mounted, nanoseconds since boot.
    pub mounted_ns: Cell<Option<u64>>,
}

impl Shell {
    /// What the description gives the console; nothing without a file system.
    pub fn new(terminal: Rc<Terminal>, losses: Rc<Watch>) -> Option<Self> {
        let naming = start::peer("naming")?;
        Some(Self {
            system: vfs::Client::new(naming),
            naming,
            idle: RefCell::default(),
            postmark: start::peer("postmark")
                .map(|postmark| interface::Client(postmark.with_patience(u64::MAX))),
            manager: start::peer("manager").map(control::Client),
            terminal,
            losses,
            mounted_ns: Cell::new(None),
        })
    }

    /// Runs the commands of a line up to the first that fails. The outcome is the last one's.
    pub async fn run_line(self: &Rc<Self>, output: &Output, line: &str) -> Outcome {
        let mut outcome = Value::Null;
        for words in words::split(line)? {
            outcome = self.run(output, &words).await?;
        }
        Ok(outcome)
    }

    async fn run(self: &Rc<Self>, output: &Output, words: &[String]) -> Outcome {
        let Some((name, words)) = words.split_first() else {
            return Ok(Value::Null);
        };
        let command = find(name).ok_or_else(|| unknown(name))?;
        let usage = |problem: String| {
            Failure(match command.usage.contains('\n') {
                true => format!("{name}: {problem}; `help {name}` says what there is"),
                false => format!("{name}: {problem}; usage: {}", command.usage),
            })
        };
        let arguments = command.takes.parse(words).map_err(usage)?;
        let files = Files::new(self);
        let context = Context {
            shell: self,
            output,
            arguments: &arguments,
            files: &files,
        };
        let named = |Failure(text)| {
            let has_name = text
                .strip_prefix(name.as_str())
                .is_some_and(|it| it.starts_with([':', ' ']));
            let text = if has_name {
                text
            } else {
                format!("{name}: {text}")
            };
            Failure(if text.ends_with(&Error::NotFormatted.to_string()) {
                format!("{text}; `format yes` makes a volume")
            } else {
                text
            })
        };
        (command.run)(&context).await.map_err(named)
    }
}

/// All commands, in the order of `help`.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Command)> {
    commands::GROUPS
        .iter()
        .flat_map(|(title, group)| group.iter().map(|command| (*title, command)))
}

/// A command by its name.
pub fn find(name: &str) -> Option<&'static Command> {
    all()
        .map(|(_, command)| command)
        .find(|command| command.name == name)
}

/// Says what is not known, and what comes closest.
pub fn unknown(name: &str) -> Failure {
    let similar: Vec<_> = all()
        .map(|(_, command)| command.name)
        .filter(|other| !name.is_empty() && (other.starts_with(name) || name.starts_with(other)))
        .collect();
    let hint = match similar.as_slice() {
        [] => "`help` lists the commands".to_string(),
        similar => format!("did you mean {}?", similar.join(" or ")),
    };
    Failure(format!("there is no command `{name}`: {hint}"))
}
