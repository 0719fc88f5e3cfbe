//! The admin listener as a client sees it: raw HTTP to a real listener, with a real channel behind it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_admin::{Admin, ReloadState};
use millrace_channel::embedded::{ChannelOptions, Store, StoreOptions};
use millrace_channel::{Change, Channel, Channels, Class, Failure, LaneSpec, Stage, WorkKey};
use millrace_event::{DataForm, Event, SpecVersion, Timestamp};
use millrace_filter::{Compiled, Filter};
use millrace_model::status::{BrokerStatus, Statuses, TriggerStatus};
use millrace_model::{
    Broker, DeliveryPolicy, Mesh, ObjectName, OnFull, Retention, StatusBoard, Target, Trigger,
};
use millrace_serve::{Drained, Listener, ListenerMetrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A served admin listener, and the ends of what it reads.
struct Served {
    address: SocketAddr,
    mesh: watch::Sender<Arc<Mesh>>,
    reload: watch::Sender<ReloadState>,
    ready: watch::Sender<bool>,
    board: Arc<StatusBoard>,
    channels: Channels,
    shutdown: CancellationToken,
    task: JoinHandle<Drained>,
}

/// One answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

async fn serve() -> Served {
    let (mesh, mesh_receiver) = watch::channel(Arc::new(Mesh::default()));
    let (reload, reload_receiver) = watch::channel(ReloadState::default());
    let (ready, ready_receiver) = watch::channel(false);
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    registry.register("millrace_test", "A test", counter.clone());
    counter.inc();
    let admin = Admin {
        mesh: mesh_receiver,
        reload: reload_receiver,
        board: Arc::default(),
        channels: Channels::default(),
        registry: Arc::new(registry),
        ready: ready_receiver,
        version: "0.0.0-test",
        allowed_hosts: vec!["allowed.example".to_owned()],
        shutdown: CancellationToken::new(),
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).expect("a free port");
    Served {
        address: listener.address(),
        mesh,
        reload,
        ready,
        board: admin.board.clone(),
        channels: admin.channels.clone(),
        shutdown: admin.shutdown.clone(),
        task: tokio::spawn(admin.serve(listener, ListenerMetrics::default())),
    }
}

impl Served {
    async fn raw(&self, request: String) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    async fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = self.address;
        self.raw(format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    async fn change(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, "millrace-request: 1\r\n").await
    }
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts that it is a problem of this status and code.
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&json!(status), &json!(code)),
            "{self:?}"
        );
        assert!(
            problem["detail"].is_string() && problem["title"].is_string(),
            "{self:?}"
        );
    }
}

// === what is asked of any endpoint ===

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
async fn what_changes_something_needs_the_header_and_no_answer_allows_an_origin() {
    let served = serve().await;
    let origin = "origin: http://evil.example\r\n";
    let preflight = format!("{origin}access-control-request-method: POST\r\n");
    let cases = [
        ("POST", "/api/v1/parked/1/redrive", origin, 403),
        ("DELETE", "/api/v1/parked/1", origin, 403),
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

// === health and metrics ===

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
    let index = served.get("/").await;
    assert!(
        index.headers["content-type"].starts_with("text/plain"),
        "{index:?}"
    );
    for path in ["/healthz", "/metrics", "/api/v1/mesh", "/api/v1/parked"] {
        assert!(index.body.contains(path), "{path}");
    }
}

// === the mesh ===

/// A broker `shop/default` and its triggers `shop/ship` (with credentials in its URL) and `shop/lost` (unresolved).
fn mesh() -> Mesh {
    let broker = Broker {
        name: name("shop/default"),
        uid: None,
        retention: Retention::default(),
        backlog_bytes: None,
        on_full: OnFull::Refuse,
    };
    let filters = vec![Filter::Exact(vec![("type".to_owned(), "order.paid".to_owned())])];
    let ship = Trigger {
        name: name("shop/ship"),
        uid: None,
        broker: name("shop/default"),
        compiled: Arc::new(Compiled::new(&filters).unwrap()),
        filters,
        subscriber: Ok(Target::Http(
            "http://me:secret@127.0.0.1:9001/ship".parse().unwrap(),
        )),
        dead_letter: Some(Ok(Target::Broker(name("shop/dead")))),
        delivery: DeliveryPolicy::default(),
        parallelism: 32,
        max_deferred: 10_000,
        max_parked: 10_000,
    };
    let subscriber = Err("the ref names a Service, which only Kubernetes knows".to_owned());
    let lost = Trigger {
        name: name("shop/lost"),
        subscriber,
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
    }
}

/// What a dispatcher would say of the broker and of `shop/ship`, and of an orphan.
struct Owner;

impl Statuses for Owner {
    fn broker(&self) -> BrokerStatus {
        BrokerStatus {
            state: "ready",
            head: 12,
            oldest: 3,
            log_bytes: 4_096,
            ..Default::default()
        }
    }

    fn triggers(&self) -> Vec<(ObjectName, TriggerStatus)> {
        let last_failure = Some((Timestamp(1_766_000_000_120), "503 Service Unavailable".to_owned()));
        let live = TriggerStatus {
            state: "behind",
            cursor: 5,
            backlog: 7,
            last_failure,
            ..Default::default()
        };
        let orphan = TriggerStatus {
            state: "orphaned",
            ..Default::default()
        };
        vec![(name("shop/ship"), live), (name("shop/old"), orphan)]
    }
}

#[tokio::test]
async fn the_mesh_is_shown_as_it_should_be_and_as_it_is() {
    let served = serve().await;
    let before = served.get("/api/v1/mesh").await.json();
    assert_eq!(
        (&before["revision"], &before["lastReload"]),
        (&json!(0), &Value::Null)
    );
    served.mesh.send(Arc::new(mesh())).unwrap();
    served.board.attach(&name("shop/default"), Arc::new(Owner));
    let error = Some("mesh.yaml:3: spec.broker is missing".to_owned());
    served
        .reload
        .send(ReloadState {
            revision: 7,
            at: Timestamp(1_766_000_000_000),
            error,
        })
        .unwrap();
    assert_eq!(
        served.get("/api/v1/mesh").await.json(),
        json!({
            "version": "0.0.0-test", "revision": 7, "lastReload": "2025-12-17T19:33:20.000Z",
            "lastReloadError": "mesh.yaml:3: spec.broker is missing",
            "brokers": 1, "triggers": 2, "sources": 0, "ready": false,
        })
    );
    assert_eq!(served.get("/api/v1/sources").await.json(), json!([]));
    assert_eq!(
        served.get("/api/v1/brokers").await.json(),
        json!([{
            "name": "shop/default", "state": "ready", "reason": null, "head": 12, "oldest": 3, "logBytes": 4096,
            "refusing": null,
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
    served.board.attach(&name("shop/default"), Arc::new(Owner));
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
        "the ref names a Service, which only Kubernetes knows"
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

// === parked events ===

/// Opens a channel for a broker and parks `count` of its events for one trigger.
async fn park(served: &Served, store: &Store, broker: &str, trigger: &str, count: usize) -> Arc<dyn Channel> {
    let options = ChannelOptions {
        retention_age: Duration::from_secs(60),
        retention_bytes: 1 << 20,
        backlog_bytes: None,
        drop_oldest: false,
    };
    let channel = store.channel(&name(broker), options).await.unwrap();
    served.channels.insert(name(broker), channel.clone());
    let spec = LaneSpec {
        trigger: name(trigger),
        uid: None,
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
    let mut at = channel
        .append((0..count).map(event).collect(), Class::Producer)
        .await
        .unwrap();
    let mut changes = Vec::new();
    for _ in 0..count {
        let failure = Failure {
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
