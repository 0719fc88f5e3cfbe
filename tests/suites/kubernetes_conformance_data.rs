//! Promise: what Knative's conformance suite asks of a Broker's data plane holds for objects of a real API
//! server. Each test is named after the rows of that suite; subscribers are URLs of this machine.

use millrace_tests::kube::served::until_triggers;
use millrace_tests::kube::stage::Stage;
use millrace_tests::{Answer, Client, Event};
use serde_json::{Value, json};

fn failing(times: usize) -> Vec<Answer> {
    let mut answers = vec![Answer::status(500); times];
    answers.push(Answer::ok());
    answers
}

/// One of the five tables of deliveries: failures of both subscribers, and what comes to them and to the
/// dead-letter sinks.
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
    let only_retry = |retry: u32| json!({"delivery": {"retry": retry, "backoffDelay": "PT0.01S"}});
    for (broker_spec, triggers, fails, expected) in [
        (none(), [none(), none()], [0, 0], [1, 1, 0, 0]),
        (of_broker(3), [none(), none()], [3, 4], [4, 4, 1, 0]),
        // The second is given up without a dead-letter sink.
        (
            only_retry(0),
            [of_trigger(3), only_retry(1)],
            [3, 2],
            [4, 2, 0, 0],
        ),
        (of_broker(1), [of_trigger(3), none()], [3, 2], [4, 2, 1, 0]),
        (of_broker(1), [of_trigger(3), none()], [4, 2], [4, 2, 1, 1]),
    ] {
        let found = delivered(&stage, broker_spec.clone(), &triggers, fails).await?;
        assert_eq!(found, expected, "{broker_spec} {triggers:?} {fails:?}");
    }
    let parked = stage.mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["trigger"], "shop/t2", "{parked:?}");
    Ok(())
}

/// A Trigger without a filter.
const ANY: &str = "";

/// One of the seven tables of routing: the types that one or two Triggers ask for, whether the first replies,
/// and how many events come to each.
async fn routed(stage: &Stage, types: &[&str], replies: bool) -> anyhow::Result<Vec<usize>> {
    let answer = Answer::reply(&Event::new("reply", "com.example.ReplyEvent"));
    let answer = if replies { answer } else { Answer::ok() };
    stage.sink.answer("/t1", [answer, Answer::ok()]);
    let names: Vec<String> = (1..=types.len()).map(|number| format!("t{number}")).collect();
    let triggers: Vec<Value> = names
        .iter()
        .zip(types)
        .map(|(name, kind)| match *kind {
            ANY => stage.trigger(name, &json!({})),
            kind => stage.trigger(name, &json!({"filter": {"attributes": {"type": kind}}})),
        })
        .collect();
    stage.with(json!({}), &triggers).await?;
    let event = Event::new("full", "com.example.FullEvent").with("subject", "a");
    stage.mesh.send("shop/default", &[event]).await?;
    stage.mesh.until_settled().await?;
    for trigger in &triggers {
        stage.kube.delete(trigger).await?;
    }
    until_triggers(&stage.mesh, 0).await?;
    Ok(names
        .iter()
        .map(|name| stage.sink.take(&format!("/{name}")).len())
        .collect())
}

#[tokio::test]
async fn r15_events_go_where_filters_say_and_a_reply_enters_anew() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let (full, reply, other) = ("com.example.FullEvent", "com.example.ReplyEvent", "mytype");
    let tables: [(&[&str], bool, &[usize]); 7] = [
        (&[ANY], false, &[1]),
        (&[other], false, &[0]),
        (&[full], false, &[1]),
        (&[full, full], false, &[1, 1]),
        (&[other, full], false, &[0, 1]),
        (&[full, reply], true, &[1, 1]),
        (&[ANY, ANY], false, &[1, 1]),
    ];
    for (types, replies, expected) in tables {
        let found = routed(&stage, types, replies).await?;
        assert_eq!(found, expected, "{types:?} {replies}");
    }
    Ok(())
}

#[tokio::test]
async fn r20_the_ingress_takes_cloudevents_1_0_and_nothing_else() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    stage.with(json!({}), &[]).await?;
    for (message, expected) in Event::good_and_bad() {
        let answer = stage.mesh.post("shop/default", &message).await?;
        assert_eq!(answer.status, expected, "{message:?}");
    }
    let mut client = Client::new(stage.mesh.listen());
    let answer = client
        .send(
            &http::Method::GET,
            "/shop/default",
            &Event::new("1", "t").binary(),
        )
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
