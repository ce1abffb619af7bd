//! The manager's server end.

use alloc::{rc::Rc, string::String, vec::Vec};

use manager::{
    control::{self, Control, Progress, RoleHistory, Series, Shutdown},
    injection::{Injection, Listed},
};
use runtime::Request;
use storage::Result;

use crate::stack_of_tasks::Tasks;

/// Serves one request.
pub async fn answer(tasks: Rc<Tasks>, request: Request) {
    let server = Server {
        tasks,
        from: request.from(),
    };
    let reply = control::serve(&server, request.message(), request.receive()).await;
    request.reply(&reply);
}

struct Server {
    tasks: Rc<Tasks>,
    /// The role that asks.
    from: u64,
}

impl Control for Server {
    fn kill(&self, role: &str) -> Result<()> {
        self.tasks.kill_by_name(role, self.from)
    }

    async fn start_series(&self, series: Series) -> Result<()> {
        self.tasks.start_series(series).await
    }

    fn series_progress(&self) -> Progress {
        self.tasks.series_progress()
    }

    fn stop_series(&self) -> Progress {
        self.tasks.stop_series()
    }

    fn history(&self) -> Vec<RoleHistory> {
        (0..self.tasks.stack.tasks.len())
            .map(|task| self.tasks.history(task))
            .collect()
    }

    fn stack(&self) -> String {
        let mut text = String::new();
        for (task, entry) in self.tasks.stack.tasks.iter().enumerate() {
            text.push_str(&entry.summary());
            if let state @ ("absent" | "stopped") = self.tasks.state(task) {
                text.push_str("  (");
                text.push_str(state);
                text.push(')');
            }
            text.push('\n');
        }
        text
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.tasks.shutdown(how)
    }

    async fn inject(&self, injection: Injection) -> Result<u32> {
        self.tasks.inject(injection, self.from).await
    }

    async fn injections(&self) -> Vec<Listed> {
        self.tasks.injections().await
    }

    async fn switch_off(&self, number: Option<u32>) -> Result<u32> {
        self.tasks.switch_off(number).await
    }
}
