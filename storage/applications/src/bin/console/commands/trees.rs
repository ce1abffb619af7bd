//! Commands on trees of files.

use alloc::{format, string::String};

use applications::{arguments::Takes, text};
use serde_json::{Value, json};
use storage::{
    Error,
    vfs::{FileSystem as _, Kind},
};
use workload::{Go, tree};

use super::{command, names::target};
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "tree",
        "tree [PATH]",
        "shows a directory with all below it",
        ["tree /src"],
        Takes::words(0, 1),
        show
    ),
    command!(
        "cp",
        "cp [-r] FROM TO",
        "copies a file, with -r a tree; into TO if it is a directory",
        ["cp /notes /copy", "cp -r /src /backup"],
        Takes::words(2, 2).flags("r"),
        cp
    ),
    command!(
        "rm",
        "rm [-r] PATH",
        "removes a file, with -r a tree",
        ["rm /notes", "rm -r /backup"],
        Takes::words(1, 1).flags("r"),
        rm
    ),
    command!(
        "sha256",
        "sha256 PATH",
        "hashes a file or a tree; docs/console.md says how",
        ["sha256 /src"],
        Takes::words(1, 1),
        sha256
    ),
];

fn about(path: &[u8]) -> impl Fn(Error) -> Failure {
    let path = text::printable(path);
    move |error| match error {
        Error::Busy => Failure("stopped".into()),
        error => Failure::about(&path, error),
    }
}

async fn show(context: &Context<'_>) -> Outcome {
    let root = context.path(0);
    let paths = tree::walk(context.system(), root)
        .await
        .map_err(about(root))?;
    let (mut files, mut directories) = (0_u64, 0_u64);
    for (path, kind) in paths.iter() {
        if context.output.go() == Go::Stop {
            return Err("stopped".into());
        }
        let mark = match kind {
            Kind::Directory => "/",
            Kind::Link => "@",
            Kind::File => "",
        };
        match kind {
            Kind::Directory => directories += 1,
            _ => files += 1,
        }
        let depth = path.iter().filter(|&&byte| byte == b'/').count();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let indent = "  ".repeat(depth);
        context
            .output
            .line(&format!("{indent}{}{mark}", text::printable(name)))
            .await;
    }
    context
        .output
        .line(&format!("{directories} directories, {files} files"))
        .await;
    Ok(json!({ "directories": directories, "files": files }))
}

async fn cp(context: &Context<'_>) -> Outcome {
    let from = context.path(0);
    let stat = context
        .system()
        .stat(from, true)
        .await
        .map_err(about(from))?;
    if stat.kind() == Kind::Directory && !context.arguments.flag('r') {
        return Err(Failure(format!(
            "{} is a directory: use cp -r",
            context.word(0)
        )));
    }
    let to = target(context, from, context.path(1)).await;
    let mut progress = |copied: &tree::Copied, path: &[u8]| {
        context
            .output
            .progress(|| text::printable(path), copied.bytes, 0)
    };
    let copied = tree::copy(context.system(), from, &to, &mut progress).await;
    let copied = copied.map_err(about(from))?;
    Ok(json!({ "files": copied.files, "directories": copied.directories, "bytes": copied.bytes }))
}

async fn rm(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    if !context.arguments.flag('r') {
        return match context.system().unlink(path).await {
            Err(Error::IsADirectory) => Err(Failure(format!(
                "{} is a directory: use rm -r or rmdir",
                context.word(0)
            ))),
            result => result.map(|()| Value::Null).map_err(about(path)),
        };
    }
    if !tree::ends_in_name(path) {
        return Err(Failure(format!(
            "`{}`: expected a path that ends in a name; `format` makes an empty volume",
            context.word(0)
        )));
    }
    let mut removed = 0;
    let mut progress = |path: &[u8]| {
        removed += 1;
        context
            .output
            .progress(|| format!("removing {}", text::printable(path)), removed, 0)
    };
    match tree::remove(context.system(), path, &mut progress)
        .await
        .map_err(about(path))?
    {
        Go::Stop => Err("stopped".into()),
        Go::On => Ok(json!({ "removed": removed + 1 })),
    }
}

async fn sha256(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let stat = context
        .system()
        .stat(path, true)
        .await
        .map_err(about(path))?;
    let hash = if stat.kind() == Kind::Directory {
        let mut progress = |bytes: u64, path: &[u8]| {
            let text = || format!("{} {}", text::bytes(bytes), text::printable(path));
            context.output.progress(text, bytes, 0)
        };
        tree::hash_tree(context.system(), path, &mut progress).await
    } else {
        let mut progress = |bytes| {
            context
                .output
                .progress(|| text::printable(path), bytes, stat.size)
        };
        tree::hash_file(context.system(), path, &mut progress).await
    };
    let hash = hash.map_err(about(path))?;
    let summary = if stat.kind() == Kind::Directory {
        format!(
            "  ({} files, {})",
            text::count(hash.files),
            text::bytes(hash.bytes)
        )
    } else {
        String::new()
    };
    context
        .output
        .line(&format!(
            "{}  {}{summary}",
            hash.text(),
            text::printable(path)
        ))
        .await;
    Ok(json!({
        "sha256": hash.text(),
        "files": hash.files,
        "directories": hash.directories,
        "bytes": hash.bytes,
    }))
}
