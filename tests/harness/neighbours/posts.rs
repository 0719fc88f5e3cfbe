//! A hostile producer: it posts the same messages again and again, as fast as they are answered or at a pace.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::event::Message;
use crate::{Client, Mesh};

use super::{Counts, HOSTILE_PEER};

/// What a hostile producer posts.
#[derive(Clone, Debug)]
pub(super) struct Posts {
    /// The path.
    pub(super) path: String,
    /// The messages, one after the other, then from the first again.
    pub(super) messages: Vec<Message>,
    /// The pause after each answer.
    pub(super) pause: Duration,
}

// === impl Posts ===

impl Posts {
    /// Posts to a Broker of `shop`, almost without pauses.
    pub(super) fn new(broker: &str, messages: Vec<Message>) -> Self {
        Self {
            path: format!("/shop/{broker}"),
            messages,
            pause: Duration::from_millis(1),
        }
    }

    /// The same with longer pauses.
    pub(super) fn every(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Posts until it is dropped.
    pub(super) fn run(&self, mesh: &Mesh, counts: Arc<Counts>) -> impl Future<Output = ()> + Send + 'static {
        let mut client = Client::new(mesh.listen()).of_peer(HOSTILE_PEER);
        let posts = self.clone();
        async move {
            for message in posts.messages.iter().cycle() {
                let outcome = client.post(&posts.path, message).await;
                let count = match outcome {
                    Ok(answer) if answer.status == 202 => &counts.accepted,
                    Ok(_) | Err(_) => &counts.refused,
                };
                count.fetch_add(1, Ordering::Relaxed);
                // A hostile pace, which is the test's choice; nothing is waited for.
                tokio::time::sleep(posts.pause).await;
            }
        }
    }
}
