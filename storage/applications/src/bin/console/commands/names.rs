//! Commands on names and attributes.

use alloc::{format, string::String, vec::Vec};

use applications::{arguments::Takes, text, values};
use serde_json::Value;
use storage::{
    Error,
    vfs::{FileSystem as _, Kind, OpenFlags, SetTime},
};
use workload::tree;

use super::{command, files::closing};
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "mkdir",
        "mkdir [-p] PATH",
        "makes a directory; -p also those above it",
        ["mkdir -p /a/b/c"],
        Takes::words(1, 1).flags("p"),
        mkdir
    ),
    command!(
        "rmdir",
        "rmdir PATH",
        "removes an empty directory",
        ["rmdir /a/b"],
        Takes::words(1, 1),
        rmdir
    ),
    command!(
        "mv",
        "mv FROM TO",
        "renames, over what is there; into TO if it is a directory",
        ["mv /notes /old"],
        Takes::words(2, 2),
        mv
    ),
    command!(
        "ln",
        "ln [-s] TARGET PATH",
        "gives a file another name; -s makes a symbolic link",
        ["ln /notes /same", "ln -s notes /link"],
        Takes::words(2, 2).flags("s"),
        ln
    ),
    command!(
        "chmod",
        "chmod MODE PATH",
        "sets permissions, an octal number",
        ["chmod 0640 /notes"],
        Takes::words(2, 2),
        chmod
    ),
    command!(
        "chown",
        "chown UID[:GID] PATH",
        "sets owner and group, by number",
        ["chown 1000:100 /notes"],
        Takes::words(2, 2),
        chown
    ),
    command!(
        "touch",
        "touch PATH",
        "makes a file, or sets its times to now",
        ["touch /notes"],
        Takes::words(1, 1),
        touch
    ),
];

/// The outcome of a call, its error with the path.
fn on<T>(path: &[u8], result: Result<T, Error>) -> Outcome {
    result
        .map(|_| Value::Null)
        .map_err(|error| Failure::about(text::printable(path), error))
}

async fn mkdir(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    if context.arguments.flag('p') {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(place, byte)| **byte == b'/' && *place > 0);
        let ends: Vec<_> = ends.map(|(place, _)| place).chain([path.len()]).collect();
        for end in ends {
            match context.system().mkdir(&path[..end], 0o755).await {
                Err(Error::Exists) => {
                    let stat = context.system().stat(&path[..end], true).await;
                    if stat.is_ok_and(|stat| stat.kind() != Kind::Directory) {
                        return on(&path[..end], Err::<(), _>(Error::NotADirectory));
                    }
                }
                result => {
                    on(&path[..end], result)?;
                }
            }
        }
        return Ok(Value::Null);
    }
    on(path, context.system().mkdir(path, 0o755).await)
}

async fn rmdir(context: &Context<'_>) -> Outcome {
    on(
        context.path(0),
        context.system().rmdir(context.path(0)).await,
    )
}

/// `to`, or the name of `from` in it if it is a directory.
pub async fn target(context: &Context<'_>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let directory = context
        .system()
        .stat(to, true)
        .await
        .is_ok_and(|stat| stat.kind() == Kind::Directory);
    let trimmed = from
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(&b""[..], |end| &from[..=end]);
    let name = trimmed
        .rsplit(|&byte| byte == b'/')
        .next()
        .unwrap_or_default();
    if directory {
        tree::join(to, name)
    } else {
        to.to_vec()
    }
}

async fn mv(context: &Context<'_>) -> Outcome {
    let (from, to) = (context.path(0), context.path(1));
    let to = target(context, from, to).await;
    on(from, context.system().rename(from, &to).await)
}

async fn ln(context: &Context<'_>) -> Outcome {
    let (from, to) = (context.path(0), context.path(1));
    if context.arguments.flag('s') {
        return on(to, context.system().symlink(from, to).await);
    }
    let to = target(context, from, to).await;
    on(from, context.system().link(from, &to).await)
}

fn expected(word: &str) -> impl Fn(&'static str) -> Failure {
    let word = String::from(word);
    move |expected| Failure(format!("{word}: expected {expected}"))
}

async fn chmod(context: &Context<'_>) -> Outcome {
    let mode = values::octal(context.word(0)).map_err(expected(context.word(0)))?;
    if mode > 0o7777 {
        return Err(expected(context.word(0))("an octal number up to 7777"));
    }
    on(
        context.path(1),
        context.system().chmod(context.path(1), mode).await,
    )
}

async fn chown(context: &Context<'_>) -> Outcome {
    let word = context.word(0);
    let (uid, gid) = word.split_once(':').unwrap_or((word, ""));
    let path = context.path(1);
    let number =
        |text| values::number_32(text).map_err(|_| expected(word)("UID or UID:GID, whole numbers"));
    let uid = number(uid)?;
    let gid = if gid.is_empty() {
        let stat = context.system().stat(path, true).await;
        stat.map_err(|error| Failure::about(text::printable(path), error))?
            .gid
    } else {
        number(gid)?
    };
    on(path, context.system().chown(path, uid, gid).await)
}

async fn touch(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    match context
        .system()
        .utimes(path, SetTime::Now, SetTime::Now)
        .await
    {
        Err(Error::NotFound) => {
            let flags = OpenFlags::WRITE | OpenFlags::CREATE;
            let opened = context.system().open(path, flags, 0o644).await;
            match opened {
                Ok(descriptor) => on(path, closing(context, descriptor, Ok(())).await),
                Err(error) => on(path, Err::<(), _>(error)),
            }
        }
        result => on(path, result),
    }
}
