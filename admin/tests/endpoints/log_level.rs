//! The filter of the log, read and changed.

use serde_json::json;

use crate::harness::{Answer, Served, serve};

const CHANGE: &str = "millrace-request: 1\r\n";

async fn put(served: &Served, headers: &str, body: &str) -> Answer {
    let host = served.address;
    let length = body.len();
    let head = format!("PUT /api/v1/log-level HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}");
    served
        .raw(format!("{head}content-length: {length}\r\n\r\n{body}"))
        .await
}

#[tokio::test]
async fn the_filter_is_shown_and_changed() {
    let served = serve().await;
    let before = served.get("/api/v1/log-level").await;
    assert_eq!(before.json(), json!({"filter": "info", "initial": "info"}));
    // The line break is that of a file.
    let answer = put(&served, CHANGE, "debug,hyper=info\n").await;
    let after = json!({"filter": "debug,hyper=info", "initial": "info"});
    assert_eq!(answer.json(), after);
    assert_eq!(served.get("/api/v1/log-level").await.json(), after);
}

#[tokio::test]
async fn what_is_no_filter_or_not_meant_changes_nothing() {
    let served = serve().await;
    put(&served, CHANGE, "nonsense")
        .await
        .is_problem(400, "bad-log-filter");
    put(&served, "", "debug").await.is_problem(403, "missing-header");
    let host = served.address;
    let head = format!("PUT /api/v1/log-level HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{CHANGE}");
    let raw = |rest: String| served.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{rest}"));
    // 65 537 bytes that nobody announced.
    raw(format!("10001\r\n{}\r\n0\r\n\r\n", "a".repeat(0x1_0001)))
        .await
        .is_problem(413, "too-large");
    raw("no chunk\r\n\r\n".to_owned())
        .await
        .is_problem(400, "body-broken");
    let after = served.get("/api/v1/log-level").await;
    assert_eq!(after.json(), json!({"filter": "info", "initial": "info"}));
}
