//! Serving a Broker ends before its folder is given back: whoever does that asks for it here.

use millrace_event::ObjectName;
use tokio::sync::{mpsc, oneshot};

/// Asks that may wait; more callers wait for room.
const QUEUE: usize = 16;

/// Asks the dispatcher to serve a Broker no longer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Release {
    asked: mpsc::Sender<Asked>,
}

/// What was asked: the Broker, and whom to tell when nothing works on its channel any more.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) broker: ObjectName,
    pub(crate) done: oneshot::Sender<()>,
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
        let (done, ended) = oneshot::channel();
        let broker = broker.clone();
        // A dispatcher that has ended serves nothing.
        if self.asked.send(Asked { broker, done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}
