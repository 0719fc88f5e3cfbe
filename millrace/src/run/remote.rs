//! The Brokers whose channels are on servers of NATS or Kafka: each is opened, looked after and closed by
//! itself, so that servers which are away hold up no other Broker.
//!
//! Until a channel is open a stand-in ([`Away`]) refuses its events with the reason. The door opens behind
//! the lanes, as for every Broker: the log is known only when the dispatcher has a lane for each Trigger.

mod away;
#[cfg(feature = "jetstream")]
mod member;
mod on;
#[cfg(feature = "jetstream")]
mod on_jetstream;
#[cfg(feature = "kafka")]
mod on_kafka;
#[cfg(feature = "jetstream")]
mod sharing;
#[cfg(feature = "kafka")]
mod whole;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{Channel, Logs, Ownership};
use millrace_delivery::guard::Guard;
use millrace_delivery::servers::{Unfit, judge};
use millrace_event::ObjectName;
use millrace_model::{Broker, Mesh, Trigger};
#[cfg(feature = "jetstream")]
use millrace_trigger_dispatcher::Release;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use away::Away;
#[cfg(feature = "jetstream")]
pub(crate) use member::Myself;
use on::{On, Opened};

/// What the names of streams and topics begin with.
const MESH: &str = "millrace";

/// How long a change waits for the first try to open a new Broker's channel.
const FIRST_TRY: Duration = Duration::from_secs(15);
/// The pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// All of them.
#[derive(Debug)]
pub(super) struct Remote {
    logs: Logs,
    owned: Ownership,
    /// What the dispatcher is to serve.
    desired: watch::Receiver<Arc<Mesh>>,
    rebuild_state: bool,
    /// Where connections may lead.
    guard: Guard,
    /// Ends the serving of partitions that another process is to serve.
    #[cfg(feature = "jetstream")]
    release: Release,
    /// This process, as others are to know it.
    #[cfg(feature = "jetstream")]
    myself: Arc<Myself>,
    /// The process is about to end.
    ending: CancellationToken,
    kept: tokio::sync::Mutex<HashMap<ObjectName, Kept>>,
}

/// A Broker that is looked after.
#[derive(Debug)]
struct Kept {
    broker: Arc<Broker>,
    stop: CancellationToken,
    /// Ends waiting for servers that do not answer.
    ending: CancellationToken,
    task: JoinHandle<()>,
    /// Whether opening has been tried.
    tried: watch::Receiver<bool>,
}

/// What looks after one Broker.
#[derive(Debug)]
struct Looking {
    logs: Logs,
    owned: Ownership,
    desired: watch::Receiver<Arc<Mesh>>,
    name: ObjectName,
    on: On,
    guard: Guard,
    #[cfg(feature = "jetstream")]
    release: Release,
    #[cfg(feature = "jetstream")]
    myself: Arc<Myself>,
    /// The process is about to end, or the Broker is.
    #[cfg(feature = "jetstream")]
    ending: CancellationToken,
    stop: CancellationToken,
    tried: watch::Sender<bool>,
}

// === impl Remote ===

impl Remote {
    pub(super) fn new(
        logs: Logs,
        owned: Ownership,
        desired: watch::Receiver<Arc<Mesh>>,
        rebuild_state: bool,
        guard: Guard,
        #[cfg(feature = "jetstream")] release: Release,
        #[cfg(feature = "jetstream")] myself: Myself,
    ) -> Self {
        Self {
            logs,
            owned,
            desired,
            rebuild_state,
            guard,
            #[cfg(feature = "jetstream")]
            release,
            #[cfg(feature = "jetstream")]
            myself: Arc::new(myself),
            ending: CancellationToken::new(),
            kept: tokio::sync::Mutex::default(),
        }
    }

    /// Opens what the mesh has on servers, and closes what it has no longer. What cannot be opened now is
    /// tried again without an end.
    pub(super) async fn follow(&self, mesh: &Mesh) {
        self.let_go(mesh).await;
        let mut kept = self.kept.lock().await;
        let mut tried = Vec::new();
        for broker in mesh.brokers.values() {
            if !kept.contains_key(&broker.name)
                && let Some(begun) = self.begin(broker)
            {
                tried.push(begun.tried.clone());
                kept.insert(broker.name.clone(), begun);
            }
        }
        drop(kept);
        let all = async {
            for mut tried in tried {
                let _ = tried.wait_for(|tried| *tried).await;
            }
        };
        // Those that take longer come later.
        let _ = tokio::time::timeout(FIRST_TRY, all).await;
    }

    /// Closes what the mesh has no longer, or otherwise.
    pub(super) async fn let_go(&self, mesh: &Mesh) {
        let stays = |kept: &Kept| {
            let now = mesh.brokers.get(&kept.broker.name);
            now.is_some_and(|now| {
                now.backend == kept.broker.backend && now.retention == kept.broker.retention
            })
        };
        let mut kept = self.kept.lock().await;
        let gone = kept.extract_if(|_, one| !stays(one)).map(|(_, gone)| gone);
        end_all(gone.collect()).await;
    }

    fn begin(&self, broker: &Arc<Broker>) -> Option<Kept> {
        let (tried, has_tried) = watch::channel(false);
        let (stop, ending) = (CancellationToken::new(), self.ending.child_token());
        let on = On::of(broker, self.rebuild_state, &self.guard, ending.clone())?;
        let looking = Looking {
            logs: self.logs.clone(),
            owned: self.owned.clone(),
            desired: self.desired.clone(),
            name: broker.name.clone(),
            on,
            guard: self.guard.clone(),
            #[cfg(feature = "jetstream")]
            release: self.release.clone(),
            #[cfg(feature = "jetstream")]
            myself: self.myself.clone(),
            #[cfg(feature = "jetstream")]
            ending: ending.clone(),
            stop: stop.clone(),
            tried,
        };
        let span = tracing::error_span!(parent: None, "broker", broker = %broker.name);
        Some(Kept {
            broker: broker.clone(),
            stop,
            ending,
            task: tokio::spawn(looking.run().instrument(span)),
            tried: has_tried,
        })
    }

    /// From now on what has no answer is given up after a while.
    pub(super) fn end_soon(&self) {
        self.ending.cancel();
    }

    /// Closes all of them.
    pub(super) async fn close(&self) {
        let all = self.kept.lock().await.drain().map(|(_, one)| one).collect();
        end_all(all).await;
    }
}

/// Closes these channels, all at the same time.
async fn end_all(all: Vec<Kept>) {
    for one in &all {
        one.stop.cancel();
        one.ending.cancel();
    }
    for one in all {
        // A panic in it has been told.
        let _ = one.task.await;
    }
}

// === impl Looking ===

impl Looking {
    async fn run(self) {
        let mut said = String::new();
        let mut pause = PAUSES.0;
        loop {
            if self.logs.get(&self.name).is_none() {
                self.put_off("its channel on the servers is not open yet");
            }
            let opened = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                opened = self.open() => opened,
            };
            match opened {
                Err(error) => {
                    self.put_off(&error);
                    if said != error {
                        tracing::error!(error, "the broker's channel cannot be opened; it is tried again");
                        said = error;
                    }
                }
                Ok(opened) => {
                    said.clear();
                    pause = PAUSES.0;
                    if !self.serve(opened).await {
                        break;
                    }
                }
            }
            self.tried.send_replace(true);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            }
        }
        self.tried.send_replace(true);
        self.logs.remove(&self.name);
    }

    /// Opens the channel, unless the servers are at addresses to which no document may lead.
    async fn open(&self) -> Result<Opened, String> {
        let (guard, (servers, port)) = (self.guard.clone(), self.on.servers());
        let judged = tokio::task::spawn_blocking(move || judge_all(&guard, &servers, port));
        judged.await.map_err(|error| error.to_string())??;
        self.on
            .open(
                #[cfg(feature = "jetstream")]
                &self.myself,
            )
            .await
    }

    fn put_off(&self, reason: &str) {
        self.logs.insert(self.name.clone(), Arc::new(Away::new(reason)));
    }

    /// Serves an open channel until it cannot go on; whether it is to be opened again.
    async fn serve(&self, opened: Opened) -> bool {
        match opened {
            #[cfg(feature = "jetstream")]
            Opened::Shared(streams, members) => {
                use sharing::{End, Sharing};

                tracing::info!(
                    durability = streams.durability().as_str(),
                    partitions = streams.partitions().end,
                    "the broker's channel on the servers is open"
                );
                let end = Sharing::new(self, *streams, *members).run().await;
                if end == End::Lost {
                    self.put_off("the servers have lost events; the channel is opened anew");
                }
                end == End::Lost
            }
            #[cfg(feature = "kafka")]
            Opened::Whole(partition) => whole::serve(self, *partition).await,
        }
    }

    /// Whether each Trigger that is to be served has a lane in an owned partition.
    async fn has_lanes(&self, channel: &Arc<dyn Channel>) -> bool {
        let lanes = channel.lanes().await.unwrap_or_default();
        let known: Vec<_> = lanes.iter().map(|lane| (&lane.trigger, &*lane.uid)).collect();
        self.has_lanes_among(&known)
    }

    /// Whether each Trigger that is to be served has a lane among these, each a name with a uid. One that a
    /// cluster has made anew has another uid than the lane of the old one, whose place it does not take.
    fn has_lanes_among(&self, lanes: &[(&ObjectName, &str)]) -> bool {
        let mesh = self.desired.borrow().clone();
        let all = mesh.triggers.values();
        let mut wanted = all.filter(|trigger| trigger.broker == self.name);
        wanted.all(|trigger| lanes.iter().any(|(name, uid)| is_lane_of(trigger, name, uid)))
    }
}

/// Whether the lane with that name and uid is the Trigger's.
fn is_lane_of(trigger: &Trigger, name: &ObjectName, uid: &str) -> bool {
    *name == trigger.name && trigger.uid.as_deref().is_none_or(|wanted| wanted == uid)
}

/// Refuses servers at addresses to which no document may lead. Of several, one that has no address now does
/// not matter. Looks names up; blocking.
fn judge_all(guard: &Guard, servers: &[String], default_port: u16) -> Result<(), String> {
    let (mut is_fit, mut lacking) = (false, None);
    for url in servers {
        let address = url.split_once("://").map_or(url.as_str(), |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default_port)),
            _ => (address, default_port),
        };
        match judge(guard, host, port) {
            Ok(()) => is_fit = true,
            Err(Unfit::Refused(why)) => return Err(why),
            Err(Unfit::NotFound(why) | Unfit::Unknown(why)) => lacking = Some(why),
        }
    }
    match lacking {
        Some(why) if !is_fit => Err(why),
        _ => Ok(()),
    }
}
