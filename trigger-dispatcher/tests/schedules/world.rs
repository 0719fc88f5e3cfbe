//! One schedule: processes that follow each other on one simulated backend, and what goes wrong meanwhile.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use millrace_channel::simulated::{Options, Simulated};
use millrace_channel::{Channel, Class, LaneState, Logs, Ownership, ParkedQuery};
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::{Clock, DataForm, Event, Intake, ObjectName, Origin, Refusal, SpecVersion, Timestamp};
use millrace_filter::{Compiled, Turns};
use millrace_model::{Broker, DeliveryPolicy, Mesh, OnFull, Retention, StatusBoard, Target, Trigger};
use millrace_trigger_dispatcher::{Dispatcher, DispatcherOptions, Metrics, Observation, Observer, Parts};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::book::Book;

/// Without a dead-letter sink, and with one.
const TRIGGERS: [&str; 2] = ["plain", "letters"];
/// How far the clock moves at a time.
const TICK: Duration = Duration::from_millis(50);
/// How long a schedule may take to settle everything once nothing goes wrong any more.
const SETTLES: Duration = Duration::from_secs(600);

/// Filters that need no turns: nothing runs on another thread.
static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns::new(1));

/// What came of a schedule.
pub(crate) struct Ran {
    /// What happened, in order.
    pub(crate) told: Vec<String>,
    /// The promises that were broken.
    pub(crate) broken: Vec<String>,
}

/// A process with a dispatcher.
struct Process {
    number: usize,
    channel: Arc<dyn Channel>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
    applied: watch::Receiver<u64>,
    _mesh: watch::Sender<Arc<Mesh>>,
}

struct World {
    servers: Simulated,
    /// The servers' clock and one for each process, which all move together: tokio wakes those who wait for
    /// the same clock in any order.
    clocks: Arc<Mutex<Vec<Clock>>>,
    book: Arc<Mutex<Book>>,
    connector: Connector,
    processes: usize,
    events: usize,
    live: Option<Process>,
    /// Owners that do not know yet that they are none any more.
    zombies: Vec<Process>,
}

/// The subscribers, as one process reaches them.
struct Subscribers {
    process: usize,
    book: Arc<Mutex<Book>>,
}

/// Runs one schedule.
pub(crate) fn run(seed: u64) -> Ran {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed);
        world.play().await;
        let mut book = world.book.lock();
        Ran {
            told: std::mem::take(&mut book.told),
            broken: std::mem::take(&mut book.broken),
        }
    })
}

#[async_trait::async_trait]
impl Intake for Subscribers {
    async fn admit(&self, target: &ObjectName, events: Vec<Event>, _: Origin) -> Result<(), Refusal> {
        let (waits, choice) = {
            let mut book = self.book.lock();
            (book.choices.u64(0..120), book.choices.u32(0..100))
        };
        tokio::time::sleep(Duration::from_millis(waits)).await;
        if self.book.lock().dead.contains(&self.process) {
            std::future::pending::<()>().await;
        }
        let mut book = self.book.lock();
        match choice {
            0..25 if !book.is_calm => Err(Refusal::UnknownBroker(target.clone())),
            25..40 if !book.is_calm => Err(Refusal::TooLarge("too large".to_owned())),
            _ => {
                let by = target.name().trim_end_matches("-dead").to_owned();
                let taken = events.iter().map(|event| (by.clone(), event.id().to_owned()));
                book.taken.extend(taken);
                Ok(())
            }
        }
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn event(id: &str) -> Event {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/s")
        .attribute("type", "t");
    event.data(DataForm::Bytes, b"1").build().expect("a valid event")
}

fn mesh() -> Mesh {
    let broker = Broker {
        name: name("default"),
        uid: None,
        retention: Retention::default(),
        backlog_bytes: None,
        on_full: OnFull::Refuse,
    };
    let triggers = TRIGGERS.iter().map(|own| Trigger {
        name: name(own),
        uid: None,
        broker: name("default"),
        compiled: Arc::new(Compiled::new(&[]).expect("valid filters")),
        filters: Vec::new(),
        subscriber: Ok(Target::Broker(name(own))),
        dead_letter: (*own == "letters").then(|| Ok(Target::Broker(name("letters-dead")))),
        delivery: DeliveryPolicy {
            retry: 2,
            ..DeliveryPolicy::default()
        },
        parallelism: 3,
        max_deferred: 1_000,
        max_parked: 1_000,
    });
    Mesh {
        revision: 1,
        brokers: [(name("default"), Arc::new(broker))].into(),
        triggers: triggers.map(|one| (one.name.clone(), Arc::new(one))).collect(),
        ..Mesh::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Clock::manual(Timestamp(1_000_000));
        let mut choices = fastrand::Rng::with_seed(seed);
        let servers = Simulated::new(Options {
            seed,
            chunk: choices.usize(1..=4),
            atomic_batch: false,
            latency: Duration::from_millis(choices.u64(0..=30)),
            clock: clock.clone(),
        });
        Self {
            servers,
            clocks: Arc::new(Mutex::new(vec![clock])),
            book: Arc::new(Mutex::new(Book::new(seed))),
            connector: Connector::new(ConnectorOptions::default()),
            processes: 0,
            events: 0,
            live: None,
            zombies: Vec::new(),
        }
    }

    /// Another process takes the partition over.
    fn start(&mut self) {
        self.processes += 1;
        let number = self.processes;
        let channel = self.servers.open();
        self.book.lock().takes_over(number, &self.servers);
        let (logs, owned) = (Logs::default(), Ownership::default());
        logs.insert(name("default"), self.servers.log());
        owned.gain([(name("default"), channel.clone())]);
        let clock = {
            let mut clocks = self.clocks.lock();
            let clock = Clock::manual(clocks[0].now());
            clocks.push(clock.clone());
            clock
        };
        let (sender, mesh) = watch::channel(Arc::new(mesh()));
        let book = self.book.clone();
        let observer = Observer::new(
            move |observed| {
                if let Observation::Attempted { attempt, .. } = observed {
                    book.lock().attempted(number, attempt);
                }
            },
            || true,
        );
        let parts = Parts {
            mesh,
            logs,
            owned,
            connector: self.connector.clone(),
            intake: Arc::new(Subscribers {
                process: number,
                book: self.book.clone(),
            }),
            board: Arc::new(StatusBoard::default()),
            clock,
            turns: TURNS.clone(),
            observer: Some(observer),
            own_ingress: None,
            metrics: Metrics::default(),
        };
        let dispatcher = Dispatcher::new(parts, DispatcherOptions::default());
        let stop = CancellationToken::new();
        self.live = Some(Process {
            number,
            channel,
            stop: stop.clone(),
            applied: dispatcher.applied(),
            ended: tokio::spawn(dispatcher.run(stop)),
            _mesh: sender,
        });
        self.book.lock().tell(format!("{number} takes over"));
    }

    fn live(&self) -> &Process {
        self.live.as_ref().expect("one is alive")
    }

    fn choose(&self, below: u32) -> u32 {
        self.book.lock().choices.u32(0..below)
    }

    async fn play(&mut self) {
        let clocks = self.clocks.clone();
        let ticks = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                clocks.lock().iter().for_each(|clock| clock.advance(TICK));
            }
        });
        self.start();
        let mut applied = self.live().applied.clone();
        let _ = applied.wait_for(|revision| *revision == 1).await;
        let lanes = self.live().channel.lanes().await.expect("lanes");
        let named = lanes
            .into_iter()
            .map(|lane| (lane.id, lane.trigger.name().to_owned()));
        self.book.lock().lanes = named.collect();
        for _ in 0..8 + self.choose(24) {
            self.step().await;
            self.book.lock().look(&self.servers);
        }
        self.settle().await;
        ticks.abort();
    }

    /// One choice of what happens next.
    async fn step(&mut self) {
        match self.choose(100) {
            0..40 => self.append().await,
            40..65 => tokio::time::sleep(Duration::from_millis(u64::from(self.choose(700)))).await,
            65..75 => {
                let (chunks, is_stored) = (self.choose(5) as usize, self.choose(2) == 0);
                self.servers.cut_once(chunks, is_stored);
            }
            75..80 => {
                // What is on its way may be stored in part.
                self.servers.cut_off(self.choose(4) as usize);
                let while_cut = u64::from(self.choose(300));
                tokio::time::sleep(Duration::from_millis(while_cut)).await;
                let killed = self.live.take().expect("one is alive");
                self.book.lock().dead.insert(killed.number);
                self.zombies.push(killed);
                self.start();
            }
            80..85 => {
                let zombie = self.live.take().expect("one is alive");
                self.zombies.push(zombie);
                self.start();
            }
            85..88 => self.restart().await,
            88..96 => self.command().await,
            96..98 => self.pause().await,
            _ => self.lose(),
        }
    }

    async fn append(&mut self) {
        let count = 1 + self.choose(4) as usize;
        let ids: Vec<_> = (0..count).map(|nth| format!("e{}", self.events + nth)).collect();
        self.events += count;
        let events = ids.iter().map(|id| event(id)).collect();
        let stored = self.servers.log().append(events, Class::Producer).await;
        if stored.is_ok() {
            self.book.lock().acknowledged.extend(ids);
        }
    }

    /// A clean stop and a start.
    async fn restart(&mut self) {
        let ends = self.live.take().expect("one is alive");
        ends.stop.cancel();
        let _ = ends.ended.await;
        let closed = ends.channel.close().await;
        self.book
            .lock()
            .tell(format!("{} closed: {closed:?}", ends.number));
        self.start();
    }

    /// Somebody drops or redrives a parked event.
    async fn command(&mut self) {
        let all = ParkedQuery {
            limit: 100,
            ..ParkedQuery::default()
        };
        let channel = self.live().channel.clone();
        let parked = channel.parked(all).await.unwrap_or_default();
        if parked.is_empty() {
            return;
        }
        let one = &parked[self.choose(parked.len() as u32) as usize];
        let is_drop = self.choose(2) == 0;
        let done = match is_drop {
            true => channel.drop_parked(&one.id).await,
            false => channel.redrive(&one.id).await,
        };
        let mut book = self.book.lock();
        book.tell(format!(
            "{} of {}: {done:?}",
            if is_drop { "drop" } else { "redrive" },
            one.id
        ));
        book.commanded(one, is_drop, done.ok());
    }

    async fn pause(&mut self) {
        let channel = self.live().channel.clone();
        let lanes = channel.lanes().await.unwrap_or_default();
        let lane = &lanes[self.choose(lanes.len() as u32) as usize];
        let _ = channel.set_lane_state(lane.id, LaneState::Paused).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.resume().await;
    }

    async fn resume(&mut self) {
        let channel = self.live().channel.clone();
        for lane in channel.lanes().await.unwrap_or_default() {
            if lane.state == LaneState::Paused {
                let _ = channel.set_lane_state(lane.id, LaneState::Active).await;
            }
        }
    }

    /// The servers lose the newest events, and restart.
    fn lose(&mut self) {
        let log = self.servers.log();
        let ends = log.ends()[0];
        let back = u64::from(self.choose(12)).min(ends.head.offset - ends.oldest.offset);
        let mut from = ends.head;
        from.offset -= back;
        let lost = self.servers.lose_suffix(from);
        let mut book = self.book.lock();
        book.tell(format!("the servers lost {lost:?}"));
        book.lost.extend(lost);
        drop(book);
        let zombie = self.live.take().expect("one is alive");
        self.zombies.push(zombie);
        self.start();
    }

    /// Nothing goes wrong any more: everything must settle.
    async fn settle(&mut self) {
        self.book.lock().is_calm = true;
        let until = tokio::time::Instant::now() + SETTLES;
        loop {
            self.resume().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut book = self.book.lock();
            book.look(&self.servers);
            let missing = book.missing(&TRIGGERS);
            if missing.is_empty() && self.servers.rows().is_empty() || !book.broken.is_empty() {
                return;
            }
            if tokio::time::Instant::now() > until {
                let rows = self.servers.rows();
                book.broken
                    .push(format!("lost or never attempted: {missing:?}, rows {rows:?}"));
                return;
            }
        }
    }
}
