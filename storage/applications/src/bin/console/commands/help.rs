//! The console itself.

use alloc::{format, string::ToString, vec, vec::Vec};

use applications::{arguments::Takes, records, text, values};
use serde_json::Value;

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome, all, find, unknown},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "help",
        "help [COMMAND]",
        "lists the commands, or says all about one",
        ["help", "help kill"],
        Takes::words(0, 1),
        help
    ),
    command!(
        "log",
        "log [off|error|warn|info|debug|trace]",
        "shows records of the log up to this level on the terminal",
        ["log debug"],
        Takes::words(0, 1),
        log
    ),
    command!(
        "colour",
        "colour on|off",
        "switches the terminal's colours",
        ["colour off"],
        Takes::words(1, 1),
        colour
    ),
    command!(
        "echo",
        "echo [WORD]...",
        "writes its words",
        ["echo \"phase two\""],
        Takes::words(0, 64),
        echo
    ),
];

async fn help(context: &Context<'_>) -> Outcome {
    if let Some(name) = context.arguments.word(0) {
        let command = find(name).ok_or_else(|| unknown(name))?;
        context
            .output
            .line(&format!("{}: {}", command.name, command.summary))
            .await;
        for usage in command.usage.lines() {
            context.output.line(&format!("  usage    {usage}")).await;
        }
        for (key, text) in command.keys {
            let key = format!("{key}=");
            context.output.line(&format!("  {key:<8} {text}")).await;
        }
        for example in command.examples {
            context.output.line(&format!("  example  {example}")).await;
        }
        return Ok(Value::Null);
    }
    let mut group = "";
    let mut rows = Vec::new();
    for (title, command) in all() {
        if title != group {
            group = title;
            rows.push(vec![format!("{title}:")]);
        }
        let example = format!("  {}", command.examples[0]);
        rows.push(vec![example, command.summary.to_string()]);
    }
    context.output.lines(text::table(&rows, &[])).await;
    Ok(Value::Null)
}

async fn log(context: &Context<'_>) -> Outcome {
    let terminal = &context.shell.terminal;
    let Some(name) = context.arguments.word(0) else {
        let level = records::LEVELS
            .get(usize::from(terminal.level()))
            .unwrap_or(&"?");
        let level = if terminal.level() == 0 { "off" } else { level };
        context.output.line(level).await;
        return Ok(Value::Null);
    };
    let expected = |expected| Failure(format!("log {name}: expected {expected}"));
    terminal.set_level(records::level(name).map_err(expected)?);
    Ok(Value::Null)
}

async fn colour(context: &Context<'_>) -> Outcome {
    let expected = |_| Failure("colour: expected on or off".into());
    let colours = values::switch(context.word(0)).map_err(expected)?;
    context.shell.terminal.set_colours(colours);
    Ok(Value::Null)
}

async fn echo(context: &Context<'_>) -> Outcome {
    context
        .output
        .line(&context.arguments.words.join(" "))
        .await;
    Ok(Value::Null)
}
