//! What a transaction of PostMark takes in instructions, by task: the same on a host that does other things as well.

use std::collections::BTreeMap;

use anyhow::Result;

use super::figure::Figure;
use super::{Bench, formatted, postmark};
use crate::guest::Accelerator;
use crate::ui::Step;

/// Two runs: what they have in common, such as creating the files, falls out of the difference.
const TRANSACTIONS: [u64; 2] = [800, 2800];

/// The instructions of each task, and of the kernel for it.
pub fn take(bench: &Bench, step: &Step) -> Result<Vec<Figure>> {
    let mut runs = Vec::new();
    for transactions in TRANSACTIONS {
        let mut machine = bench.machine(1)?;
        machine.accelerator = Accelerator::CountingTcg;
        let mut guest = formatted(&machine)?;
        let command = format!(
            "bench {} files=400 transactions={transactions}",
            postmark::PRESET
        );
        let report = postmark::run(&mut guest, step, &command)?;
        guest.power_off(super::start::LIMIT, |_| {})?;
        let tasks = report["cpu_ns"].as_object().into_iter().flatten();
        let tasks = tasks.map(|(task, ns)| (task.clone(), ns.as_u64().unwrap_or(0) as f64));
        runs.push(tasks.collect::<BTreeMap<_, _>>());
    }
    let [few, many] = &runs[..] else {
        unreachable!("there is a run of each length");
    };
    let transactions = (TRANSACTIONS[1] - TRANSACTIONS[0]) as f64;
    let figure = |(task, ns): (&String, &f64)| {
        let instructions = (ns - few.get(task).unwrap_or(&0.0)) / transactions;
        (task.clone(), instructions)
    };
    let tasks = many.iter().map(figure).filter(|&(_, count)| count >= 100.0);
    let figure =
        |(task, count)| Figure::plain(format!("a transaction in {task}"), count, "instructions");
    Ok(tasks.map(figure).collect())
}
