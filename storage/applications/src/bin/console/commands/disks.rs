//! Tar archives on attached disks: streamed through block calls, never whole in memory.

use alloc::{format, string::String, vec::Vec};

use applications::{arguments::Takes, inject, text};
use runtime::{
    Endpoint, start,
    time::{now_ns, with_deadline},
};
use serde_json::json;
use storage::{Error, block};
use workload::{
    stream::{DeviceReader, DeviceWriter},
    tar::{self, Exported, Imported},
};

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "import",
        "import DISK PATH",
        "unpacks the tar on a disk (`--import TAR` attaches one) into a directory",
        ["import virtio-blk.2 /src", "import vdc /src"],
        Takes::words(2, 2),
        import
    ),
    command!(
        "export",
        "export PATH DISK",
        "packs a file or a tree as a tar onto a disk; docs/console.md says how to attach one",
        ["export /src virtio-blk.2", "export /src vdb"],
        Takes::words(2, 2),
        export
    ),
];

/// How long a driver may take to answer at first. A driver whose disk is missing never does.
const ATTACH_NS: u64 = 5_000_000_000;

/// A disk that the description lets the console use.
fn disk(word: &str) -> Result<block::Client<Endpoint>, Failure> {
    let name = inject::driver(word);
    if let Some(endpoint) = start::peer(&name) {
        return Ok(block::Client(endpoint));
    }
    let drivers: Vec<_> = start::peers()
        .map(|(name, _)| name)
        .filter(|name| name.contains("-blk") || name.contains("ahci"))
        .collect();
    Err(Failure(match drivers.as_slice() {
        [] => format!("{name}: the stack description lets the console use no disk"),
        drivers => format!("{name}: expected {}", drivers.join(" or ")),
    }))
}

fn absent(name: &str) -> Failure {
    Failure(format!(
        "{name}: no disk is attached there; `--import TAR` attaches one to read, docs/console.md says how to get one to write"
    ))
}

/// What came of asking for a disk.
fn attached<T>(name: &str, stream: Option<Result<T, Error>>) -> Result<T, Failure> {
    match stream {
        None | Some(Err(Error::PeerGone)) => Err(absent(name)),
        Some(stream) => stream.map_err(|error| Failure::about(name, error)),
    }
}

fn amount(bytes: u64, files: u64) -> String {
    format!("{}, {} files", text::bytes(bytes), text::count(files))
}

fn speed(bytes: u64, start_ns: u64) -> (String, u64) {
    let took_ns = now_ns().saturating_sub(start_ns).max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(took_ns));
    let rate = text::bytes(rate.unwrap_or(u64::MAX));
    (
        format!("in {}, {rate} per second", text::duration(took_ns)),
        took_ns,
    )
}

async fn import(context: &Context<'_>) -> Outcome {
    let name = context.word(0);
    let disk = disk(name)?;
    let start_ns = now_ns();
    let stream = with_deadline(ATTACH_NS, DeviceReader::new(&disk)).await;
    let stream = attached(name, stream)?;
    let capacity = stream.capacity();
    let mut archive = tar::Reader::new(stream);
    let mut progress = |imported: &Imported, path: &[u8]| {
        let text = || format!("{} {}", text::bytes(imported.bytes), text::printable(path));
        context.output.progress(text, imported.bytes, capacity)
    };
    let path = context.path(1);
    let imported = tar::import(context.system(), &mut archive, path, &mut progress).await?;
    let (speed, took_ns) = speed(imported.bytes, start_ns);
    let amount = amount(imported.bytes, imported.files);
    context
        .output
        .line(&format!("imported {amount} {speed}"))
        .await;
    if imported.skipped > 0 {
        let skipped = format!("{} devices and the like were passed over", imported.skipped);
        context.output.line(&skipped).await;
    }
    Ok(json!({
        "files": imported.files,
        "directories": imported.directories,
        "links": imported.links,
        "skipped": imported.skipped,
        "bytes": imported.bytes,
        "duration_ns": took_ns,
    }))
}

async fn export(context: &Context<'_>) -> Outcome {
    let name = context.word(1);
    let disk = disk(name)?;
    let start_ns = now_ns();
    let stream = with_deadline(ATTACH_NS, DeviceWriter::new(&disk)).await;
    let stream = attached(name, stream)?;
    let mut archive = tar::Writer::new(stream);
    let mut progress = |exported: &Exported, path: &[u8]| {
        let text = || format!("{} {}", text::bytes(exported.bytes), text::printable(path));
        context.output.progress(text, exported.bytes, 0)
    };
    let exported = tar::export(
        context.system(),
        context.path(0),
        &mut archive,
        &mut progress,
    )
    .await?;
    let archive_bytes = archive.written();
    let stream = archive.finish().await?;
    stream
        .finish()
        .await
        .map_err(|error| Failure::about(name, error))?;
    let (speed, took_ns) = speed(exported.bytes, start_ns);
    let amount = amount(exported.bytes, exported.files);
    context
        .output
        .line(&format!("exported {amount} {speed}"))
        .await;
    Ok(json!({
        "files": exported.files,
        "directories": exported.directories,
        "links": exported.links,
        "bytes": exported.bytes,
        "archive_bytes": archive_bytes,
        "duration_ns": took_ns,
    }))
}
