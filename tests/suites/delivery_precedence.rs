//! Promise: a Trigger's delivery counts before its Broker's; only the dead-letter sink falls back by itself.
//!
//! The five cases are Knative's conformance matrix. `retry` counts the attempts after the first.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Mesh, Sink};

/// Fails so often, then takes everything.
fn failing(times: usize) -> Vec<Answer> {
    let mut answers = vec![Answer::status(500); times];
    answers.push(Answer::ok());
    answers
}

/// A quick policy with so many retries and, if given, a dead-letter sink.
fn delivery(retry: u32, dead: Option<&str>) -> String {
    let dead = dead
        .map(|uri| format!(", deadLetterSink: {{uri: \"{uri}\"}}"))
        .unwrap_or_default();
    format!("{{retry: {retry}, backoffPolicy: linear, backoffDelay: PT0.01S{dead}}}")
}

/// Two triggers, their subscribers failing so often; gives sink and mesh once all is settled.
async fn case(documents: impl FnOnce(&Sink) -> Documents, fails: [usize; 2]) -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    sink.answer("/t1", failing(fails[0]));
    sink.answer("/t2", failing(fails[1]));
    let mesh = Mesh::start(documents(&sink).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.until_settled().await?;
    Ok((mesh, sink))
}

fn triggers(sink: &Sink) -> [Trigger; 2] {
    [
        Trigger::new("t1", &sink.url("/t1")),
        Trigger::new("t2", &sink.url("/t2")),
    ]
}

/// Requests at both subscribers and at both dead-letter sinks.
fn counts(sink: &Sink) -> [usize; 4] {
    ["/t1", "/t2", "/broker-dead", "/trigger-dead"].map(|path| sink.count(path))
}

#[tokio::test]
async fn without_any_policy_the_default_retries() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        Documents::broker().trigger(&t1).trigger(&t2)
    };
    let (_mesh, sink) = case(documents, [1, 2]).await?;
    assert_eq!(counts(&sink), [2, 3, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn the_brokers_policy_counts_for_triggers_without_one() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        let policy = delivery(3, Some(&sink.url("/broker-dead")));
        Documents::broker_with(&policy).trigger(&t1).trigger(&t2)
    };
    let (_mesh, sink) = case(documents, [3, 4]).await?;
    assert_eq!(
        counts(&sink),
        [4, 4, 1, 0],
        "t1 is delivered at its last attempt, t2 is given up"
    );
    Ok(())
}

#[tokio::test]
async fn each_trigger_has_its_own_policy_and_without_a_sink_is_parked() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        Documents::broker()
            .trigger(&t1.delivery(&delivery(3, Some(&sink.url("/trigger-dead")))))
            .trigger(&t2.delivery(&delivery(1, None)))
    };
    let (mesh, sink) = case(documents, [4, 2]).await?;
    assert_eq!(counts(&sink), [4, 2, 0, 1]);
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(
        (parked[0]["trigger"].as_str(), parked[0]["event"]["id"].as_str()),
        (Some("shop/t2"), Some("1"))
    );
    Ok(())
}

#[tokio::test]
async fn a_triggers_own_policy_wins_and_the_other_inherits() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        Documents::broker_with(&delivery(1, Some(&sink.url("/broker-dead"))))
            .trigger(&t1.delivery(&delivery(3, Some(&sink.url("/trigger-dead")))))
            .trigger(&t2)
    };
    let (_mesh, sink) = case(documents, [3, 2]).await?;
    assert_eq!(counts(&sink), [4, 2, 1, 0]);
    Ok(())
}

#[tokio::test]
async fn with_two_dead_letter_sinks_each_gets_its_own() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        Documents::broker_with(&delivery(1, Some(&sink.url("/broker-dead"))))
            .trigger(&t1.delivery(&delivery(3, Some(&sink.url("/trigger-dead")))))
            .trigger(&t2)
    };
    let (_mesh, sink) = case(documents, [4, 2]).await?;
    assert_eq!(counts(&sink), [4, 2, 1, 1]);
    Ok(())
}

#[tokio::test]
async fn the_dead_letter_sink_alone_falls_back_to_the_brokers() -> anyhow::Result<()> {
    let documents = |sink: &Sink| {
        let [t1, t2] = triggers(sink);
        Documents::broker_with(&delivery(5, Some(&sink.url("/broker-dead"))))
            .trigger(&t1.delivery(&delivery(2, None)))
            .trigger(&t2)
    };
    let (_mesh, sink) = case(documents, [3, 0]).await?;
    assert_eq!(
        counts(&sink),
        [3, 1, 1, 0],
        "retry is the trigger's, the sink the broker's"
    );
    Ok(())
}
