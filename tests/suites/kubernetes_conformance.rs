//! Promise: what Knative's conformance suite asks of a Broker's control and data plane holds for objects of a
//! real API server. Each test is named after a row of that suite; subscribers are URLs of this machine, and
//! Services where only the status is asked for. Rows that the definitions of the kinds answer (4, 6, 9, 12,
//! 13, 16, 17) are tested with these.

use millrace_tests::event::Message;
use millrace_tests::kube::served::{broker, condition, object, service, trigger};
use millrace_tests::{Answer, Client, Event, Kube, Mesh, Sink};
use serde_json::{Value, json};

/// An API server with the mesh that serves it, and a subscriber.
struct Stage {
    kube: Kube,
    mesh: Mesh,
    sink: Sink,
}

impl Stage {
    async fn start() -> anyhow::Result<Option<Self>> {
        let Some(kube) = Kube::with_kinds().await? else {
            return Ok(None);
        };
        let mesh = kube.served()?.args(&["--default-class"]).start().await?;
        let sink = Sink::start().await?;
        Ok(Some(Self { kube, mesh, sink }))
    }

    /// Broker and Triggers, all ready.
    async fn with(&self, broker_spec: Value, triggers: &[Value]) -> anyhow::Result<()> {
        self.kube.ready(&broker("default", broker_spec)).await?;
        for trigger in triggers {
            self.kube.ready(trigger).await?;
        }
        Ok(())
    }

    fn trigger(&self, name: &str, more: &Value) -> Value {
        let mut trigger = trigger(name, &self.sink.url(&format!("/{name}")));
        for (field, value) in more.as_object().into_iter().flatten() {
            trigger["spec"][field] = value.clone();
        }
        trigger
    }

    /// Quick retries with a dead-letter sink at `dead`.
    fn delivery(&self, retry: u32, dead: &str) -> Value {
        json!({
            "retry": retry, "backoffPolicy": "linear", "backoffDelay": "PT0.01S",
            "deadLetterSink": {"uri": self.sink.url(dead)},
        })
    }
}

fn failing(times: usize) -> Vec<Answer> {
    let mut answers = vec![Answer::status(500); times];
    answers.push(Answer::ok());
    answers
}

#[tokio::test]
async fn r01_r02_r03_r05_r19_a_broker_with_a_service_as_dead_letter_sink_is_ready_and_addressable()
-> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    stage.kube.apply(&service("dead", &[80])).await?;
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": "dead"});
    let spec = json!({"delivery": {"deadLetterSink": {"ref": reference}}});
    let ready = stage.kube.ready(&broker("default", spec)).await?;
    assert_eq!(condition(&ready, "Addressable"), "True");
    let status = &ready["status"];
    assert_eq!(
        status["address"]["url"],
        format!("http://{}/shop/default", stage.mesh.listen())
    );
    assert_eq!(status["deadLetterSinkUri"], "http://dead.shop.svc.cluster.local/");
    Ok(())
}

#[tokio::test]
async fn r07_r08_r10_r11_a_trigger_of_a_service_before_its_broker_is_ready_once_both_are_there()
-> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": "ship"});
    let trigger = stage.trigger("t", &json!({"subscriber": {"ref": reference}}));
    stage.kube.apply(&trigger).await?;
    stage
        .kube
        .until(&trigger, "Ready", "False BrokerDoesNotExist")
        .await?;
    stage.kube.apply(&service("ship", &[80])).await?;
    stage.kube.ready(&broker("default", json!({}))).await?;
    let ready = stage.kube.until(&trigger, "Ready", "True").await?;
    assert_eq!(
        ready["status"]["subscriberUri"],
        "http://ship.shop.svc.cluster.local/"
    );
    assert_eq!(ready["spec"]["broker"], "default");
    Ok(())
}

/// One of the five tables: failures of both subscribers, and what comes to them and to the dead-letter sinks.
async fn delivered(
    stage: &Stage,
    broker_spec: Value,
    triggers: &[Value; 2],
    fails: [usize; 2],
) -> anyhow::Result<[usize; 4]> {
    stage.sink.answer("/t1", failing(fails[0]));
    stage.sink.answer("/t2", failing(fails[1]));
    let triggers = [
        stage.trigger("t1", &triggers[0]),
        stage.trigger("t2", &triggers[1]),
    ];
    stage.with(broker_spec, &triggers).await?;
    stage.mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    stage.mesh.until_settled().await?;
    let counts = ["/t1", "/t2", "/broker-dead", "/trigger-dead"].map(|path| stage.sink.count(path));
    for path in ["/t1", "/t2", "/broker-dead", "/trigger-dead"] {
        stage.sink.take(path);
    }
    Ok(counts)
}

#[tokio::test]
async fn r14_delivery_is_the_triggers_else_the_brokers() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let none = || json!({});
    let of_broker = |retry| json!({"delivery": stage.delivery(retry, "/broker-dead")});
    let of_trigger = |retry| json!({"delivery": stage.delivery(retry, "/trigger-dead")});
    for (broker_spec, triggers, fails, expected) in [
        (none(), [none(), none()], [0, 0], [1, 1, 0, 0]),
        (of_broker(3), [none(), none()], [3, 4], [4, 4, 1, 0]),
        (of_broker(3), [of_trigger(1), none()], [3, 0], [2, 1, 0, 1]),
        (of_broker(1), [of_trigger(3), none()], [3, 0], [4, 1, 0, 0]),
        (of_broker(0), [none(), none()], [1, 1], [1, 1, 2, 0]),
    ] {
        let found = delivered(&stage, broker_spec.clone(), &triggers, fails).await?;
        assert_eq!(found, expected, "{broker_spec} {triggers:?} {fails:?}");
    }
    Ok(())
}

#[tokio::test]
async fn r15_events_go_where_filters_say_and_a_reply_enters_anew() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let of_type = |kind: &str| json!({"filter": {"attributes": {"type": kind}}});
    stage
        .sink
        .answer("/asks", [Answer::reply(&Event::new("answer", "answered"))]);
    let triggers = [
        stage.trigger("every", &json!({})),
        stage.trigger("asks", &of_type("asked")),
        stage.trigger("answers", &of_type("answered")),
        stage.trigger("nobody", &of_type("never")),
    ];
    stage.with(json!({}), &triggers).await?;
    let events = [Event::new("question", "asked"), Event::new("other", "said")];
    stage.mesh.send("shop/default", &events).await?;
    stage.sink.wait_for("/answers", 1).await?;
    stage.mesh.until_settled().await?;
    let ids = |path| {
        let mut ids = stage.sink.ids(path);
        ids.sort();
        ids
    };
    assert_eq!(ids("/every"), ["answer", "other", "question"]);
    assert_eq!(ids("/asks"), ["question"]);
    assert_eq!(ids("/answers"), ["answer"]);
    assert!(ids("/nobody").is_empty());
    Ok(())
}

#[tokio::test]
async fn r18_a_trigger_waits_for_the_source_that_it_depends_on() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let named = json!({
        "kind": "CronSource", "name": "tick", "apiVersion": "sources.millrace.dev/v1alpha1",
    });
    let mut trigger = stage.trigger("t", &json!({}));
    trigger["metadata"]["annotations"] = json!({"knative.dev/dependency": named.to_string()});
    stage.kube.ready(&broker("default", json!({}))).await?;
    stage.kube.apply(&trigger).await?;
    let waiting = "False DependencyDoesNotExist";
    stage.kube.until(&trigger, "DependencyReady", waiting).await?;
    stage.kube.until(&trigger, "Ready", waiting).await?;
    let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
    let spec = json!({"schedule": "0 0 1 1 *", "sink": {"ref": reference}});
    let source = object("sources.millrace.dev/v1alpha1", "CronSource", "tick", spec);
    stage.kube.ready(&source).await?;
    stage.kube.until(&trigger, "Ready", "True").await?;
    Ok(())
}

#[tokio::test]
async fn r20_the_ingress_takes_cloudevents_1_0_and_nothing_else() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    stage.with(json!({}), &[]).await?;
    let event = Event::new("1", "t");
    let later = event.clone().with("specversion", "19.0");
    let malformed = Message {
        headers: vec![(
            "content-type".to_owned(),
            "application/cloudevents+json".to_owned(),
        )],
        body: "{\"specversion\":".into(),
    };
    for (message, expected) in [
        (event.binary(), 202),
        (event.structured(), 202),
        (later.binary(), 400),
        (later.structured(), 400),
        (malformed, 400),
    ] {
        let answer = stage.mesh.post("shop/default", &message).await?;
        assert_eq!(answer.status, expected, "{message:?}");
    }
    let mut client = Client::new(stage.mesh.listen());
    let answer = client
        .send(&http::Method::GET, "/shop/default", &event.binary())
        .await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

#[tokio::test]
async fn r22_many_triggers_long_messages_and_redelivery() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let retries = json!({"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.01S"});
    let mut triggers = Vec::new();
    for number in 0..10 {
        let filter = json!({"attributes": {"type": format!("t{number}"), "mine": "yes"}});
        triggers.push(stage.trigger(&format!("t{number}"), &json!({"filter": filter})));
    }
    triggers.push(stage.trigger(
        "again",
        &json!({"delivery": retries, "filter": {"attributes": {"type": "again"}}}),
    ));
    stage.with(json!({}), &triggers).await?;
    stage.sink.answer("/again", failing(3));
    let long = "x".repeat(512 << 10);
    let mut events: Vec<Event> = (0..10)
        .map(|number| {
            Event::new(&format!("e{number}"), &format!("t{number}"))
                .with("mine", "yes")
                .data("text/plain", long.clone())
        })
        .collect();
    events.push(Event::new("e3", "t3").with("mine", "no"));
    events.push(Event::new("r", "again"));
    stage.mesh.send("shop/default", &events).await?;
    stage.mesh.until_settled().await?;
    for (number, event) in events.iter().take(10).enumerate() {
        let received = stage.sink.received(&format!("/t{number}"));
        assert_eq!(received.len(), 1, "t{number}");
        assert_eq!(received[0].event().data, event.data, "t{number}");
    }
    assert_eq!(stage.sink.count("/again"), 4);
    Ok(())
}
