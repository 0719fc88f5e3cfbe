//! A trigger or a broker that is gone is forgotten; one that is there is not.

use millrace_channel::LaneState;
use millrace_channel::embedded::{Store, StoreOptions};
use millrace_event::Timestamp;

use crate::harness::serve;
use crate::parked::park;

#[tokio::test]
async fn only_a_trigger_that_is_gone_can_be_forgotten() {
    const PATH: &str = "/api/v1/triggers/shop/ship";
    let (served, folder) = (serve().await, tempfile::tempdir().unwrap());
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let channel = park(&served, &store, "shop/default", "shop/ship", 1).await;
    let other = park(&served, &store, "shop/other", "shop/else", 1).await;
    let unknown = served.change("DELETE", "/api/v1/triggers/shop/none").await;
    unknown.is_problem(404, "unknown-trigger");
    served
        .change("DELETE", PATH)
        .await
        .is_problem(409, "trigger-in-use");
    served
        .send("DELETE", PATH, "")
        .await
        .is_problem(403, "missing-header");
    let lane = channel.lanes().await.unwrap().remove(0);
    channel
        .set_lane_state(lane.id, LaneState::Orphaned(Timestamp(0)))
        .await
        .unwrap();
    assert_eq!(served.change("DELETE", PATH).await.status, 204);
    assert_eq!(channel.lanes().await.unwrap(), []);
    assert_eq!(other.lanes().await.unwrap().len(), 1);
    served
        .change("DELETE", PATH)
        .await
        .is_problem(404, "unknown-trigger");
    let parked = served.get("/api/v1/parked").await.json();
    assert_eq!(
        parked.as_array().map(Vec::len),
        Some(2),
        "what is parked stays: {parked}"
    );
}

#[tokio::test]
async fn a_broker_is_forgotten_by_who_keeps_it_once_the_process_is_ready() {
    let served = serve().await;
    let path = |name: &str| format!("/api/v1/brokers/shop/{name}");
    let early = served.change("DELETE", &path("old")).await;
    early.is_problem(503, "not-ready");
    served.ready.send(true).unwrap();
    served
        .send("DELETE", &path("old"), "")
        .await
        .is_problem(403, "missing-header");
    assert_eq!(served.change("DELETE", &path("old")).await.status, 204);
    for (name, status, code) in [
        ("none", 404, "unknown-broker"),
        ("default", 409, "broker-in-use"),
        ("stuck", 503, "storage-failed"),
        ("late", 503, "not-ready"),
    ] {
        served
            .change("DELETE", &path(name))
            .await
            .is_problem(status, code);
    }
}
