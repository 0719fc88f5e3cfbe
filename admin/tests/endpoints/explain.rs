//! What an explanation costs: it grows with what is shown, and the channel is asked a few times in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_channel::embedded::{Store, StoreOptions};
use millrace_channel::{Change, Channel, LaneSpec, Position, Stage, Work, WorkKey};
use millrace_event::{ObjectName, Timestamp};
use millrace_model::status::{BrokerStatus, Statuses, TriggerStatus};
use millrace_model::{Mesh, Trigger};

use crate::counted::Counted;
use crate::harness::{name, serve};
use crate::mesh::mesh;
use crate::parked::park;

/// The triggers of the broker.
const TRIGGERS: usize = 200;

fn trigger(nth: usize) -> ObjectName {
    name(&format!("shop/t-{nth:03}"))
}

/// Counts the statuses that it makes.
#[derive(Default)]
struct Tallied(AtomicUsize);

impl Statuses for Tallied {
    fn broker(&self) -> BrokerStatus {
        BrokerStatus::default()
    }

    fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)> {
        let named = (0..TRIGGERS).map(trigger).filter(|name| wanted(name));
        let all: Vec<_> = named.map(|name| (name, TriggerStatus::default())).collect();
        self.0.fetch_add(all.len(), Ordering::Relaxed);
        all
    }
}

/// The mesh with these triggers beside its own.
fn with_triggers(mut mesh: Mesh) -> Mesh {
    let like: Trigger = (*mesh.triggers[&name("shop/ship")]).clone();
    let more = (0..TRIGGERS).map(|nth| Trigger {
        name: trigger(nth),
        ..like.clone()
    });
    mesh.triggers
        .extend(more.map(|trigger| (trigger.name.clone(), Arc::new(trigger))));
    mesh
}

/// A lane for each trigger, which owes the first event.
async fn owe(channel: &dyn Channel) {
    let at = Position::default();
    let specs = (0..TRIGGERS).map(|nth| LaneSpec {
        trigger: trigger(nth),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: std::time::Duration::from_secs(3_600),
    });
    let lanes = channel.open_lanes(specs.collect()).await.unwrap();
    let owed = lanes.iter().map(|lane| {
        Change::Put(Work {
            key: WorkKey {
                lane: lane.id,
                position: at,
                stage: Stage::Subscriber,
            },
            attempt: 1,
            due: Timestamp(0),
            open: false,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: Vec::new(),
            body: None,
        })
    });
    channel.commit(owed.collect()).await.unwrap();
}

#[tokio::test]
async fn the_channel_is_asked_as_often_for_200_triggers_as_for_one() {
    let (served, folder) = (serve().await, tempfile::tempdir().unwrap());
    served.mesh.send(Arc::new(with_triggers(mesh()))).unwrap();
    let tallied = Arc::new(Tallied::default());
    served.board.attach(&name("shop/default"), 0, tallied.clone());
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let channel = park(&served, &store, "shop/default", "shop/ship", 1).await;
    owe(&*channel).await;
    let counted = Arc::new(Counted::new(channel));
    served
        .owned
        .gain([(name("shop/default"), counted.clone() as Arc<dyn Channel>)]);

    let path = "/api/v1/explain?broker=shop/default&id=shop/default-0";
    let all = served.get(path).await.json();
    let for_all = (counted.taken(), tallied.0.swap(0, Ordering::Relaxed));
    let list = all["triggers"].as_array().unwrap();
    let retried = list
        .iter()
        .filter(|one| one["why"].as_str().is_some_and(|why| why.contains("attempt 2")));
    assert_eq!(retried.count(), TRIGGERS, "{all}");
    let parked = list.iter().find(|one| one["trigger"] == "shop/ship").unwrap();
    assert_eq!(parked["state"], "parked");

    let one = served.get(&format!("{path}&trigger=shop/t-007")).await.json();
    let for_one = (counted.taken(), tallied.0.swap(0, Ordering::Relaxed));
    assert_eq!(one["triggers"].as_array().unwrap().len(), 1);
    assert_eq!((for_all.1, for_one.1), (TRIGGERS, 1), "statuses that were made");
    assert_eq!(for_all.0, for_one.0, "questions to the channel");
    assert!(for_all.0 <= 8, "{} questions to the channel", for_all.0);
}
