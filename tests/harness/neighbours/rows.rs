//! The table: what a hostile tenant does to a mesh, row by row. Each row is a value made of the same few
//! parts: documents, flags, producers, held connections and subscribers.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use crate::documents::{Documents, STUBBORN, Trigger};
use crate::event::Message;
use crate::name_server::NameServer;
use crate::volume::Volume;
use crate::{Event, long};

use super::felt::Felt;
use super::holds::Hold;
use super::honest::{BROKER, SOURCE, Terms};
use super::posts::Posts;
use super::subscribers::{Manner, Subscriber};

/// The name of a host that lives, on this machine.
const ALIVE: &str = "alive.mill.test";
/// The data size of a large JSON event.
const LARGE: usize = 240_000;
/// The largest data of an event.
const LARGEST: usize = 1 << 20;
/// The largest batch in bytes.
const LARGEST_BATCH: usize = 8 << 20;
/// The descriptors of a process on a system that gives few.
const FEW: u32 = 1024;
/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Two Brokers, each with a Trigger whose 999 paths look through everything, get events of 240 kB.
    CostlyFilters,
    /// 30 Triggers with one path through everything each, and the same events.
    OrdinaryPaths,
    /// 1 000 connections on which nothing comes, at 1 024 descriptors.
    IdleConnections,
    /// 34 Triggers with 32 attempts each to a subscriber that is dead, at 1 024 descriptors. Long: 1 000
    /// Triggers at 20 000.
    DeadTriggers,
    /// Replies of 1 MiB that keep their last byte back.
    StalledReplies,
    /// Subscribers that never answer, and events of 1 MiB.
    HungSubscribers,
    /// 33 batches of 8 MiB that are announced, and of which one byte comes.
    SlowBodies,
    /// 100 calls of a forge that are announced, and of which nothing comes, beside a forge that signs its
    /// calls.
    SilentCalls,
    /// Triggers for 100 host names about which the name server is silent. Long: 700.
    DeadNames,
    /// A Broker with a dead subscriber fills a small volume.
    FullVolume,
    /// A Trigger with a dead subscriber fills the honest Broker's backlog and is removed.
    Orphan,
}

/// What a row is made of.
#[derive(Debug)]
pub(super) struct Attack {
    /// The documents of the hostile tenant.
    pub(super) documents: Documents,
    /// Its documents after producers have been refused.
    pub(super) later: Option<Documents>,
    /// What it changes about the honest tenant.
    pub(super) terms: Terms,
    /// Descriptors of the mesh.
    pub(super) descriptors: Option<u32>,
    /// The name server that the mesh asks.
    pub(super) names: Option<NameServer>,
    /// The volume of the mesh.
    pub(super) volume: Option<Volume>,
    /// The subscribers of the hostile tenant.
    pub(super) subscribers: Vec<Subscriber>,
    /// Its producers.
    pub(super) posts: Vec<Posts>,
    /// The connections that it holds.
    pub(super) holds: Vec<Hold>,
    /// Whether the mesh feels the attack.
    pub(super) felt: fn(&Felt) -> bool,
    /// A count that grows as long as the attack goes on; `None`: `felt` checks only what is so at the moment.
    pub(super) grows: Option<fn(&Felt) -> u64>,
    /// Whether the attack has lasted long enough: the mesh ends some connections only after a while, and
    /// those began anew.
    pub(super) lasted: fn(&Felt) -> bool,
}

// === impl Row ===

impl Row {
    /// The memory budget of the mesh, in MiB: the least that a process has by default.
    pub const BUDGET_MIB: u64 = 128;

    /// All of them, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::CostlyFilters,
        Self::OrdinaryPaths,
        Self::IdleConnections,
        Self::DeadTriggers,
        Self::StalledReplies,
        Self::HungSubscribers,
        Self::SlowBodies,
        Self::SilentCalls,
        Self::DeadNames,
        Self::FullVolume,
        Self::Orphan,
    ];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::CostlyFilters => "Triggers with 999 paths through everything",
            Self::OrdinaryPaths => "30 Triggers with a path through everything",
            Self::IdleConnections => "1 000 idle connections at 1 024 descriptors",
            Self::DeadTriggers if long() => "1 000 dead Triggers at 20 000 descriptors",
            Self::DeadTriggers => "34 dead Triggers at 1 024 descriptors",
            Self::StalledReplies => "replies of 1 MiB that stall",
            Self::HungSubscribers => "hung subscribers of events of 1 MiB",
            Self::SlowBodies => "33 bodies of 8 MiB that do not come",
            Self::SilentCalls => "100 calls of a forge that stay silent",
            Self::DeadNames if long() => "700 dead host names",
            Self::DeadNames => "100 dead host names",
            Self::FullVolume => "a Broker with a dead subscriber on a small volume",
            Self::Orphan => "a Trigger removed while the backlog is full",
        }
    }

    /// The attack; `None`, with a remark, if it is impossible on this machine and not required.
    pub(super) fn attack(self) -> anyhow::Result<Option<Attack>> {
        let attack = match self {
            Self::CostlyFilters => costly_filters()?,
            Self::OrdinaryPaths => ordinary_paths()?,
            Self::IdleConnections => idle_connections(),
            Self::DeadTriggers => dead_triggers()?,
            Self::StalledReplies => stalled_replies()?,
            Self::HungSubscribers => hung_subscribers()?,
            Self::SlowBodies => slow_bodies(),
            Self::SilentCalls => silent_calls(),
            Self::DeadNames => return dead_names(),
            Self::FullVolume => return full_volume(),
            Self::Orphan => orphan()?,
        };
        Ok(Some(attack))
    }
}

// === impl Attack ===

impl Attack {
    /// An attack made of documents alone.
    fn new(documents: Documents, felt: fn(&Felt) -> bool) -> Self {
        Self {
            documents,
            later: None,
            terms: Terms::default(),
            descriptors: None,
            names: None,
            volume: None,
            subscribers: Vec::new(),
            posts: Vec::new(),
            holds: Vec::new(),
            felt,
            grows: Some(|felt| felt.accepted),
            lasted: |_| true,
        }
    }
}

fn costly_filters() -> anyhow::Result<Attack> {
    let subscriber = Subscriber::start(Manner::Takes)?;
    let paths: Vec<_> = (0..999)
        .map(|n| format!("{{jsonpath: \"$..[?@.b == {n}]\"}}"))
        .collect();
    let filters = format!("[{{any: [{}]}}]", paths.join(", "));
    let event = json_event("costly", "\"none\"");
    let (mut documents, mut posts) = (Documents::default(), Vec::new());
    for broker in ["costly-a", "costly-b"] {
        let trigger = Trigger::new(broker, &subscriber.url())
            .on(broker)
            .filters(&filters);
        documents = documents.and_broker(broker, "{}").trigger(&trigger);
        posts.push(Posts::new(broker, vec![event.clone()]).every(Duration::from_millis(100)));
    }
    Ok(Attack {
        subscribers: vec![subscriber],
        posts,
        grows: Some(|felt| felt.routed),
        ..Attack::new(documents, |felt| felt.routed >= 4)
    })
}

fn ordinary_paths() -> anyhow::Result<Attack> {
    const TRIGGERS: usize = 30;

    let subscriber = Subscriber::start(Manner::Takes)?;
    let mut documents = Documents::default().and_broker("ordinary", "{}");
    for n in 0..TRIGGERS {
        let trigger = Trigger::new(&format!("ordinary-{n}"), &subscriber.url())
            .on("ordinary")
            .filters(&format!("[{{jsonpath: \"$..labels[?@ == 'l{n}']\"}}]"));
        documents = documents.trigger(&trigger);
    }
    let label = |n| json_event("ordinary", &format!("{{\"labels\": [\"l{n}\"]}}"));
    let posts = Posts::new("ordinary", (0..TRIGGERS).map(label).collect());
    Ok(Attack {
        subscribers: vec![subscriber],
        posts: vec![posts.every(Duration::from_millis(50))],
        grows: Some(|felt| felt.received),
        ..Attack::new(documents, |felt| felt.routed >= 20 && felt.received >= 20)
    })
}

fn idle_connections() -> Attack {
    let asked = format!("GET /shop/default HTTP/1.1\r\nhost: {BROKER}\r\n\r\n");
    let hold = |opening| Hold { count: 500, opening };
    Attack {
        descriptors: Some(FEW),
        // Half of them send nothing; the others have sent a request and then wait, as a kept-alive connection
        // does.
        holds: vec![hold(Bytes::new()), hold(Bytes::from(asked))],
        grows: None,
        // All places are taken, and more clients want in: those turned away come again.
        ..Attack::new(Documents::default(), |felt| {
            felt.opened >= 1_000 && felt.open >= 200 && felt.descriptors >= 200
        })
    }
}

fn dead_triggers() -> anyhow::Result<Attack> {
    /// The length of the queue of connections that a listener has not accepted yet; the system completes no
    /// more of them.
    const TRIGGERS_EACH: usize = 100;

    let (triggers, descriptors) = if long() { (1_000, 20_000) } else { (34, FEW) };
    let mut documents = Documents::default().and_broker("dead", "{}");
    let mut subscribers = Vec::new();
    for n in 0..triggers {
        if n % TRIGGERS_EACH == 0 {
            subscribers.push(Subscriber::start(Manner::Silent)?);
        }
        let url = subscribers.last().map(Subscriber::url).unwrap_or_default();
        let trigger = Trigger::new(&format!("dead-{n}"), &url).on("dead");
        documents = documents.trigger(&trigger.delivery(STUBBORN));
    }
    let event = Event::new("dead", "dead").binary();
    Ok(Attack {
        descriptors: Some(descriptors),
        subscribers,
        posts: vec![Posts::new("dead", vec![event]).every(Duration::from_millis(20))],
        ..Attack::new(documents, |felt| {
            felt.descriptors >= if long() { 3_000 } else { 200 }
        })
    })
}

/// As many replies of the largest size as 12 Triggers may have under way.
fn stalled_replies() -> anyhow::Result<Attack> {
    let subscriber = Subscriber::start(Manner::Stalls)?;
    let mut documents = Documents::default().and_broker("asks", "{}");
    for n in 0..12 {
        let trigger = Trigger::new(&format!("asks-{n}"), &subscriber.url()).on("asks");
        documents = documents.trigger(&trigger.delivery(STUBBORN));
    }
    let event = Event::new("asks", "asks").binary();
    Ok(Attack {
        terms: Terms {
            replies: true,
            ..Terms::default()
        },
        subscribers: vec![subscriber],
        posts: vec![Posts::new("asks", vec![event]).every(Duration::from_millis(20))],
        ..Attack::new(documents, |felt| {
            felt.received >= 8 && felt.held >= 4 * LARGEST as u64
        })
    })
}

/// As many events of the largest size as nine Triggers may have in flight. No two Triggers want the same, so
/// none is shared.
fn hung_subscribers() -> anyhow::Result<Attack> {
    let subscriber = Subscriber::start(Manner::Hangs)?;
    let mut documents = Documents::default().and_broker("large", "{}");
    let mut events = Vec::new();
    for n in 0..9 {
        let name = format!("large-{n}");
        let trigger = Trigger::new(&name, &subscriber.url())
            .on("large")
            .attributes(&format!("{{type: {name}}}"));
        documents = documents.trigger(&trigger.delivery(STUBBORN));
        let event = Event::new(&name, &name).data("text/plain", vec![b'.'; LARGEST]);
        events.push(event.binary());
    }
    Ok(Attack {
        subscribers: vec![subscriber],
        posts: vec![Posts::new("large", events).every(Duration::from_millis(5))],
        ..Attack::new(documents, |felt| {
            felt.accepted >= 9 * 32 && felt.held >= 8 * LARGEST as u64
        })
    })
}

fn slow_bodies() -> Attack {
    let opening = format!(
        "POST /{BROKER} HTTP/1.1\r\nhost: mill\r\ncontent-type: application/cloudevents-batch+json\r\n\
         content-length: {LARGEST_BATCH}\r\n\r\n["
    );
    Attack {
        holds: vec![Hold {
            count: 33,
            opening: Bytes::from(opening),
        }],
        grows: None,
        lasted: |felt| felt.opened >= 2 * 33,
        ..Attack::new(Documents::default(), |felt| felt.open >= 30)
    }
}

fn silent_calls() -> Attack {
    let opening = format!(
        "POST /sources/shop/{SOURCE} HTTP/1.1\r\nhost: mill\r\ncontent-type: application/json\r\n\
         x-github-event: push\r\nx-github-delivery: silent\r\nx-hub-signature-256: sha256=00\r\n\
         content-length: {LARGEST}\r\n\r\n"
    );
    Attack {
        terms: Terms {
            is_called: true,
            ..Terms::default()
        },
        holds: vec![Hold {
            count: 100,
            opening: Bytes::from(opening),
        }],
        grows: None,
        lasted: |felt| felt.opened >= 2 * 100,
        ..Attack::new(Documents::default(), |felt| felt.open >= 90)
    }
}

fn dead_names() -> anyhow::Result<Option<Attack>> {
    let Some(names) = NameServer::of_one_mesh()? else {
        return Ok(None);
    };
    let mut documents = Documents::default().and_broker("names", "{}");
    for n in 0..if long() { 700 } else { 100 } {
        let url = format!("http://dead-{n}.mill.test:8080/");
        let trigger = Trigger::new(&format!("dead-{n}"), &url).on("names");
        documents = documents.trigger(&trigger.delivery(STUBBORN));
    }
    let event = Event::new("dead", "dead").binary();
    Ok(Some(Attack {
        terms: Terms {
            host: Some(ALIVE),
            ..Terms::default()
        },
        names: Some(names),
        posts: vec![Posts::new("names", vec![event]).every(Duration::from_millis(50))],
        grows: Some(|felt| felt.unanswered),
        ..Attack::new(documents, |felt| felt.unanswered >= 8)
    }))
}

fn full_volume() -> anyhow::Result<Option<Attack>> {
    // Large enough that the journals and histories of two Brokers (some 10 MiB) are little beside half of the
    // reserve.
    let Some(volume) = Volume::mount(256)? else {
        return Ok(None);
    };
    let subscriber = Subscriber::start(Manner::Silent)?;
    let trigger = Trigger::new("greedy", &subscriber.url())
        .on("greedy")
        .delivery(STUBBORN);
    let documents = Documents::default().and_broker("greedy", "{}").trigger(&trigger);
    let event = Event::new("greedy", "greedy").data("text/plain", vec![b'.'; LARGEST / 2]);
    Ok(Some(Attack {
        volume: Some(volume),
        subscribers: vec![subscriber],
        posts: vec![Posts::new("greedy", vec![event.binary()])],
        grows: Some(|felt| felt.refused),
        ..Attack::new(documents, |felt| felt.refused >= 50)
    }))
}

fn orphan() -> anyhow::Result<Attack> {
    let subscriber = Subscriber::start(Manner::Silent)?;
    let gone = Trigger::new("gone", &subscriber.url())
        .attributes("{type: hostile}")
        .delivery(STUBBORN);
    let event = Event::new("hostile", "hostile").data("text/plain", vec![b'.'; 16 << 10]);
    Ok(Attack {
        later: Some(Documents::default()),
        terms: Terms {
            annotations: &[("millrace.dev/backlog-bytes", "4Mi")],
            ..Terms::default()
        },
        subscribers: vec![subscriber],
        posts: vec![Posts::new("default", vec![event.binary()]).every(Duration::from_millis(5))],
        ..Attack::new(Documents::default().trigger(&gone), |felt| {
            felt.refused > 0 && felt.dropped_debts > 0.0
        })
    })
}

/// An event of 240 kB of JSON in many small objects, with one more member.
fn json_event(kind: &str, member: &str) -> Message {
    let mut data = format!("{{\"more\": {member}, \"items\": [");
    while data.len() < LARGE {
        // Writing to a string cannot fail.
        let _ = write!(data, "{{\"b\":-1}},");
    }
    data.push_str("{}]}");
    Event::new(kind, kind).data("application/json", data).binary()
}
