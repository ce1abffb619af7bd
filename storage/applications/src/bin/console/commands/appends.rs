//! Appends, each made durable: what an `fsync` costs. The console waits for it as any application does.

use alloc::format;

use applications::{benches, text};
use runtime::time::SystemClock;
use workload::appends;

use super::system::growing;
use crate::{
    output::Failure,
    shell::{Context, Outcome},
};

/// Appends; the result has what all of it cost in counters.
pub async fn fsync(context: &Context<'_>) -> Outcome {
    if let Some(word) = context.arguments.word(1) {
        return Err(Failure(format!("`{word}` is a word too many")));
    }
    let parameters = benches::appends(context.arguments)?;
    let count = parameters.count;
    let mut progress = |done: u32| {
        let text = || format!("{done} of {count}");
        let output = context.output;
        output.progress(text, u64::from(done), u64::from(count))
    };
    let before = growing(context).await?;
    let clock = SystemClock::new();
    let report = appends::run(context.system(), &clock, &parameters, &mut progress).await?;
    let after = growing(context).await?;
    context
        .output
        .lines([
            format!(
                "{} times durable, {}",
                report.count,
                text::bytes(report.bytes)
            ),
            format!("median   {:>12}", text::duration(report.median_ns)),
            format!("99 %     {:>12}", text::duration(report.p99_ns)),
            format!("longest  {:>12}", text::duration(report.max_ns)),
            format!("appends  {:>12}", text::duration(report.appends_ns)),
            format!("total    {:>12}", text::duration(report.total_ns)),
        ])
        .await;
    let mut result = serde_json::to_value(&report)?;
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        result["counters"][name] = after.saturating_sub(before).into();
    }
    if report.count < count {
        return Err("stopped".into());
    }
    Ok(result)
}
