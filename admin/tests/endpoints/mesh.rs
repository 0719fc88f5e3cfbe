//! The mesh, its brokers and its triggers, as they should be and as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_admin::ReloadState;
use millrace_event::Timestamp;
use millrace_filter::{Compiled, Filter};
use millrace_model::status::{BrokerStatus, Statuses, TriggerStatus};
use millrace_model::{
    Broker, BrokerState, DeliveryPolicy, Mesh, NoTarget, ObjectName, OnFull, Reference, Retention, Target,
    Trigger, TriggerState, Unresolved,
};
use serde_json::{Value, json};

use crate::harness::{name, serve};

/// A broker `shop/default` and its triggers `shop/ship` (with credentials in its URL) and `shop/lost`
/// (unresolved).
pub(crate) fn mesh() -> Mesh {
    let broker = Broker {
        name: name("shop/default"),
        uid: None,
        backend: millrace_model::Backend::Embedded,
        retention: Retention::default(),
        backlog_bytes: None,
        on_full: OnFull::Refuse,
    };
    let filters = vec![Filter::Exact(vec![("type".to_owned(), "order.paid".to_owned())])];
    let ship = Trigger {
        name: name("shop/ship"),
        uid: None,
        resume: false,
        broker: name("shop/default"),
        compiled: Arc::new(Compiled::new(&filters).unwrap()),
        filters,
        subscriber: Ok(Target::http(
            "http://me:secret@127.0.0.1:9001/ship".parse().unwrap(),
        )),
        subscriber_auth: None,
        dead_letter_auth: None,
        dead_letter: Some(Ok(Target::Broker(name("shop/dead")))),
        delivery: DeliveryPolicy::default(),
        parallelism: 32,
        max_deferred: 10_000,
        max_parked: 10_000,
    };
    let service = Reference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name: name("shop/lost"),
    };
    let subscriber = Err(NoTarget::Unresolved(service, Unresolved::NeedsKubernetes));
    let lost = Trigger {
        name: name("shop/lost"),
        subscriber,
        subscriber_auth: None,
        dead_letter_auth: None,
        dead_letter: None,
        ..ship.clone()
    };
    Mesh {
        revision: 7,
        brokers: BTreeMap::from([(broker.name.clone(), Arc::new(broker))]),
        triggers: [ship, lost]
            .into_iter()
            .map(|trigger| (trigger.name.clone(), Arc::new(trigger)))
            .collect(),
        sources: BTreeMap::new(),
        authorities: None,
        kafka_sinks: BTreeMap::new(),
        policies: BTreeMap::new(),
    }
}

/// What a dispatcher would say of the broker and of `shop/ship`, and of an orphan.
pub(crate) struct Owner;

impl Statuses for Owner {
    fn broker(&self) -> BrokerStatus {
        BrokerStatus {
            state: BrokerState::Ready,
            head: 12,
            oldest: 3,
            log_bytes: 4_096,
            ..Default::default()
        }
    }

    fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)> {
        let last_failure = Some((Timestamp(1_766_000_000_120), "503 Service Unavailable".to_owned()));
        let live = TriggerStatus {
            state: TriggerState::Behind,
            cursor: 5,
            backlog: 7,
            last_failure,
            ..Default::default()
        };
        let orphan = TriggerStatus {
            state: TriggerState::Orphaned,
            ..Default::default()
        };
        let all = [(name("shop/ship"), live), (name("shop/old"), orphan)];
        all.into_iter().filter(|(name, _)| wanted(name)).collect()
    }
}

/// A broker that `shop/ship` has left.
struct Left;

impl Statuses for Left {
    fn broker(&self) -> BrokerStatus {
        BrokerStatus::default()
    }

    fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)> {
        let orphan = TriggerStatus {
            state: TriggerState::Orphaned,
            backlog: 3,
            ..Default::default()
        };
        let all = [(name("shop/ship"), orphan)];
        all.into_iter().filter(|(name, _)| wanted(name)).collect()
    }
}

#[tokio::test]
async fn the_mesh_is_shown_as_it_should_be_and_as_it_is() {
    let served = serve().await;
    let before = served.get("/api/v1/mesh").await.json();
    assert_eq!(
        (&before["revision"], &before["lastReload"], &before["clock"]),
        (&json!(0), &Value::Null, &json!({"jumps": 0, "lastJump": null}))
    );
    served.mesh.send(Arc::new(mesh())).unwrap();
    served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
    let error = Some("mesh.yaml:3: spec.broker is missing".to_owned());
    served
        .reload
        .send(ReloadState {
            revision: 7,
            at: Timestamp(1_766_000_000_000),
            error,
        })
        .unwrap();
    let set = Timestamp(1_766_000_000_000);
    for by in [-7_200_000, 7_200_500] {
        served.board.clock_was_set(by, set);
    }
    assert_eq!(
        served.get("/api/v1/mesh").await.json(),
        json!({
            "version": "0.0.0-test", "revision": 7, "lastReload": "2025-12-17T19:33:20.000Z",
            "lastReloadError": "mesh.yaml:3: spec.broker is missing",
            "brokers": 1, "triggers": 2, "sources": 0, "ready": false,
            "clock": {"jumps": 2, "lastJump": {"at": "2025-12-17T19:33:20.000Z", "seconds": 7200.5}},
        })
    );
    assert_eq!(served.get("/api/v1/sources").await.json(), json!([]));
    assert_eq!(
        served.get("/api/v1/brokers").await.json(),
        json!([{
            "name": "shop/default", "state": "ready", "reason": null, "head": 12, "oldest": 3, "logBytes": 4096,
            "refusing": null,
            "dropped": 0,
            "forgotten": 0,
            "parked": 0, "backend": "embedded", "durability": null,
            "settings": {
                "retentionAgeSeconds": 86_400, "retentionBytes": 1 << 30, "backlogBytes": null, "onFull": "refuse",
            },
        }])
    );
}

#[tokio::test]
async fn triggers_are_shown_also_when_they_are_not_ready_or_gone() {
    let served = serve().await;
    served.mesh.send(Arc::new(mesh())).unwrap();
    served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
    let triggers = served.get("/api/v1/triggers").await.json();
    let states: Vec<_> = triggers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["name"], &one["state"]))
        .collect();
    assert_eq!(
        json!(states),
        json!([
            ["shop/lost", "not-ready"],
            ["shop/old", "orphaned"],
            ["shop/ship", "behind"]
        ])
    );
    assert_eq!(
        triggers[0]["reason"],
        "the address of Service shop/lost (v1) is known to Kubernetes only; without it, write a `uri`"
    );
    let ship = &triggers[2];
    assert_eq!(ship["subscriber"], "http://***@127.0.0.1:9001/ship");
    assert_eq!(
        (&ship["backlog"], &ship["backlogIsUpperBound"]),
        (&json!(7), &json!(true))
    );
    assert_eq!(
        ship["lastFailure"],
        json!({"at": "2025-12-17T19:33:20.120Z", "reason": "503 Service Unavailable"})
    );
    let detail = served.get("/api/v1/triggers/shop/ship").await.json();
    assert_eq!(detail["state"], "behind");
    assert_eq!(detail["settings"]["deadLetterSink"], "broker:shop/dead");
    assert_eq!(detail["settings"]["backoffDelayMillis"], 200);
    assert_eq!(
        served.get("/api/v1/triggers/shop/old").await.json()["settings"],
        Value::Null
    );
}

#[tokio::test]
async fn a_trigger_with_nothing_to_show_has_no_series() {
    let served = serve().await;
    served.mesh.send(Arc::new(mesh())).unwrap();
    served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
    let metrics = served.get("/metrics").await.body;
    let of = |trigger: &str| metrics.matches(&format!("trigger=\"{trigger}\"")).count();
    assert_eq!((of("ship"), of("lost"), of("old")), (1, 0, 0), "{metrics}");
}

/// The old place is kept while its trigger lives on another broker. Neither hides the other, whichever name
/// is the later one.
#[tokio::test]
async fn a_trigger_that_moved_to_another_broker_is_shown_with_both_places() {
    for kept in ["shop/a-broker", "shop/z-broker"] {
        let served = serve().await;
        served.mesh.send(Arc::new(mesh())).unwrap();
        served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
        served.board.attach(&name(kept), 0, Arc::new(Left));
        let triggers = served.get("/api/v1/triggers").await.json();
        let states: Vec<_> = triggers
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["name"] == "shop/ship")
            .map(|one| (&one["broker"], &one["state"], &one["backlog"]))
            .collect();
        assert_eq!(
            json!(states),
            json!([["shop/default", "behind", 7], [kept, "orphaned", 3]])
        );
        let detail = served.get("/api/v1/triggers/shop/ship").await.json();
        assert_eq!(
            (&detail["broker"], &detail["state"]),
            (&json!("shop/default"), &json!("behind"))
        );
        let places = |detail: &Value| -> Vec<Value> {
            let others = detail["otherPlaces"].as_array().cloned().unwrap_or_default();
            others
                .iter()
                .map(|one| json!([one["broker"], one["state"], one["backlog"]]))
                .collect()
        };
        assert_eq!(places(&detail), [json!([kept, "orphaned", 3])]);
        let metrics = served.get("/metrics").await.body;
        let of_ship: Vec<_> = metrics
            .lines()
            .filter(|line| line.starts_with("millrace_trigger_backlog_events{") && line.contains("ship"))
            .collect();
        assert_eq!(
            of_ship,
            [r#"millrace_trigger_backlog_events{namespace="shop",trigger="ship"} 10"#],
            "one series, for both"
        );
        // Its document is gone: both places are kept, and neither is left out.
        served.mesh.send(Arc::new(Mesh::default())).unwrap();
        let detail = served.get("/api/v1/triggers/shop/ship").await.json();
        let mut both = places(&detail);
        both.push(json!([detail["broker"], detail["state"], detail["backlog"]]));
        both.sort_by_key(ToString::to_string);
        let mut expected = [json!(["shop/default", "behind", 7]), json!([kept, "orphaned", 3])];
        expected.sort_by_key(ToString::to_string);
        assert_eq!(both, expected);
    }
}
