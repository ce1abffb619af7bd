//! Commands on the volume as a whole.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use applications::{arguments::Takes, losses::UNNAMED, text, values};
use runtime::time::{SystemClock, now_ns};
use serde_json::{Value, json};
use storage::{
    checksum::Algorithm,
    clock::Clock as _,
    file::{TWIN_OFFSET_MAX, VolumeFormat},
    vfs::{FileSystem as _, StatFs},
};

use super::command;
use crate::{
    losses::{All, Named},
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "df",
        "df",
        "shows how full the volume is, and whether it is degraded",
        ["df"],
        Takes::words(0, 0),
        df
    ),
    command!(
        "lost",
        "lost",
        "names what is known to be lost since boot, and cannot be read yet",
        ["lost"],
        Takes::words(0, 0),
        lost
    ),
    command!(
        "sync",
        "sync",
        "makes everything durable: a global checkpoint",
        ["sync"],
        Takes::words(0, 0),
        sync
    ),
    command!(
        "mount",
        "mount",
        "mounts the volume on the stack's disks, unless it is mounted",
        ["mount"],
        Takes::words(0, 0),
        mount
    ),
    command!(
        "format",
        "format [yes] [checksum=xxh64|crc32c] [twin_offset=BLOCKS]",
        "makes an empty volume of all disks; all on them is lost",
        ["format yes", "format yes checksum=crc32c"],
        Takes::words(0, 1).keys(&["checksum", "twin_offset"]),
        format_volume
    ),
];

/// Blocks between a left and its right twin: the paper's best (section V).
const TWIN_OFFSET: u32 = 16;

/// In a word, whether all stores are there.
pub fn state(usage: &StatFs) -> &'static str {
    if usage.stores_present < usage.stores {
        "degraded"
    } else {
        "mounted"
    }
}

fn described(usage: &StatFs) -> Value {
    json!({
        "state": state(usage),
        "blocks": usage.blocks,
        "blocks_free": usage.blocks_free,
        "files": usage.files,
        "files_free": usage.files_free,
        "stores": usage.stores,
        "stores_present": usage.stores_present,
        "checkpoint": usage.checkpoint,
    })
}

fn stores(usage: &StatFs) -> alloc::string::String {
    let count = format!("{} of {} file stores", usage.stores_present, usage.stores);
    if usage.stores_present < usage.stores {
        format!("DEGRADED: {count}")
    } else {
        count
    }
}

async fn df(context: &Context<'_>) -> Outcome {
    let usage = context.system().statfs().await?;
    let block = storage::BLOCK_BYTES as u64;
    let used = usage.blocks.saturating_sub(usage.blocks_free);
    let percent = (u128::from(used) * 100)
        .checked_div(u128::from(usage.blocks))
        .unwrap_or(0);
    let rows = [
        vec![
            "".into(),
            "total".into(),
            "used".into(),
            "free".into(),
            "used %".into(),
        ],
        vec![
            "space".into(),
            text::bytes(usage.blocks.saturating_mul(block)),
            text::bytes(used.saturating_mul(block)),
            text::bytes(usage.blocks_free.saturating_mul(block)),
            percent.to_string(),
        ],
        vec![
            "files".into(),
            text::count(usage.files),
            text::count(usage.files.saturating_sub(usage.files_free)),
            text::count(usage.files_free),
        ],
    ];
    context
        .output
        .lines(text::table(&rows, &[1, 2, 3, 4]))
        .await;
    context
        .output
        .line(&format!(
            "{}, checkpoint {}",
            stores(&usage),
            usage.checkpoint
        ))
        .await;
    Ok(described(&usage))
}

async fn lost(context: &Context<'_>) -> Outcome {
    let All {
        named,
        found,
        is_full,
        is_unnamed,
    } = context.shell.losses.all(context.system()).await?;
    if named.is_empty() && !is_unnamed {
        context.output.line("nothing that is known of").await;
    }
    for it in &named {
        context.output.line(&it.line()).await;
    }
    let mut more = Vec::new();
    if is_unnamed {
        more.push(UNNAMED.to_string());
    }
    if is_full {
        more.push("of more files something is lost than are remembered".to_string());
    }
    if found.gave_up {
        more.push("there are more directories than are looked into".to_string());
    }
    for directory in &found.unreadable {
        let path = String::from_utf8_lossy(directory);
        more.push(format!(
            "{path}: cannot be read: what is in it cannot be named"
        ));
    }
    context.output.lines(more).await;
    let files: Vec<Value> = named.iter().map(Named::members).collect();
    Ok(json!({ "files": files, "more": is_full || is_unnamed }))
}

async fn sync(context: &Context<'_>) -> Outcome {
    let start_ns = now_ns();
    let checkpoint = context.system().sync().await?;
    let took_ns = now_ns() - start_ns;
    let took = text::duration(took_ns);
    context
        .output
        .line(&format!("checkpoint {checkpoint} in {took}"))
        .await;
    Ok(json!({ "checkpoint": checkpoint, "duration_ns": took_ns }))
}

async fn mount(context: &Context<'_>) -> Outcome {
    context.system().mount().await?;
    if context.shell.mounted_ns.get().is_none() {
        context.shell.mounted_ns.set(Some(now_ns()));
    }
    let usage = context.system().statfs().await?;
    let line = format!(
        "mounted, {}, checkpoint {}",
        stores(&usage),
        usage.checkpoint
    );
    context.output.line(&line).await;
    Ok(described(&usage))
}

async fn format_volume(context: &Context<'_>) -> Outcome {
    let checksum = |text: &str| match text {
        "xxh64" => Ok(Algorithm::Xxh64),
        "crc32c" => Ok(Algorithm::Crc32c),
        _ => Err("xxh64 or crc32c"),
    };
    let algorithm = context
        .arguments
        .parsed("checksum", checksum)?
        .unwrap_or_default();
    let offset = context.arguments.parsed("twin_offset", values::number_32)?;
    let twin_offset = offset.unwrap_or(TWIN_OFFSET);
    if !(1..=TWIN_OFFSET_MAX).contains(&twin_offset) {
        return Err(format!("twin_offset: expected 1 to {TWIN_OFFSET_MAX}").into());
    }
    match context.arguments.word(0) {
        Some("yes") => {}
        Some(other) => {
            return Err(Failure(format!(
                "format {other}: expected `yes` or nothing"
            )));
        }
        None => {
            let question = "Everything on the stack's disks will be lost. Format (yes/no)? ";
            match context.output.ask(question).await.as_deref().map(str::trim) {
                Some("yes" | "y") => {}
                Some(_) => return Err("not formatted".into()),
                None => return Err("expected `format yes`: everything will be lost".into()),
            }
        }
    }
    let start_ns = now_ns();
    // No two volumes are made at the same nanosecond of the same uptime.
    let volume = u128::from(SystemClock::new().now_ns()) << 64 | u128::from(start_ns);
    let format = VolumeFormat {
        volume,
        algorithm,
        twin_offset,
    };
    context.system().format(&format).await?;
    context.shell.losses.clear();
    context.shell.mounted_ns.set(Some(now_ns()));
    let usage = context.system().statfs().await?;
    let size = text::bytes(usage.blocks.saturating_mul(storage::BLOCK_BYTES as u64));
    let took = text::duration(now_ns() - start_ns);
    context
        .output
        .line(&format!("volume {volume:032x}: {size}, made in {took}"))
        .await;
    let mut result = described(&usage);
    result["volume"] = format!("{volume:032x}").into();
    Ok(result)
}
