//! Serving a Broker ends before its folder is given back, and serving a partition before another process gets
//! it: whoever does that asks for it here.

use std::time::Duration;

use millrace_event::ObjectName;
use tokio::sync::{mpsc, oneshot};

/// Asks that may wait; more callers wait for room.
const QUEUE: usize = 16;

/// Asks the dispatcher to serve a Broker, or a partition of it, no longer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Release {
    asked: mpsc::Sender<Asked>,
}

/// What was asked: what is to end, and whom to tell when nothing works on its channel any more.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) broker: ObjectName,
    pub(crate) what: What,
    pub(crate) done: oneshot::Sender<()>,
}

/// What is to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// All of a Broker that is gone.
    Forget,
    /// One partition, which another process is to serve.
    LetGo {
        partition: u32,
        /// How long attempts under way may take to end.
        drain: Duration,
    },
}

// === impl Release ===

impl Release {
    /// A way to ask, and where the asks arrive.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asked, asks) = mpsc::channel(QUEUE);
        (Self { asked }, asks)
    }

    /// Ends serving a Broker that is gone. Its lanes are forgotten, with what is owed to them, and it is no
    /// longer shown. Its partitions leave the ownership, so that nothing serves them again. Attempts that are
    /// under way end by themselves; what comes of them is not noted.
    pub async fn broker(&self, broker: &ObjectName) {
        self.ask(broker, What::Forget).await;
    }

    /// Ends serving one partition, which another process is to serve: what is under way ends, up to the drain
    /// timeout, and what is settled is written down. The partition leaves the ownership.
    pub async fn partition(&self, broker: &ObjectName, partition: u32, drain: Duration) {
        self.ask(broker, What::LetGo { partition, drain }).await;
    }

    async fn ask(&self, broker: &ObjectName, what: What) {
        let (done, ended) = oneshot::channel();
        let broker = broker.clone();
        // A dispatcher that has ended serves nothing.
        if self.asked.send(Asked { broker, what, done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}
