//! The end of the machine.

use applications::arguments::Takes;
use manager::control::Shutdown;
use serde_json::{Value, json};
use storage::vfs::FileSystem as _;

use super::command;
use crate::shell::{Command, Context, Outcome};

pub const COMMANDS: &[Command] = &[
    command!(
        "poweroff",
        "poweroff",
        "syncs and switches the machine off",
        ["poweroff"],
        Takes::words(0, 0),
        poweroff
    ),
    command!(
        "reboot",
        "reboot",
        "syncs and starts the machine again",
        ["reboot"],
        Takes::words(0, 0),
        reboot
    ),
    command!(
        "reset",
        "reset",
        "starts again without a sync, as if the power had failed",
        ["reset"],
        Takes::words(0, 0),
        reset
    ),
];

async fn end(context: &Context<'_>, how: Shutdown) -> Outcome {
    context.output.flush().await;
    context.manager()?.shutdown(how).await?;
    Ok(Value::Null)
}

async fn poweroff(context: &Context<'_>) -> Outcome {
    synced(context).await?;
    end(context, Shutdown::PowerOff).await
}

async fn reboot(context: &Context<'_>) -> Outcome {
    synced(context).await?;
    end(context, Shutdown::Reboot).await
}

async fn reset(context: &Context<'_>) -> Outcome {
    end(context, Shutdown::Reset).await
}

/// Syncs, if there is a volume. If that fails the machine goes on, so that the user may act.
async fn synced(context: &Context<'_>) -> Outcome {
    match context.system().sync().await {
        Ok(checkpoint) => Ok(json!({ "checkpoint": checkpoint })),
        Err(storage::Error::NotFormatted | storage::Error::NotLoaded) => Ok(Value::Null),
        Err(error) => Err(crate::output::Failure::about("sync", error)),
    }
}
