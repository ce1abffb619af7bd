//! The manager's server end.

use alloc::{rc::Rc, string::String, vec::Vec};

use manager::control::{self, Control, Progress, RoleHistory, Series, Shutdown};
use runtime::Request;
use storage::Result;

use crate::stack_of_tasks::Tasks;

/// Serves one request.
pub async fn answer(tasks: Rc<Tasks>, request: Request) {
    let reply = control::serve(&Server(tasks), request.message(), request.receive());
    request.reply(&reply);
}

struct Server(Rc<Tasks>);

impl Control for Server {
    fn kill(&self, role: &str) -> Result<()> {
        self.0.kill_by_name(role)
    }

    fn start_series(&self, series: Series) -> Result<()> {
        self.0.start_series(series)
    }

    fn series_progress(&self) -> Progress {
        self.0.series_progress()
    }

    fn stop_series(&self) -> Progress {
        self.0.stop_series()
    }

    fn history(&self) -> Vec<RoleHistory> {
        (0..self.0.stack.tasks.len())
            .map(|task| self.0.history(task))
            .collect()
    }

    fn stack(&self) -> String {
        let mut text = String::new();
        for (task, entry) in self.0.stack.tasks.iter().enumerate() {
            text.push_str(&entry.summary());
            if let state @ ("absent" | "stopped") = self.0.state(task) {
                text.push_str("  (");
                text.push_str(state);
                text.push(')');
            }
            text.push('\n');
        }
        text
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.0.shutdown(how)
    }
}
