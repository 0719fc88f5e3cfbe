//! The JSON of every answer, as a snapshot: a member that comes, goes or changes shows in the diff. And
//! `docs/reference/http-api.md` shows an example of each with exactly these members.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_admin::ReloadState;
use millrace_admin::feed::Happened;
use millrace_channel::embedded::{Store, StoreOptions};
use millrace_channel::{Attempt, AttemptOutcome, Class, Position, Stage};
use millrace_event::{Clock, DataForm, Event, SpecVersion};
use millrace_model::kafka::{Login, Mechanism};
use millrace_model::source::{Cron, Schedule};
use millrace_model::status::{SinkStatus, SourceStatus};
use millrace_model::{
    Format, KafkaCluster, KafkaSink, Mesh, Secret, SinkState, Source, SourceSpec, SourceState, Target,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{NOW, Served, name, serve};
use crate::mesh::{Owner, mesh};
use crate::parked::park;

const PAGE: &str = include_str!("../../../docs/reference/http-api.md");

/// A listener with a Broker, its Triggers, a source and a parked event, and the folder of its channel.
async fn scene() -> (Served, TempDir) {
    let (served, folder) = (serve().await, tempfile::tempdir().unwrap());
    served.mesh.send(Arc::new(with_source(mesh()))).unwrap();
    served.board.attach(&name("shop/default"), 0, Arc::new(Owner));
    served.board.clock_was_set(7_200_500, NOW);
    let reload = ReloadState {
        revision: 7,
        at: NOW,
        error: Some("mesh.yaml:3:3: spec.broker: this field is required (missing-field)".to_owned()),
    };
    served.reload.send(reload).unwrap();
    let options = StoreOptions {
        clock: Clock::manual(NOW),
        ..StoreOptions::default()
    };
    let store = Store::open(folder.path(), options).unwrap();
    let channel = park(&served, &store, "shop/default", "shop/ship", 1).await;
    channel
        .log()
        .append(vec![order("shop/default-0")], Class::Producer)
        .await
        .unwrap();
    (served, folder)
}

fn order(id: &str) -> Event {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/shop")
        .attribute("type", "order.paid")
        .attribute("datacontenttype", "application/json");
    event.data(DataForm::Json, br#"{"n":1}"#).build().unwrap()
}

/// The mesh with a source that has sent, refused and failed, and with a sink of Kafka.
fn with_source(mut mesh: Mesh) -> Mesh {
    let source = Source {
        name: name("shop/nightly"),
        sink_auth: None,
        sink: Ok(Target::Broker(name("shop/default"))),
        overrides: Vec::new(),
        spec: SourceSpec::Cron(Box::new(Cron {
            schedule: Schedule::parse("@daily", "UTC").unwrap(),
            content_type: None,
            data: None,
            jitter: std::time::Duration::ZERO,
            catch_up: millrace_model::source::CatchUp::Last,
            catch_up_max_age: std::time::Duration::from_secs(86_400),
        })),
    };
    mesh.sources.insert(source.key(), Arc::new(source));
    let sink = KafkaSink {
        name: name("shop/paid"),
        cluster: KafkaCluster {
            bootstrap_servers: vec!["127.0.0.1:9092".to_owned()],
            tls: None,
            login: Some(Login {
                mechanism: Mechanism::Plain,
                user: Secret::Value(b"me".as_slice().into()),
                password: Secret::Value(b"hush".as_slice().into()),
            }),
        },
        topic: "paid".to_owned(),
        format: Format::Binary,
    };
    mesh.kafka_sinks.insert(sink.name.clone(), Arc::new(sink));
    mesh
}

/// Compares an answer with its snapshot, and its members with those of the example below this heading.
fn assert_answer(name: &str, heading: &str, answer: Value) {
    let answer = redacted(answer);
    insta::assert_json_snapshot!(name, answer);
    assert_eq!(
        members(&example(heading)),
        members(&answer),
        "docs/reference/http-api.md shows other members below {heading}"
    );
}

/// The example below a heading: one document, or one for each line.
fn example(heading: &str) -> Value {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).expect(heading);
    let (_, rest) = section.split_once("```json\n").expect(heading);
    let (text, _) = rest.split_once("```").expect(heading);
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    match lines {
        Ok(lines) if lines.len() > 1 => Value::Array(lines),
        Ok(_) | Err(_) => serde_json::from_str(text).expect(heading),
    }
}

/// The paths of all members. The items of a list count together.
fn members(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect(item, &format!("{path}[]"), found)),
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                collect(value, &path, found);
                found.insert(path);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Ids of parked events are different each time.
fn redacted(value: Value) -> Value {
    let is_id = |word: &str| word.len() == 16 && word.bytes().all(|c| c.is_ascii_hexdigit());
    match value {
        Value::String(text) => {
            let words = text
                .split(' ')
                .map(|word| if is_id(word) { "[id]" } else { word });
            Value::String(words.collect::<Vec<_>>().join(" "))
        }
        Value::Array(items) => items.into_iter().map(redacted).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, redacted(value)))
            .collect(),
        other => other,
    }
}

#[tokio::test]
async fn lists_and_details_have_the_members_that_are_documented() {
    let (served, _folder) = scene().await;
    let key = with_source(Mesh::default())
        .sources
        .keys()
        .next()
        .cloned()
        .unwrap();
    *served.board.source(&key).lock() = SourceStatus {
        state: SourceState::Ready,
        reason: Some("the clock was set back; it waits until 2025-12-17T19:40:00Z".to_owned()),
        events: 3,
        refused: 1,
        last_event: Some(NOW),
        last_error: Some((NOW, "backlog-full: the broker is full".to_owned())),
    };
    let paid = served.mesh.borrow().kafka_sinks[&name("shop/paid")].clone();
    let standing = SinkStatus {
        state: SinkState::NotReady,
        reason: Some("topic paid: there is no such topic".to_owned()),
    };
    served.board.set_kafka_sink(&paid, &standing);
    for path in [
        "mesh",
        "brokers",
        "triggers",
        "sources",
        "kafka-sinks",
        "parked",
        "log-level",
    ] {
        let answer = served.get(&format!("/api/v1/{path}")).await.json();
        assert_answer(path, &format!("### `GET /api/v1/{path}`"), answer);
    }
    let broker = served.get("/api/v1/brokers/shop/default").await.json();
    let all = served.get("/api/v1/brokers").await.json();
    assert_eq!(all[0], broker);
    assert_answer("broker", "### `GET /api/v1/brokers/{namespace}/{name}`", broker);
    let unknown = served.get("/api/v1/brokers/shop/none").await;
    unknown.is_problem(404, "unknown-broker");
    let trigger = served.get("/api/v1/triggers/shop/ship").await.json();
    assert_answer(
        "trigger",
        "### `GET /api/v1/triggers/{namespace}/{name}`",
        trigger,
    );
    let parked = served.get("/api/v1/parked").await.json();
    let id = parked[0]["id"].as_str().unwrap();
    let detail = served.get(&format!("/api/v1/parked/{id}")).await.json();
    assert_answer("parked-event", "### `GET /api/v1/parked/{id}`", detail);
}

#[tokio::test]
async fn an_explanation_has_the_members_that_are_documented() {
    let (served, _folder) = scene().await;
    let path = "/api/v1/explain?broker=shop/default&id=shop/default-0&position=0";
    assert_answer(
        "explain",
        "### `GET /api/v1/explain`",
        served.get(path).await.json(),
    );
}

#[tokio::test]
async fn streams_have_the_members_that_are_documented() {
    let (served, _folder) = scene().await;
    let events = lines(&served, "/api/v1/events?broker=shop/default&limit=1", 2).await;
    assert_answer("events", "### `GET /api/v1/events`", Value::Array(events));
    let follow = lines(&served, "/api/v1/tail?broker=shop/default&whole=true", 3);
    let publish = async {
        while !served.feed.is_followed() {
            tokio::task::yield_now().await;
        }
        let at = Position {
            partition: 0,
            offset: 1,
        };
        let attempt = Attempt {
            position: at,
            trigger: name("shop/ship"),
            stage: Stage::Subscriber,
            attempt: 0,
            at: NOW,
            millis: 12,
            status: Some(503),
            outcome: AttemptOutcome::Failed,
            detail: "503 Service Unavailable".to_owned(),
            answer: "busy".to_owned(),
        };
        let target = "http://me:secret@127.0.0.1:9001/ship".to_owned();
        let routed = Happened::Routed(vec![name("shop/ship")]);
        for happened in [routed, Happened::Attempted { attempt, target }] {
            served
                .feed
                .publish(&name("shop/default"), at, &order("8"), happened);
        }
    };
    let (followed, ()) = tokio::join!(follow, publish);
    assert_answer("tail", "### `GET /api/v1/tail`", Value::Array(followed));
}

#[tokio::test]
async fn a_refusal_has_the_members_that_are_documented() {
    let served = serve().await;
    let refused = served.send("DELETE", "/api/v1/triggers/shop/ship", "").await;
    assert_eq!(refused.status, 403);
    assert_answer(
        "refusal",
        "## Refusals",
        serde_json::from_str(&refused.body).unwrap(),
    );
}

/// The first lines of a stream. Without chunks, since it is asked for in HTTP/1.0.
async fn lines(served: &Served, path: &str, count: usize) -> Vec<Value> {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", served.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = BufReader::new(stream).lines();
    while !answer.next_line().await.unwrap().expect("a head").is_empty() {}
    let mut found = Vec::new();
    while found.len() < count {
        let line = answer.next_line().await.unwrap().expect("another line");
        if !line.is_empty() {
            found.push(serde_json::from_str(&line).unwrap());
        }
    }
    found
}
