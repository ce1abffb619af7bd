//! PostMark as a task of its own: takes jobs from the console and does them through naming.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{start, time::SystemClock};
use storage::vfs;
use workload::postmark::{
    interface::{Job, Outcome, Server},
    run as run_postmark, verify,
};

/// Requests that are served at a time; there is one console, and one of its requests waits for the outcome.
const REQUESTS: usize = 4;

runtime::main!(run);

async fn run() {
    let server = Rc::new(Server::default());
    runtime::serve(REQUESTS, move |request| {
        let server = server.clone();
        async move {
            // Jobs are numbered from the time, so that those of an earlier instance are not
            // taken for one's own.
            let numbers_from = runtime::time::now_ns();
            let (message, send) = (request.message(), request.send());
            let served = server.serve(message, &send, request.receive(), numbers_from);
            let (reply, job) = served.await;
            request.reply(&reply);
            if let Some(job) = job {
                runtime::spawn(async move {
                    let outcome = carry_out(&server, job).await;
                    server.finish(&outcome);
                });
            }
        }
    })
    .await;
}

async fn carry_out(server: &Server, job: Job) -> Outcome {
    let naming = start::peer("naming").expect("the description names naming as a peer");
    let system = vfs::Client::new(naming);
    let mut tell = |progress| server.tell(progress);
    match job {
        Job::Run(parameters) => {
            log::info!(
                "{} files, {} transactions, seed {}",
                parameters.files,
                parameters.transactions,
                parameters.seed
            );
            let report = run_postmark(&system, &SystemClock::new(), &parameters, &mut tell).await;
            log::info!(
                "{} transactions per second, {} errors",
                report.transactions_per_second(),
                report.errors.count
            );
            Outcome::Run(report)
        }
        Job::Verify(parameters, check) => {
            Outcome::Verify(verify(&system, &parameters, check, &mut tell).await)
        }
    }
}
