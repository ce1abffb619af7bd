//! Commands on the contents of files.

use alloc::{format, string::String, vec, vec::Vec};

use applications::{arguments::Takes, text, values};
use serde_json::{Value, json};
use storage::{
    Error,
    buffer::Sink,
    vfs::{Descriptor, FileSystem as _, Kind, OpenFlags, Stat},
};
use workload::{
    Go,
    tree::{self, CHUNK_BYTES},
};

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "ls",
        "ls [-l] [PATH]",
        "lists a directory; -l with attributes",
        ["ls -l /", "ls /src"],
        Takes::words(0, 1).flags("l"),
        ls
    ),
    command!(
        "cat",
        "cat PATH",
        "writes a file's content",
        ["cat /notes"],
        Takes::words(1, 1),
        cat
    ),
    command!(
        "write",
        "write [-a] PATH TEXT",
        "writes a line of text into a file; -a appends it",
        ["write /notes \"first line\"", "write -a /notes more"],
        Takes::words(2, 2).flags("a"),
        write
    ),
    command!(
        "truncate",
        "truncate PATH SIZE",
        "sets a file's length",
        ["truncate /notes 4k"],
        Takes::words(2, 2),
        truncate
    ),
    command!(
        "stat",
        "stat PATH",
        "shows all attributes, of a link itself",
        ["stat /notes"],
        Takes::words(1, 1),
        stat
    ),
];

/// Bytes that `cat` writes in one line before it breaks it.
const CAT_LINE_MAX: usize = 8 << 10;

/// Closes a descriptor after use, whatever came of the use.
pub async fn closing<T>(
    context: &Context<'_>,
    descriptor: Descriptor,
    used: Result<T, Error>,
) -> Result<T, Error> {
    let closed = context.system().close(descriptor).await;
    let used = used?;
    closed?;
    Ok(used)
}

fn row(stat: &Stat, name: String) -> Vec<String> {
    vec![
        text::mode(stat.mode),
        format!("{}", stat.links),
        format!("{}", stat.uid),
        format!("{}", stat.gid),
        format!("{}", stat.size),
        text::date(stat.modified_ns),
        name,
    ]
}

async fn described(context: &Context<'_>, path: &[u8], name: &[u8]) -> Result<Vec<String>, Error> {
    let stat = context.system().stat(path, false).await?;
    let mut name = text::printable(name);
    if stat.kind() == Kind::Link {
        let mut target = vec![0; storage::vfs::PATH_BYTES_MAX];
        let len = context
            .system()
            .readlink(path, Sink::local(&mut target))
            .await?;
        let target = target.get(..len).unwrap_or_default();
        name = format!("{name} -> {}", text::printable(target));
    }
    Ok(row(&stat, name))
}

async fn ls(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let long = context.arguments.flag('l');
    let stat = context.system().stat(path, true).await.map_err(about)?;
    if stat.kind() != Kind::Directory {
        let line = if long {
            text::table(
                &[described(context, path, path).await.map_err(about)?],
                &[1, 4],
            )
        } else {
            vec![text::printable(path)]
        };
        context.output.lines(line).await;
        return Ok(json!({ "entries": 1 }));
    }
    let mut entries = tree::list(context.system(), path).await.map_err(about)?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut rows = Vec::new();
    for entry in &entries {
        if context.output.go() == Go::Stop {
            return Err("stopped".into());
        }
        if long {
            let whole = tree::join(path, &entry.name);
            match described(context, &whole, &entry.name).await {
                Ok(row) => rows.push(row),
                // Removed since it was listed.
                Err(Error::NotFound) => {}
                Err(error) => return Err(Failure::about(text::printable(&whole), error)),
            }
        } else {
            let mark = match entry.kind {
                Kind::Directory => "/",
                Kind::Link => "@",
                Kind::File => "",
            };
            rows.push(vec![format!("{}{mark}", text::printable(&entry.name))]);
        }
    }
    context.output.lines(text::table(&rows, &[1, 4])).await;
    Ok(json!({ "entries": entries.len() }))
}

async fn cat(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let descriptor = context
        .system()
        .open(path, OpenFlags::READ, 0)
        .await
        .map_err(about)?;
    let shown = show(context, descriptor).await;
    let bytes = closing(context, descriptor, shown).await.map_err(about)?;
    Ok(json!({ "bytes": bytes }))
}

/// Writes the lines of a file, each as it becomes whole.
async fn show(context: &Context<'_>, descriptor: Descriptor) -> Result<u64, Error> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        let sink = Sink::local(&mut buffer);
        let len = context.system().read(descriptor, Some(bytes), sink).await?;
        if len == 0 || context.output.go() == Go::Stop {
            if !line.is_empty() {
                context.output.line(&String::from_utf8_lossy(&line)).await;
            }
            return Ok(bytes);
        }
        for &byte in buffer.get(..len).ok_or(Error::Protocol)? {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() >= CAT_LINE_MAX {
                context.output.line(&String::from_utf8_lossy(&line)).await;
                line.clear();
                if context.output.go() == Go::Stop {
                    return Ok(bytes);
                }
            }
        }
        bytes += len as u64;
    }
}

async fn write(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let append = context.arguments.flag('a');
    let how = if append {
        OpenFlags::APPEND
    } else {
        OpenFlags::TRUNCATE
    };
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | how;
    let descriptor = context
        .system()
        .open(path, flags, 0o644)
        .await
        .map_err(about)?;
    let text = format!("{}\n", context.word(1));
    let written = tree::write_all(context.system(), descriptor, None, text.as_bytes()).await;
    closing(context, descriptor, written).await.map_err(about)?;
    Ok(json!({ "bytes": text.len() }))
}

async fn truncate(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let size = values::size(context.word(1))
        .map_err(|expected| Failure(format!("{}: expected {expected}", context.word(1))))?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let descriptor = context
        .system()
        .open(path, flags, 0o644)
        .await
        .map_err(about)?;
    let cut = context.system().truncate(descriptor, size).await;
    closing(context, descriptor, cut).await.map_err(about)?;
    Ok(Value::Null)
}

async fn stat(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let stat = context.system().stat(path, false).await.map_err(about)?;
    let lines = [
        ("inode", format!("{}", stat.inode)),
        (
            "mode",
            format!("{} ({:04o})", text::mode(stat.mode), stat.mode & 0o7777),
        ),
        ("links", format!("{}", stat.links)),
        ("owner", format!("{}:{}", stat.uid, stat.gid)),
        ("size", format!("{} ({} blocks)", stat.size, stat.blocks)),
        ("accessed", text::date(stat.accessed_ns)),
        ("modified", text::date(stat.modified_ns)),
        ("changed", text::date(stat.changed_ns)),
    ];
    for (name, value) in lines {
        context.output.line(&format!("{name:<9} {value}")).await;
    }
    Ok(json!({
        "inode": stat.inode,
        "mode": stat.mode,
        "links": stat.links,
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "blocks": stat.blocks,
        "accessed_ns": stat.accessed_ns,
        "modified_ns": stat.modified_ns,
        "changed_ns": stat.changed_ns,
    }))
}
