//! Promise: what a Trigger refers to may go and come back, and change. While its target is away events wait
//! for it, and nothing is attempted or used up; what is lost beside that keeps no delivery from its target.

use millrace_tests::kube::served::{EVENTING, broker, condition, object, of_class, trigger};
use millrace_tests::{Answer, Event, Kube, Sink};
use serde_json::{Value, json};

/// An addressable that is not ours: a Broker of another class.
fn addressable(name: &str) -> Value {
    of_class(object(EVENTING, "Broker", name, json!({})), "Other")
}

fn to(name: &str) -> Value {
    json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": name}})
}

/// Makes an addressable, at that URL.
async fn appear(kube: &Kube, name: &str, url: &str) -> anyhow::Result<()> {
    kube.apply(&addressable(name)).await?;
    let status = json!({"address": {"url": url}});
    kube.set_status(&addressable(name), &status).await
}

#[tokio::test]
async fn events_wait_for_a_target_that_is_lost_and_never_for_a_dead_letter_sink() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    appear(&kube, "target", &sink.url("/target")).await?;
    appear(&kube, "dead", &sink.url("/dead")).await?;
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut t = trigger("t", "");
    t["spec"]["subscriber"] = to("target");
    // One attempt that fails would be the last.
    t["spec"]["delivery"] = json!({"retry": 0, "deadLetterSink": to("dead")});
    kube.ready(&t).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/target", 1).await?;

    kube.delete(&addressable("target")).await?;
    let lost = kube.until(&t, "Ready", "False BrokerNotFound").await?;
    assert!(lost["status"]["subscriberUri"].is_null(), "{lost}");
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    let waits = |trigger: &Value| trigger["state"] == "not-ready" && trigger["queued"] == 1;
    mesh.admin()
        .until_trigger("shop/t", "an event waits", waits)
        .await?;
    assert_eq!(mesh.admin().trigger("shop/t").await?["failedAttempts"], 0);
    appear(&kube, "target", &sink.url("/elsewhere")).await?;
    kube.until(&t, "Ready", "True").await?;
    sink.wait_for("/elsewhere", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/target"), sink.ids("/elsewhere"), sink.count("/dead")),
        (vec!["1".to_owned()], vec!["2".to_owned()], 0)
    );

    kube.delete(&addressable("dead")).await?;
    let lost = kube.until(&t, "Ready", "False BrokerNotFound").await?;
    assert_eq!(condition(&lost, "SubscriberResolved"), "True", "{lost}");
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/elsewhere", 2).await?;
    // What cannot be delivered is parked while there is nowhere else.
    sink.answer("/elsewhere", [Answer::status(500)]);
    mesh.send("shop/default", &[Event::new("4", "t")]).await?;
    mesh.admin().until_parked(1).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_rotated_counts_for_the_next_delivery() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let secret = |token: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ship", "namespace": "shop"},
            "stringData": {"token": token},
        })
    };
    kube.apply(&secret("the-old-one")).await?;
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut t = trigger("t", &sink.url("/t"));
    let auth = "{bearer: {secretKeyRef: {name: ship, key: token}}}";
    t["metadata"]["annotations"] = json!({"millrace.dev/subscriber-auth": auth});
    kube.ready(&t).await?;
    mesh.send("shop/default", &[Event::new("0", "t")]).await?;
    sink.wait_for("/t", 1).await?;
    let shown = sink.received("/t");
    assert_eq!(shown[0].header("authorization"), Some("Bearer the-old-one"));

    kube.apply(&secret("the-new-one")).await?;
    // Nothing says when it was seen: each event shows what counts then.
    let mut shown = Vec::new();
    for id in 1..=1_000 {
        mesh.send("shop/default", &[Event::new(&id.to_string(), "t")])
            .await?;
        sink.wait_for("/t", id + 1).await?;
        let last = sink.received("/t").pop();
        let last = last.and_then(|last| last.header("authorization").map(str::to_owned));
        shown.extend(last);
        if shown.last().is_some_and(|last| last == "Bearer the-new-one") {
            return Ok(());
        }
    }
    anyhow::bail!("the new token was never shown, but {:?}", shown.last())
}
