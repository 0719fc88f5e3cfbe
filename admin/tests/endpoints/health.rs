//! Health, readiness, metrics and the index.

use std::sync::Arc;

use crate::harness::{name, serve};
use crate::mesh::Owner;

#[tokio::test]
async fn readiness_follows_the_process_and_health_does_not() {
    let served = serve().await;
    assert_eq!(served.get("/healthz").await.status, 200);
    served.get("/readyz").await.is_problem(503, "not-ready");
    served.ready.send(true).unwrap();
    assert_eq!(served.get("/readyz").await.status, 200);
    served.ready.send(false).unwrap();
    served.get("/readyz").await.is_problem(503, "not-ready");
    assert_eq!(served.get("/healthz").await.status, 200);
    served.shutdown.cancel();
    assert_eq!(served.task.await.unwrap().aborted, 0);
}

#[tokio::test]
async fn metrics_are_openmetrics_text_and_the_index_lists_what_is_here() {
    let served = serve().await;
    let metrics = served.get("/metrics").await;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(
        (metrics.status, metrics.headers["content-type"].as_str()),
        (200, media)
    );
    assert!(
        metrics.body.contains("millrace_test_total 1\n") && metrics.body.ends_with("# EOF\n"),
        "{metrics:?}"
    );
    assert!(
        !metrics.body.contains("millrace_trigger_"),
        "an empty mesh has no series: {metrics:?}"
    );
    served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
    let metrics = served.get("/metrics").await.body;
    assert!(
        metrics.contains("# TYPE millrace_trigger_backlog_events gauge\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("millrace_trigger_backlog_events{namespace=\"shop\",trigger=\"ship\"} 7\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("millrace_broker_refusing{namespace=\"shop\",broker=\"default\"} 0\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("\"old\""),
        "an idle trigger has no series: {metrics}"
    );
    let index = served.get("/").await;
    assert!(
        index.headers["content-type"].starts_with("text/plain"),
        "{index:?}"
    );
    for path in ["/healthz", "/metrics", "/api/v1/mesh", "/api/v1/parked"] {
        assert!(index.body.contains(path), "{path}");
    }
}
