//! Producers: keep-alive connections that send one event after the other and remember which were accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Client, Event};

/// Some producers at work. A broken connection ends nothing: an event without an answer counts as not
/// accepted, and each goes on with the next one as soon as it is told where. Dropping them stops them.
#[derive(Debug)]
pub struct Producers {
    told: watch::Sender<Told>,
    accepted: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    address: SocketAddr,
    /// How often they were told to go elsewhere: the same port may come back.
    moves: u64,
    stop: bool,
}

// === impl Producers ===

impl Producers {
    /// As many producers as there are `seeds`, each sending to the broker at `path` what `event` makes of an
    /// id, with small pauses of random length (its seed's) of less than `pause`.
    pub fn start(
        address: SocketAddr,
        path: &str,
        seeds: impl IntoIterator<Item = u64>,
        pause: Duration,
        event: impl Fn(&str) -> Event + Clone + Send + 'static,
    ) -> Self {
        let told = watch::Sender::new(Told {
            address,
            moves: 0,
            stop: false,
        });
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let tasks = seeds.into_iter().enumerate().map(|(number, seed)| {
            let producer = Producer {
                name: format!("p{number}"),
                path: path.to_owned(),
                chance: fastrand::Rng::with_seed(seed),
                pause,
                told: told.subscribe(),
                accepted: accepted.clone(),
            };
            tokio::spawn(producer.run(event.clone()))
        });
        let tasks = tasks.collect();
        Self {
            told,
            accepted,
            tasks,
        }
    }

    /// Where to send from now on.
    pub fn moved(&self, address: SocketAddr) {
        self.told.send_modify(|told| {
            told.address = address;
            told.moves += 1;
        });
    }

    /// How many events were accepted so far.
    pub fn count(&self) -> usize {
        self.accepted.lock().len()
    }

    /// The ids of the events that were accepted so far.
    pub fn accepted(&self) -> Vec<String> {
        self.accepted.lock().clone()
    }

    /// Ends them, each after its answer; gives the ids of all events that were accepted.
    ///
    /// # Errors
    /// When an answer was neither 202 nor 503.
    pub async fn stop(self) -> anyhow::Result<Vec<String>> {
        self.told.send_modify(|told| told.stop = true);
        for task in self.tasks {
            task.await??;
        }
        Ok(std::mem::take(&mut *self.accepted.lock()))
    }
}

struct Producer {
    name: String,
    path: String,
    chance: fastrand::Rng,
    pause: Duration,
    told: watch::Receiver<Told>,
    accepted: Arc<Mutex<Vec<String>>>,
}

// === impl Producer ===

impl Producer {
    async fn run(mut self, event: impl Fn(&str) -> Event) -> anyhow::Result<()> {
        let mut client: Option<(u64, Client)> = None;
        let mut failed = None;
        for number in 0.. {
            let Some(told) = self.told_after(failed).await else {
                break;
            };
            if client.as_ref().is_none_or(|(moves, _)| *moves != told.moves) {
                client = Some((told.moves, Client::new(told.address)));
            }
            let Some((_, connection)) = &mut client else { break };
            let id = format!("{}-{number}", self.name);
            match connection.post(&self.path, &event(&id).binary()).await {
                Ok(answer) if answer.status == 202 => self.accepted.lock().push(id),
                Ok(answer) if answer.status == 503 => {}
                Ok(answer) => bail!("{id}: {}: {:?}", answer.status, answer.body),
                Err(_) => {
                    client = None;
                    failed = Some(told.moves);
                }
            }
            let pause = self.chance.f64();
            tokio::time::sleep(self.pause.mul_f64(pause)).await;
        }
        Ok(())
    }

    /// Where to send, once that is told anew after a failure; `None`: it is time to end.
    async fn told_after(&mut self, failed: Option<u64>) -> Option<Told> {
        let wanted = |told: &Told| told.stop || Some(told.moves) != failed;
        let told = *self.told.wait_for(wanted).await.ok()?;
        Some(told).filter(|told| !told.stop)
    }
}
