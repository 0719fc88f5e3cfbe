//! Gives the producers their answers without waking each of them from the writer's thread.
//!
//! Waking a task of another thread costs the writer a lock and often a system call; within the runtime it is
//! a push on the worker's own queue. So the writer hands the answers of a group over in one piece to a task
//! that gives them out.

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::LogError;

/// Who waits, and what it is told.
pub(super) type Answer = (oneshot::Sender<Result<u64, LogError>>, Result<u64, LogError>);

/// The way from the writer to the producers.
#[derive(Debug)]
pub(super) struct Answers {
    task: Option<mpsc::UnboundedSender<Vec<Answer>>>,
}

// === impl Answers ===

impl Answers {
    /// With a task on the runtime that this is called in, if there is one.
    pub(super) fn new() -> Self {
        let task = Handle::try_current().ok().map(|runtime| {
            // At most one group's answers per group written: the queue of appends bounds this one.
            let (sender, mut groups) = mpsc::unbounded_channel();
            runtime.spawn(async move {
                while let Some(group) = groups.recv().await {
                    give(group);
                }
            });
            sender
        });
        Self { task }
    }

    /// Answers a group. A single answer goes straight to its producer.
    pub(super) fn send(&self, group: Vec<Answer>) {
        match &self.task {
            Some(task) if group.len() > 1 => {
                // The runtime has gone, and with it most producers: answer here.
                if let Err(mpsc::error::SendError(group)) = task.send(group) {
                    give(group);
                }
            }
            _ => give(group),
        }
    }
}

fn give(group: Vec<Answer>) {
    for (answer, result) in group {
        // A producer that has gone away needs no answer; its event is stored all the same.
        let _ = answer.send(result);
    }
}
