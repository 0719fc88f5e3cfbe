//! One schedule: processes that follow each other as owners of partitions on simulated servers, and what goes
//! wrong meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use millrace_channel::simulated::{Options, Simulated};
use millrace_channel::{Channel, Logs, Ownership};
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::{Clock, Event, Intake, ObjectName, Origin, Refusal, Timestamp};
use millrace_filter::Turns;
use millrace_model::{Mesh, StatusBoard};
use millrace_trigger_dispatcher::{
    Applied, Dispatcher, DispatcherOptions, Metrics, Observation, Observer, Parts,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::book::Book;
use crate::documents::{Documents, name};

/// How far the clock moves at a time.
const TICK: Duration = Duration::from_millis(50);
/// How long a schedule may take to settle everything once nothing goes wrong any more.
const SETTLES: Duration = Duration::from_secs(600);
/// The most processes that live at a time.
const PROCESSES: usize = 3;

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
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) owned: Ownership,
    /// By partition.
    pub(crate) channels: BTreeMap<u32, Arc<dyn Channel>>,
    /// The partitions that it owns or has owned. It gets none a second time, so that its late attempts are
    /// told from its new ones.
    had: BTreeSet<u32>,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<()>,
    applied: watch::Receiver<Applied>,
    mesh: watch::Sender<Arc<Mesh>>,
}

pub(crate) struct World {
    /// One for each partition.
    pub(crate) servers: Vec<Simulated>,
    /// The servers' clock and one for each process, which all move together: tokio wakes those who wait for
    /// the same clock in any order.
    pub(crate) clocks: Arc<Mutex<Vec<Clock>>>,
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) documents: Documents,
    connector: Connector,
    processes: usize,
    pub(crate) events: usize,
    pub(crate) live: Vec<Process>,
    /// Owners that do not know yet that they are none any more.
    pub(crate) zombies: Vec<Process>,
    /// By partition: the revision that counts there once its owner has applied it, and the one that is known
    /// to count.
    counts: BTreeMap<u32, (u64, u64)>,
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
                for event in &events {
                    book.take(self.process, &by, event.id());
                }
                Ok(())
            }
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Clock::manual(Timestamp(1_000_000));
        let mut choices = fastrand::Rng::with_seed(seed);
        let latency = Duration::from_millis(choices.u64(0..=30));
        let partitions = choices.u32(1..=3);
        let servers = (0..partitions).map(|nth| {
            Simulated::new(Options {
                seed: seed.wrapping_add(u64::from(nth) << 32),
                // Not from 0 on, so that nobody relies on that.
                partition: 3 + 2 * nth,
                chunk: choices.usize(1..=4),
                atomic_batch: false,
                latency,
                clock: clock.clone(),
            })
        });
        Self {
            servers: servers.collect(),
            clocks: Arc::new(Mutex::new(vec![clock])),
            book: Arc::new(Mutex::new(Book::new(seed))),
            documents: Documents::new(),
            connector: Connector::new(ConnectorOptions::default()),
            processes: 0,
            events: 0,
            live: Vec::new(),
            zombies: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    async fn play(&mut self) {
        let clocks = self.clocks.clone();
        let ticks = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                clocks.lock().iter().for_each(|clock| clock.advance(TICK));
            }
        });
        let all: Vec<u32> = self.servers.iter().map(Simulated::partition).collect();
        let (some, others) = all.split_at(1 + self.choose(all.len() as u32) as usize);
        for partitions in [some, others].into_iter().filter(|some| !some.is_empty()) {
            self.start(partitions);
        }
        for process in &self.live {
            let mut applied = process.applied.clone();
            let _ = applied.wait_for(|applied| applied.has_all_of(1)).await;
        }
        for _ in 0..8 + self.choose(21) {
            self.step().await;
            self.book.lock().look(&self.servers);
        }
        self.settle().await;
        ticks.abort();
    }

    pub(crate) fn choose(&self, below: u32) -> u32 {
        self.book.lock().choices.u32(0..below)
    }

    /// One of the partitions.
    pub(crate) fn any(&self) -> &Simulated {
        &self.servers[self.choose(self.servers.len() as u32) as usize]
    }

    pub(crate) fn servers_of(&self, partition: u32) -> &Simulated {
        let mut all = self.servers.iter();
        all.find(|servers| servers.partition() == partition)
            .expect("a partition")
    }

    /// The process that owns the partition, by its place among the living.
    pub(crate) fn owner(&self, partition: u32) -> usize {
        let owns = |process: &Process| process.channels.contains_key(&partition);
        self.live.iter().position(owns).expect("somebody owns it")
    }

    /// The channel of the partition's owner.
    pub(crate) fn channel(&self, partition: u32) -> Arc<dyn Channel> {
        self.live[self.owner(partition)].channels[&partition].clone()
    }

    /// The revision of the documents that is known to be in effect for a partition.
    pub(crate) fn in_effect(&mut self, partition: u32) -> u64 {
        let applied = self.live[self.owner(partition)].applied.borrow().clone();
        let (counts_from, known) = self.counts.get_mut(&partition).expect("a partition");
        if applied.has_all_of(*counts_from) {
            *known = applied.revision.max(*known);
        }
        *known
    }

    /// Shows the newest documents to all who live.
    pub(crate) fn publish(&self) {
        let mesh = self.documents.mesh();
        for process in &self.live {
            process.mesh.send_replace(mesh.clone());
        }
    }

    /// Another process takes partitions over: one that lives, or a new one.
    pub(crate) fn hand_over(&mut self, partitions: &[u32]) {
        let may_have = |process: &Process| partitions.iter().all(|one| !process.had.contains(one));
        let other = self.live.iter().position(may_have);
        let is_new = self.live.len() < PROCESSES && self.choose(2) == 0;
        match other {
            Some(process) if !is_new => {
                for partition in partitions {
                    // What it has applied already says nothing of this partition.
                    self.gain(process, *partition, self.documents.newest() + 1);
                }
            }
            _ => self.start(partitions),
        }
    }

    /// The process takes the partition over. `counts_from`: once it has applied that, that counts there.
    fn gain(&mut self, process: usize, partition: u32, counts_from: u64) {
        let channel = self.servers_of(partition).open();
        let number = self.live[process].number;
        self.book.lock().takes_over(number, self.servers_of(partition));
        let known = self.counts.get(&partition).map_or(0, |(_, known)| *known);
        self.counts.insert(partition, (counts_from, known));
        let process = &mut self.live[process];
        process.had.insert(partition);
        process.channels.insert(partition, channel.clone());
        process.owned.gain([(name("default"), channel)]);
    }

    /// A new process begins with these partitions.
    fn start(&mut self, partitions: &[u32]) {
        self.processes += 1;
        let number = self.processes;
        let (logs, owned) = (Logs::default(), Ownership::default());
        // Whoever asks for it asks whether it is open. A partition is read through its channel.
        logs.insert(name("default"), self.servers[0].log());
        let clock = {
            let mut clocks = self.clocks.lock();
            let clock = Clock::manual(clocks[0].now());
            clocks.push(clock.clone());
            clock
        };
        let (sender, mesh) = watch::channel(self.documents.mesh());
        let parts = Parts {
            mesh,
            logs,
            owned: owned.clone(),
            connector: self.connector.clone(),
            intake: Arc::new(Subscribers {
                process: number,
                book: self.book.clone(),
            }),
            board: Arc::new(StatusBoard::default()),
            clock,
            turns: TURNS.clone(),
            observer: Some(self.observer(number)),
            own_ingress: millrace_delivery::own_ingress::OwnIngress::default(),
            metrics: Metrics::default(),
        };
        let dispatcher = Dispatcher::new(parts, DispatcherOptions::default());
        let stop = CancellationToken::new();
        let applied = dispatcher.applied();
        self.live.push(Process {
            number,
            owned,
            channels: BTreeMap::new(),
            had: BTreeSet::new(),
            stop: stop.clone(),
            applied,
            // It does not run before this function waits for something.
            ended: tokio::spawn(dispatcher.run(stop)),
            mesh: sender,
        });
        for partition in partitions {
            self.gain(self.live.len() - 1, *partition, self.documents.newest());
        }
    }

    /// Tells the book of the attempts of a process.
    fn observer(&self, process: usize) -> Observer {
        let book = self.book.clone();
        Observer::new(
            move |observed| {
                if let Observation::Attempted { attempt, .. } = observed {
                    book.lock().attempted(process, attempt);
                }
            },
            || true,
        )
    }

    /// Nothing goes wrong any more: everything must settle.
    async fn settle(&mut self) {
        self.book.lock().is_calm = true;
        for servers in &self.servers {
            let nothing = servers.log().ends()[0].head;
            servers.hide(nothing, nothing);
        }
        self.documents.bring_back();
        self.publish();
        let until = tokio::time::Instant::now() + SETTLES;
        loop {
            self.resume().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut book = self.book.lock();
            book.look(&self.servers);
            let missing = book.missing(&self.documents);
            let rows: Vec<_> = self.servers.iter().flat_map(Simulated::rows).collect();
            if missing.is_empty() && rows.is_empty() || !book.broken.is_empty() {
                let unwanted = book.unwanted(&self.documents);
                if !unwanted.is_empty() {
                    book.broken
                        .push(format!("delivered although no filter lets it pass: {unwanted:?}"));
                }
                return;
            }
            if tokio::time::Instant::now() > until {
                book.broken
                    .push(format!("lost or never attempted: {missing:?}, rows {rows:?}"));
                return;
            }
        }
    }
}
