//! Contents for who checks them: known bytes into files, and what is in every block of a tree.

use alloc::{format, string::String, vec};

use applications::{arguments::Takes, text, values};
use serde_json::json;
use storage::vfs::{FileSystem as _, OpenFlags};
use workload::{
    Go,
    postmark::Content,
    tree::{self, CHUNK_BYTES, survey},
};

use super::{command, files::closing};
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "fill",
        "fill PATH SIZE [at=OFFSET] [seed=N]",
        "writes known bytes into a file, which is made if it is missing",
        ["fill /a 64k", "fill /a 4k at=8k seed=7"],
        Takes::words(2, 2).keys(&["at", "seed"]),
        fill
    ),
    command!(
        "blocks",
        "blocks PATH",
        "shows a tree with the hash of every block, and what cannot be read",
        ["blocks /src"],
        Takes::words(1, 1),
        blocks
    ),
];

async fn fill(context: &Context<'_>) -> Outcome {
    let path = context.path(0);
    let about = |error| Failure::about(text::printable(path), error);
    let size = values::size(context.word(1))
        .map_err(|expected| Failure(format!("{}: expected {expected}", context.word(1))))?;
    let offset = context
        .arguments
        .parsed("at", values::size)?
        .unwrap_or_default();
    let seed = context.arguments.parsed("seed", values::number_32)?;
    let content = Content::new(seed.unwrap_or(1), 0);
    let end = offset
        .checked_add(size)
        .ok_or("expected an offset and a size of less than 2^64 together")?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let opened = context.system().open(path, flags, 0o644).await;
    let descriptor = opened.map_err(about)?;
    let mut buffer = vec![0; CHUNK_BYTES.min(size as usize)];
    let mut at = offset;
    let mut written = Ok(());
    while at < end && written.is_ok() {
        let count = (end - at).min(CHUNK_BYTES as u64) as usize;
        let Some(piece) = buffer.get_mut(..count) else {
            break;
        };
        content.fill(at, piece);
        written = tree::write_all(context.system(), descriptor, Some(at), piece).await;
        at += count as u64;
        let text = || text::printable(path);
        if context.output.progress(text, at - offset, size) == Go::Stop {
            closing(context, descriptor, written).await.map_err(about)?;
            return Err("stopped".into());
        }
    }
    closing(context, descriptor, written).await.map_err(about)?;
    Ok(json!({ "bytes": size }))
}

/// Most bytes of what `blocks` shows: the lines wait in the console's memory.
const SHOWN_BYTES_MAX: usize = 4 << 20;

/// A path as a line: kind, size, hashes, name.
fn line(path: &[u8], entry: &survey::Entry) -> String {
    let path = text::printable(path);
    match entry {
        survey::Entry::Directory => format!("d 0 - {path}"),
        survey::Entry::Link(target) => {
            format!("l {} - {path} -> {}", target.len(), text::printable(target))
        }
        survey::Entry::File { size, blocks } => {
            let mut line = format!("f {size} ");
            for (number, block) in blocks.iter().enumerate() {
                if number > 0 {
                    line.push(',');
                }
                line.push_str(match block {
                    Ok(hash) => core::str::from_utf8(hash).unwrap_or("?"),
                    Err(_) => "!",
                });
            }
            if blocks.is_empty() {
                line.push('-');
            }
            format!("{line} {path}")
        }
    }
}

async fn blocks(context: &Context<'_>) -> Outcome {
    let root = context.path(0);
    let about = |error| Failure::about(text::printable(root), error);
    let (mut lines, mut read, mut unreadable) = (vec![], 0_u64, 0_u64);
    let (mut first, mut shown) = (None, 0);
    let mut each = |path: &[u8], entry: survey::Entry| {
        if let survey::Entry::File { blocks, .. } = &entry {
            read += blocks.len() as u64;
            for error in blocks.iter().filter_map(|block| block.as_ref().err()) {
                unreadable += 1;
                first.get_or_insert(*error);
            }
        }
        let line = line(path, &entry);
        shown += line.len();
        if shown > SHOWN_BYTES_MAX {
            return Go::Stop;
        }
        lines.push(line);
        context.output.go()
    };
    let surveyed = survey::survey(context.system(), root, &mut each).await;
    context.output.lines(lines).await;
    if shown > SHOWN_BYTES_MAX {
        return Err("too large to be shown; name a directory in it".into());
    }
    surveyed.map_err(about)?;
    Ok(json!({
        "blocks": read,
        "unreadable": unreadable,
        "error": first.map(|error| format!("{error}")),
    }))
}
