//! Promise: the rows of Knative's conformance suite about events hold on a real node, where subscribers and
//! dead-letter sinks are Services, and producers come through the Service of the chart. The suite
//! `kubernetes_conformance` has the same rows with the URLs of one machine.
//!
//! It needs root and minutes, so only `cargo xtask test --long` runs it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use millrace_tests::event::Message;
use millrace_tests::helm::NAMESPACE;
use millrace_tests::kube::node::{Node, machine};
use millrace_tests::kube::served::EVENTING;
use millrace_tests::{Answer, Client, Event, Sink};
use serde_json::{Value, json};

/// A node with the chart on it, and what its subscribers get.
struct Stage {
    node: Node,
    sink: Sink,
    ingress: SocketAddr,
}

/// One row: a namespace of its own, with one Broker.
struct Row<'a> {
    stage: &'a Stage,
    namespace: &'static str,
}

/// A Service of the row as a destination. Its name is the path at which the sink is called.
fn destination(name: &str) -> Value {
    json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": name}, "uri": format!("/{name}")})
}

/// Quick retries with a Service as the dead-letter sink.
fn delivery(retry: u32, dead: &str) -> Value {
    json!({"delivery": {
        "retry": retry, "backoffPolicy": "linear", "backoffDelay": "PT0.01S", "deadLetterSink": destination(dead),
    }})
}

fn of_type(kind: &str) -> Value {
    json!({"filter": {"attributes": {"type": kind}}})
}

/// So many failures, and successes from then on.
fn failing(times: usize) -> Vec<Answer> {
    let mut answers = vec![Answer::status(500); times];
    answers.push(Answer::ok());
    answers
}

// === impl Stage ===

impl Stage {
    async fn start(test: &'static str) -> anyhow::Result<Option<Self>> {
        let Some(folder) = machine::inside(test).await? else {
            return Ok(None);
        };
        let Some(node) = Node::start(&folder).await? else {
            return Ok(None);
        };
        if node.install(&[]).await?.is_none() {
            return Ok(None);
        }
        let sink = node.sink().await?;
        let ingress = node.cluster_address(NAMESPACE, "millrace").await?;
        Ok(Some(Self { node, sink, ingress }))
    }

    /// A row whose subscribers and dead-letter sinks are these Services.
    async fn row(&self, namespace: &'static str, services: &[&str]) -> anyhow::Result<Row<'_>> {
        self.node.kube.namespace(namespace).await?;
        for service in services {
            self.node.service_of(&self.sink, namespace, service).await?;
        }
        let row = Row {
            stage: self,
            namespace,
        };
        row.broker(&json!({})).await?;
        Ok(row)
    }
}

// === impl Row ===

impl Row<'_> {
    async fn ready(&self, kind: &str, name: &str, spec: &Value) -> anyhow::Result<()> {
        let metadata = json!({"name": name, "namespace": self.namespace});
        let object = json!({"apiVersion": EVENTING, "kind": kind, "metadata": metadata, "spec": spec});
        self.stage.node.kube.ready(&object).await.map(drop)
    }

    async fn broker(&self, spec: &Value) -> anyhow::Result<()> {
        self.ready("Broker", "default", spec).await
    }

    /// The Trigger of the Service of that name, with more in its spec.
    async fn trigger(&self, name: &str, more: &Value) -> anyhow::Result<()> {
        let mut spec = json!({"broker": "default", "subscriber": destination(name)});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.ready("Trigger", name, &spec).await
    }

    async fn post(&self, message: &Message) -> anyhow::Result<u16> {
        let path = format!("/{}/default", self.namespace);
        Ok(Client::new(self.stage.ingress).post(&path, message).await?.status)
    }

    /// Sends events, and waits until everything that came of them is settled.
    async fn send(&self, events: &[Event]) -> anyhow::Result<()> {
        for event in events {
            assert_eq!(self.post(&event.binary()).await?, 202);
        }
        self.stage.node.until_settled().await
    }

    /// Takes what came to a Service: the events by their ids, with how often each came.
    fn came(&self, service: &str) -> BTreeMap<String, usize> {
        let mut came = BTreeMap::new();
        for received in self.stage.sink.take(&format!("/{service}")) {
            *came.entry(received.event().id().to_owned()).or_default() += 1;
        }
        came
    }
}

#[tokio::test]
#[ignore = "a whole cluster, which takes root and minutes: cargo xtask test --long"]
async fn rows_14_15_20_and_22_hold_with_services_of_a_node() -> anyhow::Result<()> {
    let test = "rows_14_15_20_and_22_hold_with_services_of_a_node";
    let Some(stage) = Stage::start(test).await? else {
        return Ok(());
    };
    r14_delivery_is_the_triggers_else_the_brokers(&stage).await?;
    r15_events_go_where_filters_say_and_a_reply_enters_anew(&stage).await?;
    r20_the_ingress_takes_cloudevents_1_0_and_nothing_else(&stage).await?;
    r22_many_triggers_long_messages_and_redelivery(&stage).await
}

async fn r14_delivery_is_the_triggers_else_the_brokers(stage: &Stage) -> anyhow::Result<()> {
    let services = ["t1", "t2", "broker-dead", "trigger-dead"];
    let row = stage.row("r14", &services).await?;
    let none = || json!({});
    let of_broker = |retry| delivery(retry, "broker-dead");
    let of_trigger = |retry| delivery(retry, "trigger-dead");
    for (broker, triggers, fails, expected) in [
        (none(), [none(), none()], [0, 0], [1, 1, 0, 0]),
        (of_broker(3), [none(), none()], [3, 4], [4, 4, 1, 0]),
        (of_broker(3), [of_trigger(1), none()], [3, 0], [2, 1, 0, 1]),
        (of_broker(1), [of_trigger(3), none()], [3, 0], [4, 1, 0, 0]),
        (of_broker(0), [none(), none()], [1, 1], [1, 1, 2, 0]),
    ] {
        row.broker(&broker).await?;
        for ((name, trigger), fails) in ["t1", "t2"].iter().zip(&triggers).zip(fails) {
            stage.sink.answer(&format!("/{name}"), failing(fails));
            row.trigger(name, trigger).await?;
        }
        row.send(&[Event::new("1", "t")]).await?;
        let came = services.map(|service| row.came(service).values().sum::<usize>());
        assert_eq!(came, expected, "{broker} {triggers:?} {fails:?}");
    }
    Ok(())
}

async fn r15_events_go_where_filters_say_and_a_reply_enters_anew(stage: &Stage) -> anyhow::Result<()> {
    let row = stage.row("r15", &["every", "asks", "answers", "nobody"]).await?;
    let reply = Answer::reply(&Event::new("answer", "answered"));
    stage.sink.answer("/asks", [reply]);
    for (service, more) in [
        ("every", json!({})),
        ("asks", of_type("asked")),
        ("answers", of_type("answered")),
        ("nobody", of_type("never")),
    ] {
        row.trigger(service, &more).await?;
    }
    row.send(&[Event::new("question", "asked"), Event::new("other", "said")])
        .await?;
    let ids = |service| row.came(service).into_keys().collect::<Vec<_>>();
    assert_eq!(ids("every"), ["answer", "other", "question"]);
    assert_eq!(ids("asks"), ["question"]);
    assert_eq!(ids("answers"), ["answer"]);
    assert!(ids("nobody").is_empty());
    Ok(())
}

async fn r20_the_ingress_takes_cloudevents_1_0_and_nothing_else(stage: &Stage) -> anyhow::Result<()> {
    let row = stage.row("r20", &[]).await?;
    for (message, expected) in Event::good_and_bad() {
        assert_eq!(row.post(&message).await?, expected, "{message:?}");
    }
    let mut client = Client::new(stage.ingress);
    let answer = client
        .send(&http::Method::GET, "/r20/default", &Event::new("1", "t").binary())
        .await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

async fn r22_many_triggers_long_messages_and_redelivery(stage: &Stage) -> anyhow::Result<()> {
    let names: Vec<String> = (0..10).map(|number| format!("many{number}")).collect();
    let mut services: Vec<&str> = names.iter().map(String::as_str).collect();
    services.extend(["again", "dead"]);
    let row = stage.row("r22", &services).await?;
    for name in &names {
        let filter = json!({"attributes": {"type": name, "mine": "yes"}});
        row.trigger(name, &json!({"filter": filter})).await?;
    }
    let mut again = delivery(10, "dead");
    again["filter"] = of_type("again")["filter"].clone();
    row.trigger("again", &again).await?;
    stage.sink.answer("/again", failing(3));
    let long = "x".repeat(512 << 10);
    let of = |name: &String| {
        Event::new(name, name)
            .with("mine", "yes")
            .data("text/plain", long.clone())
    };
    let mut events: Vec<Event> = names.iter().map(of).collect();
    events.push(Event::new("not-mine", "many3").with("mine", "no"));
    events.push(Event::new("r", "again"));
    row.send(&events).await?;
    for (name, event) in names.iter().zip(&events) {
        let received = stage.sink.take(&format!("/{name}"));
        assert_eq!(received.len(), 1, "{name}");
        assert_eq!(received[0].event().data, event.data, "{name}");
    }
    assert_eq!(row.came("again"), BTreeMap::from([("r".to_owned(), 4)]));
    assert!(row.came("dead").is_empty());
    Ok(())
}
