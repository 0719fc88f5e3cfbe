//! The honest traffic: events, and probes of `/healthz`, at a steady pace, each with its outcome and time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::event::Message;
use crate::mesh::Mesh;
use crate::webhook::Call;
use crate::{Client, Event, wait_until};

use super::honest::{BROKER, SECRET, SOURCE, TYPE, Terms};

/// The time between the requests of one producer, and between probes of `/healthz`. After a late answer the
/// requests that were due meanwhile follow at once. Times count from when a request was due, so a stall shows
/// in more than one request.
const PACE: Duration = Duration::from_millis(20);

/// Honest traffic under way. Dropping it ends it.
#[derive(Debug)]
pub struct Traffic {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    outcome: Arc<Mutex<Outcome>>,
    is_called: bool,
}

/// The outcome of the traffic.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events that were accepted.
    pub(super) sent: Vec<Sent>,
    /// The ids of the calls that were accepted.
    pub(super) called: Vec<String>,
    /// Requests that were not accepted, and why.
    pub(super) refused: Vec<String>,
    /// How long `/healthz` took, each time it was answered with 200.
    pub healthy: Vec<Duration>,
    /// Every other outcome of a probe.
    pub(super) unhealthy: Vec<String>,
}

/// An event that was accepted.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: String,
    /// When it was due.
    pub(super) due: Instant,
    /// From then to the answer.
    took: Duration,
}

/// What a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Producer {
    /// Events, on one connection.
    Kept,
    /// Events, each on a connection of its own.
    Fresh,
    /// Signed calls of a forge, each on a connection of its own.
    Forge,
}

// === impl Traffic ===

impl Traffic {
    /// Begins, on the runtime of the caller.
    pub(super) fn begin(mesh: &Mesh, terms: &Terms) -> Self {
        let stop = watch::Sender::new(false);
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let mut tasks = JoinSet::new();
        let producers = [Producer::Kept, Producer::Fresh, Producer::Forge];
        let producers = producers
            .into_iter()
            .filter(|kind| *kind != Producer::Forge || terms.is_called);
        for producer in producers {
            let (outcome, client) = (outcome.clone(), Client::new(mesh.listen()));
            tasks.spawn(producer.run(client, outcome, stop.subscribe()));
        }
        let client = Client::new(mesh.admin().address());
        tasks.spawn(watch_health(client, outcome.clone(), stop.subscribe()));
        Self {
            stop,
            tasks,
            outcome,
            is_called: terms.is_called,
        }
    }

    /// Waits until so many more events were accepted, and half as many probes of `/healthz` and calls of the
    /// forge (if there is one) were answered.
    ///
    /// # Errors
    /// When that is not so before the deadline.
    pub async fn more(&self, events: usize) -> anyhow::Result<()> {
        let so_far = || {
            let outcome = self.outcome.lock();
            (outcome.sent.len(), outcome.healthy.len(), outcome.called.len())
        };
        let then = so_far();
        wait_until("honest traffic to go on", || async {
            let now = so_far();
            let (sent, healthy, called) = (now.0 - then.0, now.1 - then.1, now.2 - then.2);
            anyhow::ensure!(
                sent >= events && healthy >= events / 2 && (called >= events / 2 || !self.is_called),
                "{sent} events and {called} calls accepted, /healthz answered {healthy} times; refused: {:?}",
                self.outcome.lock().refused.first()
            );
            Ok(Some(()))
        })
        .await
    }

    /// Discards the outcome so far.
    pub fn forget(&self) {
        *self.outcome.lock() = Outcome::default();
    }

    /// Ends it; each request in hand is answered first.
    pub async fn stop(mut self) -> Outcome {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut *self.outcome.lock())
    }
}

// === impl Outcome ===

impl Outcome {
    /// Checks that no request was refused, and that `/healthz` was answered with 200 each time.
    pub(super) fn is_whole(&self) -> anyhow::Result<()> {
        let (refused, accepted) = (self.refused.len(), self.sent.len() + self.called.len());
        let first = self.refused.first();
        anyhow::ensure!(
            refused == 0,
            "{refused} requests were refused, {accepted} accepted: {first:?}"
        );
        let (unhealthy, first) = (self.unhealthy.len(), self.unhealthy.first());
        anyhow::ensure!(unhealthy == 0, "/healthz failed {unhealthy} times: {first:?}");
        Ok(())
    }

    /// How long each accepted event took, from when it was due to its answer.
    pub fn answers(&self) -> Vec<Duration> {
        self.sent.iter().map(|sent| sent.took).collect()
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// How often `/healthz` was not answered with 200.
    pub fn unhealthy(&self) -> usize {
        self.unhealthy.len()
    }
}

// === impl Producer ===

impl Producer {
    async fn run(self, mut client: Client, outcome: Arc<Mutex<Outcome>>, stop: watch::Receiver<bool>) {
        let mut pace = tokio::time::interval(PACE);
        for number in 0.. {
            let due = pace.tick().await.into_std();
            if *stop.borrow() {
                break;
            }
            let id = format!("{self:?}-{number}");
            if self != Self::Kept {
                client.close();
            }
            let (path, message) = self.request(&id);
            let answer = client.post(&path, &message).await;
            let mut outcome = outcome.lock();
            match answer {
                Ok(answer) if answer.status == 202 && self == Self::Forge => outcome.called.push(id),
                Ok(answer) if answer.status == 202 => outcome.sent.push(Sent {
                    id,
                    due,
                    took: due.elapsed(),
                }),
                Ok(answer) => outcome
                    .refused
                    .push(format!("{id}: {}: {:?}", answer.status, answer.body)),
                Err(error) => outcome.refused.push(format!("{id}: {error:#}")),
            }
        }
    }

    fn request(self, id: &str) -> (String, Message) {
        match self {
            Self::Kept | Self::Fresh => (format!("/{BROKER}"), Event::new(id, TYPE).binary()),
            Self::Forge => {
                let body = r#"{"ref": "refs/heads/main", "repository": {"full_name": "o/r"}}"#;
                let call = Call::github("push", id, body).signed_by_github(SECRET);
                (format!("/sources/shop/{SOURCE}"), call.message())
            }
        }
    }
}

/// Asks for `/healthz` as a supervisor does, on a connection of its own each time.
async fn watch_health(mut client: Client, outcome: Arc<Mutex<Outcome>>, stop: watch::Receiver<bool>) {
    let nothing = Message {
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let mut pace = tokio::time::interval(PACE);
    loop {
        let due = pace.tick().await.into_std();
        if *stop.borrow() {
            break;
        }
        client.close();
        let answer = client.send(&Method::GET, "/healthz", &nothing).await;
        let mut outcome = outcome.lock();
        match answer {
            Ok(answer) if answer.status == 200 => outcome.healthy.push(due.elapsed()),
            Ok(answer) => outcome
                .unhealthy
                .push(format!("{}: {:?}", answer.status, answer.body)),
            Err(error) => outcome.unhealthy.push(format!("{error:#}")),
        }
    }
}
