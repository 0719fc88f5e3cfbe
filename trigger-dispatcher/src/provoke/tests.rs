//! Promise: a panic ends no task for good and loses nothing, and an event that provokes it each time is given
//! up.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_budget::{Ledger, Use as _};
use millrace_channel::embedded::{ChannelOptions, Durability, OpenError, Store, StoreOptions};
use millrace_channel::{Channel, Channels, Class, LaneState, Parked, ParkedQuery};
use millrace_delivery::{Connector, ConnectorOptions};
use millrace_event::{Clock, DataForm, Event, Intake, ObjectName, Origin, Refusal, SpecVersion, Timestamp};
use millrace_filter::{Compiled, Filter, Turns};
use millrace_model::status::TriggerStatus;
use millrace_model::{Broker, DeliveryPolicy, Mesh, OnFull, Retention, StatusBoard, Target, Trigger};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::testing::{Held, Provoked};
use crate::metrics::BrokerMetrics;
use crate::watched::Task;
use crate::{Dispatcher, DispatcherOptions, Metrics, Parts};

/// The Broker to which the triggers deliver: what it accepted, and what it refuses at first.
#[derive(Debug)]
struct Taker {
    taken: Mutex<HashMap<ObjectName, Vec<String>>>,
    refuses: Mutex<u32>,
    open: Semaphore,
}

#[async_trait::async_trait]
impl Intake for Taker {
    async fn admit(&self, broker: &ObjectName, events: Vec<Event>, _: Origin) -> Result<(), Refusal> {
        let _open = self.open.acquire().await;
        let mut refuses = self.refuses.lock();
        if *refuses > 0 {
            *refuses -= 1;
            return Err(Refusal::UnknownBroker(broker.clone()));
        }
        let mut taken = self.taken.lock();
        let ids = taken.entry(broker.clone()).or_default();
        ids.extend(events.iter().map(|event| event.id().to_owned()));
        Ok(())
    }
}

/// A dispatcher at work on a real channel.
struct World {
    channel: Arc<dyn Channel>,
    taker: Arc<Taker>,
    provoked: Arc<Provoked>,
    board: Arc<StatusBoard>,
    clock: Clock,
    desired: watch::Sender<Arc<Mesh>>,
    applied: watch::Receiver<u64>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    counts: BrokerMetrics,
    _folder: Option<TempDir>,
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

/// A trigger that delivers to the broker of its own name.
fn trigger(own: &str, filters: Vec<Filter>) -> Trigger {
    Trigger {
        name: name(own),
        uid: None,
        broker: name("default"),
        compiled: Arc::new(Compiled::new(&filters).expect("valid filters")),
        filters,
        subscriber: Ok(Target::Broker(name(own))),
        dead_letter: None,
        delivery: DeliveryPolicy::default(),
        parallelism: 4,
        max_deferred: 1_000,
        max_parked: 1_000,
    }
}

fn by_name<M: FromIterator<(ObjectName, Arc<Trigger>)>>(triggers: Vec<Trigger>) -> M {
    let named = triggers
        .into_iter()
        .map(|trigger| (trigger.name.clone(), Arc::new(trigger)));
    named.collect()
}

fn event(id: &str) -> Event {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/s")
        .attribute("type", "t");
    event.build().expect("a valid event")
}

/// Too much work for an allowance, so that `asks` is asked about it in turns.
fn heavy(id: &str) -> Event {
    let data = format!(r#"[{}{{"name": 1}}]"#, "0,".repeat(100_000));
    let heavy = event(id)
        .edit()
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, data.as_bytes())
        .build();
    heavy.expect("a valid event")
}

impl World {
    async fn start(triggers: Vec<Trigger>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp(1_000_000));
        let mut world = Self::start_in(folder.path(), clock, triggers).await;
        world._folder = Some(folder);
        world
    }

    async fn start_in(folder: &Path, clock: Clock, triggers: Vec<Trigger>) -> Self {
        Self::start_with(folder, clock, triggers, DispatcherOptions::default()).await
    }

    async fn start_with(
        folder: &Path,
        clock: Clock,
        triggers: Vec<Trigger>,
        dispatching: DispatcherOptions,
    ) -> Self {
        let options = StoreOptions {
            durability: Durability::Os,
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let store = loop {
            match Store::open(folder, options.clone()) {
                // The previous process is still ending.
                Err(OpenError::Locked(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.expect("a store"),
            }
        };
        let keeps = ChannelOptions {
            retention_age: Duration::from_secs(3_600),
            retention_bytes: 1 << 20,
            backlog_bytes: None,
            drop_oldest: false,
        };
        let channel = store.channel(&name("default"), keeps).await.expect("a channel");
        let channels = Channels::default();
        channels.insert(name("default"), channel.clone());
        let broker = Broker {
            name: name("default"),
            uid: None,
            retention: Retention::default(),
            backlog_bytes: None,
            on_full: OnFull::Refuse,
        };
        let mesh = Mesh {
            revision: 1,
            brokers: [(name("default"), Arc::new(broker))].into(),
            triggers: by_name(triggers),
            ..Mesh::default()
        };
        let taker = Arc::new(Taker {
            taken: Mutex::default(),
            refuses: Mutex::new(0),
            open: Semaphore::new(100),
        });
        let board = Arc::new(StatusBoard::default());
        let metrics = Metrics::default();
        let counts = metrics.of(&name("default"));
        let (desired, wanted) = watch::channel(Arc::new(mesh));
        let dispatcher = Dispatcher::new(
            Parts {
                mesh: wanted,
                channels,
                connector: Connector::new(ConnectorOptions::default()),
                intake: taker.clone(),
                board: board.clone(),
                clock: clock.clone(),
                turns: Turns::new(1),
                observer: None,
                own_ingress: None,
                metrics,
            },
            dispatching,
        );
        let provoked = dispatcher.provoked();
        let mut applied = dispatcher.applied();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ended = tokio::spawn(dispatcher.run(stopped));
        applied
            .wait_for(|revision| *revision == 1)
            .await
            .expect("it is served");
        Self {
            channel,
            taker,
            provoked,
            board,
            clock,
            desired,
            applied,
            stop,
            ended,
            counts,
            _folder: None,
        }
    }

    /// Sets these triggers, and waits until they are in effect.
    async fn apply(&self, triggers: Vec<Trigger>) {
        self.desired.send_modify(|mesh| {
            let mut newest = Mesh::clone(mesh);
            newest.revision += 1;
            newest.triggers = by_name(triggers);
            *mesh = Arc::new(newest);
        });
        let wanted = self.desired.borrow().revision;
        self.until("the documents to be in effect", async || {
            (*self.applied.borrow() == wanted).then_some(())
        })
        .await;
    }

    async fn until_reached(&self, held: &Held) {
        self.until("a task to stand still", async || held.reached.try_recv().ok())
            .await;
    }

    /// Stops as a process does on request; attempts in flight end.
    async fn stop(self) {
        self.stop.cancel();
        self.ended.await.expect("it ends");
    }

    async fn append(&self, ids: &[&str]) {
        for id in ids {
            let appended = self.channel.append(vec![event(id)], Class::Producer).await;
            appended.expect("it is stored");
        }
    }

    /// Waits, while the wall clock runs fast.
    async fn until<T>(&self, what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(found) = condition().await {
                return found;
            }
            self.clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain for {what}");
    }

    fn taken(&self, trigger: &str) -> Vec<String> {
        let mut ids = self
            .taker
            .taken
            .lock()
            .get(&name(trigger))
            .cloned()
            .unwrap_or_default();
        ids.sort();
        ids
    }

    async fn parked(&self) -> Vec<Parked> {
        let all = ParkedQuery {
            limit: 100,
            ..ParkedQuery::default()
        };
        self.channel.parked(all).await.expect("they are listed")
    }

    fn status(&self, trigger: &str) -> TriggerStatus {
        let all = self.board.triggers_of(&name("default"));
        all.get(&name(trigger)).cloned().unwrap_or_default()
    }

    /// Waits until nothing is left to do, in memory and in the stored state.
    async fn until_settled(&self, trigger: &str) {
        self.until("the trigger to settle everything", async || {
            let status = self.status(trigger);
            let idle = status.queued == 0 && status.deferred == 0 && status.backlog == 0;
            let stored = self.channel.router().await.ok()?;
            (idle && status.cursor == self.channel.head().offset && stored == self.channel.head())
                .then_some(())
        })
        .await;
    }

    async fn until_panicked(&self) {
        self.until("the panic", async || (self.provoked.left() == 0).then_some(()))
            .await;
        let told = self.board.brokers();
        let told = told
            .get(&name("default"))
            .and_then(|status| status.reason.clone());
        assert!(
            told.is_some_and(|told| told.contains("provoke.rs:") && !told.contains("provoked in")),
            "its place is in the status, without its words"
        );
    }
}

fn all_of(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

const IDS: [&str; 5] = ["a", "b", "bad", "c", "d"];

#[tokio::test]
async fn an_attempt_that_panics_once_is_made_again_and_counted_once() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    world.provoked.panic(Task::Worker, Some("bad"), 2);
    world.append(&IDS).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), all_of(&IDS));
    assert_eq!(world.parked().await, Vec::new());
    assert_eq!(world.status("t").delivered, 5);
}

#[tokio::test]
async fn an_event_whose_attempts_panic_five_times_is_given_up_on() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    world.provoked.panic(Task::Worker, Some("bad"), 5);
    world.append(&IDS).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    let parked = world
        .until("it to be parked", async || {
            Some(world.parked().await).filter(|parked| !parked.is_empty())
        })
        .await;
    assert_eq!(parked.len(), 1);
    assert!(
        parked[0].reason.contains("a task of it panicked"),
        "{}",
        parked[0].reason
    );
    let told = &parked[0].failures[0].reason;
    assert!(
        told.contains("provoke.rs:") && !told.contains("provoked in"),
        "{told}"
    );
    assert_eq!(world.taken("t"), all_of(&["a", "b", "c", "d"]));
}

#[tokio::test]
async fn an_event_whose_filters_panic_is_decided_by_each_lane_for_itself() {
    let asks = |text: &str| vec![Filter::Cesql(text.to_owned())];
    let triggers = vec![
        trigger("wants", asks("LENGTH(id) > 0")),
        trigger("wants-not", asks("LENGTH(id) > 50")),
        trigger(
            "cheap",
            vec![Filter::Exact(vec![("id".to_owned(), "bad".to_owned())])],
        ),
    ];
    let world = World::start(triggers).await;
    world.provoked.panic(Task::Router, Some("bad"), 1);
    world.append(&IDS).await;
    world.until_panicked().await;
    for trigger in ["wants", "wants-not", "cheap"] {
        world.until_settled(trigger).await;
    }
    assert_eq!(world.taken("wants"), all_of(&IDS));
    assert_eq!(world.taken("wants-not"), Vec::<String>::new());
    assert_eq!(world.taken("cheap"), ["bad"]);
}

#[tokio::test]
async fn each_task_begins_again_and_nothing_is_lost() {
    for task in [Task::Router, Task::Progress, Task::Worker] {
        let world = World::start(vec![trigger("t", vec![])]).await;
        world.provoked.panic(task, None, 2);
        world.append(&IDS).await;
        world.until_panicked().await;
        world.append(&["later"]).await;
        world.until_settled("t").await;
        assert_eq!(
            world.taken("t"),
            all_of(&[&IDS[..], &["later"]].concat()),
            "{task}"
        );
        assert_eq!(world.status("t").delivered, 6, "{task}");
    }
}

#[tokio::test]
async fn rows_that_are_due_are_fetched_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    *world.taker.refuses.lock() = 1;
    world.provoked.panic(Task::Due, None, 2);
    world.append(&["a"]).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ["a"]);
}

#[tokio::test]
async fn a_lane_that_fell_behind_is_fed_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    let closed = world
        .taker
        .open
        .acquire_many(100)
        .await
        .expect("it is never closed");
    let ids: Vec<String> = (0..1_500).map(|n| format!("{n:04}")).collect();
    let events: Vec<Event> = ids.iter().map(|id| event(id)).collect();
    for events in events.chunks(100) {
        let appended = world.channel.append(events.to_vec(), Class::Producer).await;
        appended.expect("they are stored");
    }
    world
        .until("the lane to fall behind", async || {
            (world.status("t").state == "behind").then_some(())
        })
        .await;
    world.provoked.panic(Task::CatchUp, None, 2);
    drop(closed);
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ids);
}

#[tokio::test]
async fn a_command_is_carried_out_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    let lanes = world.channel.lanes().await.expect("they are listed");
    world.provoked.panic(Task::Commands, None, 2);
    let paused = world.channel.set_lane_state(lanes[0].id, LaneState::Paused).await;
    paused.expect("it is stored");
    world.until_panicked().await;
    world
        .until("the pause", async || {
            (world.status("t").state == "paused").then_some(())
        })
        .await;
}

/// The filters of another trigger.
fn other() -> Vec<Filter> {
    vec![Filter::Exact(vec![("id".to_owned(), "other".to_owned())])]
}

/// One life of a process that ends as if killed while a task looks at the event `killer`. Returns what is
/// parked once the killer has been given up.
fn live_until_the_killer(folder: &Path, clock: &Clock, first: bool) -> Option<Vec<Parked>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let triggers = vec![
        trigger("asks", vec![Filter::JsonPath("$..name".to_owned())]),
        trigger("other", other()),
    ];
    let (held, parked) = runtime.block_on(async {
        let world = World::start_in(folder, clock.clone(), triggers).await;
        let task = if first { Task::Router } else { Task::Worker };
        let held = world.provoked.hold(task, "killer", 0);
        if first {
            let killer = vec![heavy("killer"), event("other")];
            let appended = world.channel.append(killer, Class::Producer).await;
            appended.expect("it is stored");
        }
        let end = world
            .until("the killer to be looked at, or given up on", async || {
                let reached = held.reached.try_recv().is_ok();
                let parked = world.parked().await;
                (reached || !parked.is_empty()).then_some(parked)
            })
            .await;
        (held, end)
    });
    runtime.shutdown_background();
    drop(held);
    (!parked.is_empty()).then_some(parked)
}

#[test]
fn an_event_whose_routing_ends_the_process_is_given_up_on_by_those_who_ask_about_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(Timestamp(1_000_000));
    let lives = (0..10).find_map(|life| {
        let parked = live_until_the_killer(folder.path(), &clock, life == 0)?;
        Some((life, parked))
    });
    let (lives, parked) = lives.expect("it is given up on");
    assert!(lives >= 5, "{lives} ends are no proof");
    assert_eq!(parked.len(), 1, "by the lane alone whose filter was asked");
    assert_eq!(parked[0].trigger, name("asks"));
    let reason = &parked[0].reason;
    assert!(
        reason.contains("while the filters of this trigger were asked"),
        "{reason}"
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let triggers = vec![
            trigger("asks", vec![Filter::JsonPath("$..name".to_owned())]),
            trigger("other", other()),
        ];
        let world = World::start_in(folder.path(), clock.clone(), triggers).await;
        world.until_settled("asks").await;
        world.until_settled("other").await;
        assert_eq!(world.taken("asks"), Vec::<String>::new());
    });
}

/// Two triggers: one that asks for this path, and one that takes everything.
fn asking(path: &str) -> Vec<Trigger> {
    let asks = vec![Filter::JsonPath(path.to_owned())];
    vec![trigger("asks", asks), trigger("all", vec![])]
}

#[tokio::test]
async fn nothing_is_lost_by_a_stop_while_an_event_is_asked_about_in_turns() {
    // Several times: whether the fault showed depended on the order in which two things were looked at.
    for _ in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp(1_000_000));
        let world = World::start_in(folder.path(), clock.clone(), asking("$..name")).await;
        world.append(&["before"]).await;
        world.until_settled("all").await;
        let held = world.provoked.hold(Task::Router, "heavy", 1);
        let appended = world.channel.append(vec![heavy("heavy")], Class::Producer);
        appended.await.expect("it is stored");
        world.until_reached(&held).await;
        world.append(&["a", "b", "c"]).await;
        let taken = world.taker.clone();
        world.stop().await;
        let before = taken.taken.lock().get(&name("all")).cloned();
        assert_eq!(before, Some(all_of(&["before"])), "what follows keeps its order");
        drop(held);
        let world = World::start_in(folder.path(), clock, asking("$..name")).await;
        world.until_settled("all").await;
        world.until_settled("asks").await;
        assert_eq!(world.taken("all"), all_of(&["heavy", "a", "b", "c"]));
        assert_eq!(world.taken("asks"), ["heavy"]);
    }
}

#[tokio::test]
async fn changes_of_filters_do_not_wait_for_an_event_that_is_asked_about_in_turns() {
    let world = World::start(asking("$..name")).await;
    let first = world.provoked.hold(Task::Router, "heavy", 1);
    let appended = world.channel.append(vec![heavy("heavy")], Class::Producer);
    appended.await.expect("it is stored");
    world.until_reached(&first).await;
    world.apply(asking("$..other")).await;
    let second = world.provoked.hold(Task::Router, "heavy", 0);
    first.until.send(()).expect("it stands still");
    world.until_reached(&second).await;
    world.apply(asking("$..name")).await;
    second.until.send(()).expect("it stands still");
    world.append(&["after"]).await;
    world.until_settled("asks").await;
    world.until_settled("all").await;
    assert_eq!(world.taken("asks"), ["heavy"], "by the filter that counts now");
    assert_eq!(world.taken("all"), ["after", "heavy"]);
}

#[tokio::test]
async fn a_change_elsewhere_makes_no_event_be_asked_about_again() {
    let world = World::start(asking("$..name")).await;
    let first = world.provoked.hold(Task::Router, "heavy", 1);
    let appended = world.channel.append(vec![heavy("heavy")], Class::Producer);
    appended.await.expect("it is stored");
    world.until_reached(&first).await;
    let mut triggers = asking("$..name");
    triggers[1].max_parked = 7;
    world.apply(triggers).await;
    let second = world.provoked.hold(Task::Router, "heavy", 0);
    first.until.send(()).expect("it stands still");
    world.until_settled("asks").await;
    assert_eq!(world.taken("asks"), ["heavy"]);
    assert!(second.reached.try_recv().is_err(), "it was asked about once");
}

#[tokio::test]
async fn an_event_that_some_lanes_were_given_before_a_panic_is_given_to_each_once() {
    let names = ["one", "two", "three"];
    let world = World::start(names.map(|name| trigger(name, vec![])).into()).await;
    // Where the filters are asked, and after the event was given to the first lane.
    world.provoked.panic(Task::Router, Some("bad"), 2);
    world.append(&IDS).await;
    world.until_panicked().await;
    for name in names {
        world.until_settled(name).await;
        assert_eq!(world.taken(name), all_of(&IDS), "{name}");
        assert_eq!(world.status(name).delivered, 5, "{name}");
    }
    let counted = (world.counts.routed.get(), world.counts.matched.get());
    assert_eq!(counted, (5, 15), "each event and each match once");
}

#[tokio::test]
async fn rows_of_no_lane_are_lost_by_a_panic_between_two_lanes() {
    let names = ["one", "two", "three"];
    let world = World::start(names.map(|name| trigger(name, vec![])).into()).await;
    *world.taker.refuses.lock() = 3;
    world.provoked.panic(Task::Progress, None, 2);
    world.append(&["a"]).await;
    world.until_panicked().await;
    for name in names {
        world.until_settled(name).await;
        assert_eq!(world.taken(name), ["a"], "{name}");
    }
}

#[tokio::test]
async fn what_an_allowance_sufficed_for_counts_once_when_the_rest_is_asked_in_turns() {
    let mut triggers = asking("$..name");
    triggers.push(trigger("cheap", vec![Filter::Cesql("LENGTH(id) > 0".to_owned())]));
    let world = World::start(triggers).await;
    world.append(&["light"]).await;
    let appended = world.channel.append(vec![heavy("heavy")], Class::Producer);
    appended.await.expect("it is stored");
    world.append(&["after"]).await;
    for name in ["asks", "all", "cheap"] {
        world.until_settled(name).await;
    }
    assert_eq!(world.taken("asks"), ["heavy"]);
    assert_eq!(world.taken("all"), ["after", "heavy", "light"]);
    assert_eq!(world.taken("cheap"), ["after", "heavy", "light"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_is_given_back_just_before_a_lane_stands_in_line_for_it_is_found() {
    // Both events are as large. Somebody else has half of the memory.
    let bytes = event("1").stored().len();
    let in_flight = Arc::new(Ledger::new(2 * bytes));
    in_flight.take_anyway(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let options = DispatcherOptions {
        in_flight: in_flight.clone(),
        ..DispatcherOptions::default()
    };
    let clock = Clock::manual(Timestamp(1_000_000));
    // One worker has the first event in hand, and the other one is the only one that looks for the second.
    let trigger = Trigger {
        parallelism: 2,
        ..trigger("t", vec![])
    };
    let world = World::start_with(folder.path(), clock, vec![trigger], options).await;
    let closed = world.taker.open.acquire_many(100).await;
    let closed = closed.expect("it is never closed");
    let held = world.provoked.hold(Task::Worker, "2", 0);
    world.append(&["1", "2"]).await;
    world.until_reached(&held).await;
    in_flight.give_back(bytes);
    held.until.send(()).expect("a worker stands still");
    world
        .until("the second attempt to begin", async || {
            (in_flight.used() == 2 * bytes).then_some(())
        })
        .await;
    drop(closed);
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ["1", "2"]);
    assert_eq!(in_flight.used(), 0);
}
