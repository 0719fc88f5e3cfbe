//! Looks whether events can be written to the sinks of Kafka of the mesh, and says so on the board.
//!
//! # Contract
//! Each sink is looked at when it is new or was changed, and again from time to time: often while it is not
//! ready. A look is no attempt, and no attempt waits for one. Clients of clusters that the mesh does not
//! have any more are closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::status::SinkStatus;
use millrace_model::{KafkaSink, Mesh, ObjectName, SinkState, StatusBoard};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Connector;

/// How long after a look the next one comes, for a sink that is ready and for one that is not.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));
/// The most looks at one time.
const AT_ONCE: usize = 8;

/// What came of a look.
type Looked = (Arc<KafkaSink>, Result<(), String>);

/// Who looks.
struct Looks {
    connector: Connector,
    board: Arc<StatusBoard>,
    /// Which sinks were looked at, or are being looked at, and when it is time to look again.
    known: BTreeMap<ObjectName, (Arc<KafkaSink>, Option<Instant>)>,
    under_way: JoinSet<Looked>,
}

/// Looks after the sinks of the newest mesh, until nobody makes meshes any more.
pub async fn watch(mut mesh: watch::Receiver<Arc<Mesh>>, connector: Connector, board: Arc<StatusBoard>) {
    let mut looks = Looks {
        connector,
        board,
        known: BTreeMap::new(),
        under_way: JoinSet::new(),
    };
    loop {
        let newest = mesh.borrow_and_update().clone();
        looks.keep(&newest);
        let next = looks.begin(&newest);
        tokio::select! {
            changed = mesh.changed() => if changed.is_err() { return },
            Some(looked) = looks.under_way.join_next() => if let Ok(looked) = looked {
                looks.note(looked);
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

// === impl Looks ===

impl Looks {
    /// Forgets what is gone.
    fn keep(&mut self, mesh: &Mesh) {
        self.known.retain(|name, _| mesh.kafka_sinks.contains_key(name));
        self.board.keep_kafka_sinks(mesh);
        #[cfg(feature = "kafka")]
        self.connector
            .shared
            .writers
            .keep(mesh.kafka_sinks.values().map(|sink| &**sink));
    }

    /// Begins the looks that are due, as far as there is room, and says when the next one is.
    fn begin(&mut self, mesh: &Mesh) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for (name, sink) in &mesh.kafka_sinks {
            let due = match self.known.get(name) {
                Some((known, due)) if Arc::ptr_eq(known, sink) => *due,
                _ => Some(now),
            };
            let Some(due) = due else { continue };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if self.under_way.len() < AT_ONCE {
                self.known.insert(name.clone(), (sink.clone(), None));
                let (connector, sink) = (self.connector.clone(), sink.clone());
                self.under_way.spawn(async move {
                    let looked = look(&sink, &connector).await;
                    (sink, looked)
                });
            }
            // Without room, the end of a look begins the next one.
        }
        next
    }

    /// Says what came of a look, unless the sink is another one by now.
    fn note(&mut self, (sink, looked): Looked) {
        let Some((known, due)) = self.known.get_mut(&sink.name) else {
            return;
        };
        if !Arc::ptr_eq(known, &sink) {
            return;
        }
        let (pause, state) = match &looked {
            Ok(()) => (PAUSES.0, SinkState::Ready),
            Err(_) => (PAUSES.1, SinkState::NotReady),
        };
        *due = Some(Instant::now() + pause);
        let status = SinkStatus {
            state,
            reason: looked.err(),
        };
        if self.board.set_kafka_sink(&sink, &status) {
            tell(&sink.name, &status);
        }
    }
}

#[cfg(feature = "kafka")]
async fn look(sink: &KafkaSink, connector: &Connector) -> Result<(), String> {
    crate::kafka::look::look(sink, &connector.shared).await
}

#[cfg(not(feature = "kafka"))]
fn look(_: &KafkaSink, _: &Connector) -> std::future::Ready<Result<(), String>> {
    std::future::ready(Err(crate::WITHOUT_KAFKA.to_owned()))
}

/// Logs another state, or another reason.
fn tell(sink: &ObjectName, status: &SinkStatus) {
    match &status.reason {
        Some(why) => tracing::warn!(%sink, "events cannot be written to this KafkaSink: {why}"),
        None => tracing::info!(%sink, "the topic of this KafkaSink can be reached"),
    }
}
