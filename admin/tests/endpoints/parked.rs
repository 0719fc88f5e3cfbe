//! Parked events: listed, shown, dropped, redriven.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::embedded::{ChannelOptions, Store, StoreOptions};
use millrace_channel::{Change, Channel, Class, FailedAttempt, LaneSpec, Stage, WorkKey};
use millrace_event::{DataForm, Event, SpecVersion, Timestamp};
use serde_json::{Value, json};

use crate::harness::{Served, name, serve};

/// Opens a channel for a broker and parks `count` of its events for one trigger.
pub(crate) async fn park(
    served: &Served,
    store: &Store,
    broker: &str,
    trigger: &str,
    count: usize,
) -> Arc<dyn Channel> {
    let options = ChannelOptions {
        retention_age: Duration::from_secs(60),
        retention_bytes: 1 << 20,
        backlog_bytes: None,
        drop_oldest: false,
    };
    let channel = store.channel(&name(broker), options).await.unwrap();
    served.open(broker, &channel);
    let spec = LaneSpec {
        trigger: name(trigger),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: std::time::Duration::from_secs(3600),
    };
    let lane = channel.open_lanes(vec![spec]).await.unwrap().remove(0);
    let event = |n: usize| {
        let builder = Event::builder(SpecVersion::V10).attribute("id", &format!("{broker}-{n}"));
        let builder = builder
            .attribute("source", "/shop")
            .attribute("type", "order.paid");
        builder
            .attribute("datacontenttype", "application/json")
            .data(DataForm::Json, br#"{"n":1}"#)
            .build()
            .unwrap()
    };
    let mut at = channel.head();
    channel
        .log()
        .append((0..count).map(event).collect(), Class::Producer)
        .await
        .unwrap();
    let mut changes = Vec::new();
    for _ in 0..count {
        let failure = FailedAttempt {
            at: Timestamp(1_766_000_000_120),
            stage: Stage::Subscriber,
            attempt: 3,
            target: "http://127.0.0.1:9001/ship".to_owned(),
            status: Some(500),
            reason: "the subscriber answered 500".to_owned(),
            body: vec![0xff, 0xfe],
            millis: 12,
        };
        changes.push(Change::Park {
            key: WorkKey {
                lane: lane.id,
                position: at,
                stage: Stage::Subscriber,
            },
            reason: "given up after 4 attempts".to_owned(),
            since: Timestamp(1_766_000_000_120),
            attempts: 4,
            failures: vec![failure],
            body: None,
        });
        at.offset += 1;
    }
    channel.commit(changes).await.unwrap();
    channel
}

#[tokio::test]
async fn parked_events_are_listed_across_brokers_a_page_at_a_time() {
    let (served, folder) = (serve().await, tempfile::tempdir().unwrap());
    assert_eq!(served.get("/api/v1/parked").await.json(), json!([]));
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    park(&served, &store, "shop/a", "shop/ship", 40).await;
    park(&served, &store, "shop/b", "shop/bill", 3).await;

    let all = served.get("/api/v1/parked").await.json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 43);
    let first = &all[0];
    assert!(first["id"].is_string());
    assert_eq!(
        first["event"],
        json!({"id": "shop/a-0", "source": "/shop", "type": "order.paid"})
    );
    assert_eq!(
        (&first["trigger"], &first["attempts"]),
        (&json!("shop/ship"), &json!(4))
    );
    assert_eq!(first["since"], "2025-12-17T19:33:20.120Z");
    assert_eq!(first["reason"], "given up after 4 attempts");
    assert_eq!(
        (&first["position"], &first["stage"]),
        (&json!("0"), &json!("subscriber"))
    );

    let mut paged: Vec<Value> = served
        .get("/api/v1/parked?limit=17")
        .await
        .json()
        .as_array()
        .unwrap()
        .clone();
    while paged.len() < 43 {
        let after = paged.last().unwrap()["id"].as_str().unwrap();
        let page = served
            .get(&format!("/api/v1/parked?limit=17&after={after}"))
            .await
            .json();
        assert!(!page.as_array().unwrap().is_empty());
        paged.extend(page.as_array().unwrap().clone());
    }
    assert_eq!(&paged, all);
    let bill = served.get("/api/v1/parked?trigger=shop/bill").await.json();
    assert_eq!(bill.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_parked_event_is_shown_whole_dropped_and_redriven() {
    let (served, folder) = (serve().await, tempfile::tempdir().unwrap());
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let channel = park(&served, &store, "shop/a", "shop/ship", 3).await;
    let ids: Vec<String> = served
        .get("/api/v1/parked")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();

    let path = |n: usize| format!("/api/v1/parked/{}", ids[n]);
    let detail = served.get(&path(0)).await.json();
    assert_eq!(detail["event"]["specversion"], "1.0");
    assert_eq!(detail["event"]["data"], json!({"n": 1}));
    assert_eq!(detail["failures"][0]["status"], 500);
    assert_eq!(
        (
            &detail["failures"][0]["body"],
            &detail["failures"][0]["bodyBase64"]
        ),
        (&Value::Null, &json!("//4="))
    );

    let dropped = served.change("DELETE", &path(0)).await;
    assert_eq!((dropped.status, dropped.body.as_str()), (204, ""));
    served
        .change("DELETE", &path(0))
        .await
        .is_problem(404, "unknown-parked-event");
    served.get(&path(0)).await.is_problem(404, "unknown-parked-event");

    assert_eq!(
        served
            .change("POST", &format!("{}/redrive", path(1)))
            .await
            .status,
        202
    );
    served
        .change("POST", &format!("{}/redrive", path(1)))
        .await
        .is_problem(404, "unknown-parked-event");
    let lane = channel.lanes().await.unwrap().remove(0);
    assert_eq!((lane.deferred, lane.parked), (1, 1));

    channel.drop_lane(lane.id).await.unwrap();
    served
        .change("POST", &format!("{}/redrive", path(2)))
        .await
        .is_problem(409, "trigger-gone");
    assert_eq!(served.get(&path(2)).await.status, 200);
    for id in ["nothing", &"x".repeat(1_000), "%FF", "..%2F..%2Fetc"] {
        served
            .get(&format!("/api/v1/parked/{id}"))
            .await
            .is_problem(404, "unknown-parked-event");
    }
}
