//! What producers see while the pod is away: events posted at a steady rate, each over a connection of its
//! own, whatever became of the one before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

use crate::{Client, Event, wait_until};

/// How often an event is posted.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a producer waits for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many events are accepted when a disturbance is over.
const SOME: usize = 200;

/// Producers at work. Dropping them stops them.
#[derive(Debug)]
pub struct Callers {
    calls: Arc<Mutex<Vec<Call>>>,
    work: AbortHandle,
}

#[derive(Clone, Debug)]
struct Call {
    id: String,
    began: Instant,
    accepted: bool,
}

/// What producers felt of a disturbance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Refused {
    /// Events that were not accepted.
    events: usize,
    /// From the first of them to the first that was accepted after the last of them.
    time: Duration,
}

// === impl Callers ===

impl Callers {
    /// Starts them; they post events `<name>-<n>` to the Broker at that path.
    pub fn start(address: SocketAddr, path: &str, name: &str) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (kept, path, name) = (calls.clone(), path.to_owned(), name.to_owned());
        let work = tokio::spawn(async move {
            let mut open = JoinSet::new();
            let mut ticks = tokio::time::interval(PAUSE);
            for number in 0_u64.. {
                ticks.tick().await;
                while open.try_join_next().is_some() {}
                let (kept, path, id) = (kept.clone(), path.clone(), format!("{name}-{number}"));
                open.spawn(async move {
                    let began = Instant::now();
                    let event = Event::new(&id, "called").binary();
                    let mut client = Client::new(address);
                    let answer = tokio::time::timeout(PATIENCE, client.post(&path, &event)).await;
                    let accepted = answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 202));
                    kept.lock().push(Call { id, began, accepted });
                });
            }
        });
        Self {
            calls,
            work: work.abort_handle(),
        }
    }

    /// The ids of the events that were accepted so far.
    pub fn accepted(&self) -> Vec<String> {
        let calls = self.calls.lock();
        let accepted = calls.iter().filter(|call| call.accepted);
        accepted.map(|call| call.id.clone()).collect()
    }

    /// Waits until they are answered again, and prints what they have felt of a disturbance since it began.
    ///
    /// # Errors
    /// When they are not answered before the deadline.
    pub async fn tell(&self, disturbance: &str, begin: Instant) -> anyhow::Result<()> {
        let before = self.accepted().len();
        wait_until("producers to be answered", || async {
            Ok((self.accepted().len() > before + SOME).then_some(()))
        })
        .await?;
        println!("{disturbance}: {}", self.refused_since(begin));
        Ok(())
    }

    /// What they have felt of a disturbance that began at that time and is over.
    fn refused_since(&self, begin: Instant) -> Refused {
        let mut calls = self.calls.lock().clone();
        calls.retain(|call| call.began >= begin);
        calls.sort_by_key(|call| call.began);
        let refused = |call: &Call| !call.accepted;
        let Some(first) = calls.iter().find(|call| refused(call)) else {
            return Refused::default();
        };
        let last = calls.iter().rposition(refused).unwrap_or_default();
        let again = calls.get(last + 1).or(calls.last());
        let end = again.map_or(first.began, |call| call.began);
        Refused {
            events: calls.iter().filter(|call| refused(call)).count(),
            time: end.duration_since(first.began),
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.events {
            0 => write!(f, "nobody was refused"),
            events => write!(
                f,
                "refused for {:.1} s ({events} events)",
                self.time.as_secs_f64()
            ),
        }
    }
}
