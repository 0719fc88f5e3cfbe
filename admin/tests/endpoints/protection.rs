//! What is asked of every endpoint: whom it serves, and how it refuses.

use crate::harness::serve;

#[tokio::test]
async fn a_foreign_host_gets_nothing() {
    let served = serve().await;
    for host in ["evil.example", "127.0.0.1:1", "localhost.evil.example:80"] {
        for path in ["/", "/healthz", "/metrics", "/api/v1/mesh", "/nothing"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            served.raw(request).await.is_problem(403, "foreign-host");
        }
    }
    for host in [
        format!("localhost:{}", served.address.port()),
        "allowed.example".to_owned(),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(served.raw(request).await.status, 200, "{host}");
    }
    served
        .raw("GET / HTTP/1.0\r\n\r\n".to_owned())
        .await
        .is_problem(400, "bad-host");
}

#[tokio::test]
async fn probes_are_answered_to_any_host_and_nothing_else_is() {
    let served = serve().await;
    served.ready.send_replace(true);
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/api/v1/mesh", 404),
        ("PUT", "/api/v1/log-level", 404),
        ("DELETE", "/api/v1/parked/1", 404),
    ] {
        for host in ["10.244.0.7:9091", "evil.example"] {
            let headers = format!("host: {host}\r\nmillrace-request: 1\r\nconnection: close");
            let request = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n");
            let answer = served.raw_at(served.probed, request).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
    }
    served.ready.send_replace(false);
    let request = "GET /readyz HTTP/1.1\r\nhost: 10.244.0.7\r\nconnection: close\r\n\r\n";
    let answer = served.raw_at(served.probed, request.to_owned()).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn what_changes_something_needs_the_header_and_no_answer_allows_an_origin() {
    let served = serve().await;
    let origin = "origin: http://evil.example\r\n";
    let preflight = format!("{origin}access-control-request-method: POST\r\n");
    let cases = [
        ("POST", "/api/v1/parked/1/redrive", origin, 403),
        ("DELETE", "/api/v1/parked/1", origin, 403),
        ("PUT", "/api/v1/log-level", origin, 403),
        ("OPTIONS", "/api/v1/parked/1", preflight.as_str(), 403),
        ("OPTIONS", "/api/v1/parked/1", "millrace-request: 1\r\n", 405),
        ("GET", "/api/v1/parked", origin, 200),
    ];
    for (method, path, headers, status) in cases {
        let answer = served.send(method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(
            !answer
                .headers
                .keys()
                .any(|name| name.starts_with("access-control-")),
            "{answer:?}"
        );
    }
    served
        .send("POST", "/api/v1/parked/1/redrive", "")
        .await
        .is_problem(403, "missing-header");
}

#[tokio::test]
async fn wrong_paths_methods_and_sizes_are_refused_in_words() {
    let served = serve().await;
    for path in [
        "/nothing",
        "/api/v1",
        "/api/v2/mesh",
        "/api/v1/mesh/",
        "/api/v1/parked/1/2/3",
    ] {
        served.get(path).await.is_problem(404, "unknown-path");
    }
    for (method, path, allow) in [
        ("POST", "/api/v1/mesh", "GET,HEAD"),
        ("PUT", "/api/v1/parked/1", "GET,HEAD,DELETE"),
        ("GET", "/api/v1/parked/1/redrive", "POST"),
    ] {
        let answer = served.change(method, path).await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.headers["allow"], allow);
    }
    served
        .get(&format!("/{}", "a".repeat(3_000)))
        .await
        .is_problem(414, "url-too-long");
    served
        .send("DELETE", "/api/v1/parked/1", "content-length: 1000000\r\n")
        .await
        .is_problem(413, "too-large");
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "trigger=a",
        "trigger=a/b/c",
        "more=1",
        "after=x",
    ] {
        served
            .get(&format!("/api/v1/parked?{query}"))
            .await
            .is_problem(400, "bad-query");
    }
    served
        .get("/api/v1/triggers/shop/none")
        .await
        .is_problem(404, "unknown-trigger");
    served
        .get("/api/v1/triggers/%FF/none")
        .await
        .is_problem(404, "unknown-trigger");
}
