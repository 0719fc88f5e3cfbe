//! Promise: while the API server is away deliveries go on, and a restart serves what was accepted before.
//! What needs a Secret waits. What was deleted meanwhile goes with the first complete list. A quiet cluster
//! costs no writes.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_tests::kube::served::{broker, trigger, until_triggers};
use millrace_tests::{Answer, Event, Kube, Producers, Sink, wait_until};
use serde_json::{Value, json};

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// The versions of these objects: each write makes a new one.
async fn versions(kube: &Kube, objects: &[Value]) -> anyhow::Result<Vec<Value>> {
    let mut versions = Vec::new();
    for object in objects {
        let found = kube.seen(object).await?;
        versions.push(found["metadata"]["resourceVersion"].clone());
    }
    Ok(versions)
}

#[tokio::test]
async fn without_the_api_server_deliveries_go_on_and_a_restart_serves_what_was_accepted() -> anyhow::Result<()>
{
    let Some(mut kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = kube.served()?.start().await?;
    let (broker, kept) = (broker("default", json!({})), trigger("kept", &sink.url("/kept")));
    let gone = trigger("gone", &sink.url("/gone"));
    for object in [&broker, &kept, &gone] {
        kube.ready(object).await?;
    }
    // It is written a moment after it is in effect.
    let file = mesh.setup().data_folder().join("mesh/accepted.json");
    wait_until("both Triggers to be kept", || async {
        let text = std::fs::read_to_string(&file)?;
        Ok((text.contains("/gone") && text.contains("/kept")).then_some(()))
    })
    .await?;

    kube.kill().await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.until_all("/kept", &ids(&["1"])).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.until_all("/kept", &ids(&["1", "2"])).await?;
    sink.until_all("/gone", &ids(&["1", "2"])).await?;
    mesh.stop().await?;

    kube.restart().await?;
    kube.delete(&gone).await?;
    kube.kill().await?;
    mesh.restart().await?;
    until_triggers(&mesh, 2).await?;
    kube.restart().await?;
    until_triggers(&mesh, 1).await?;
    kube.until(&kept, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.until_all("/kept", &ids(&["1", "2", "3"])).await?;
    // The kill may have repeated one.
    let gone: BTreeSet<String> = sink.ids("/gone").into_iter().collect();
    assert_eq!(gone, ids(&["1", "2"]));
    Ok(())
}

/// Events sent between two steps.
const BETWEEN: usize = 200;

#[tokio::test]
async fn whatever_of_both_comes_and_goes_under_load_what_was_accepted_arrives() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = kube.served()?.start().await?;
    for object in [
        &broker("default", json!({})),
        &trigger("t", &sink.url("/t")),
        &trigger("late", &sink.url("/early")),
    ] {
        kube.ready(object).await?;
    }
    let file = mesh.setup().data_folder().join("mesh/accepted.json");
    wait_until("both Triggers to be kept", || async {
        let text = std::fs::read_to_string(&file)?;
        Ok((text.contains("/early") && text.contains("/t")).then_some(()))
    })
    .await?;
    let pause = Duration::from_millis(5);
    let event = |id: &str| Event::new(id, "t");
    let producers = Producers::start(mesh.listen(), "/shop/default", [1, 2, 3], pause, event);
    let more = async |producers: &Producers| {
        let wanted = producers.count() + BETWEEN;
        wait_until("more events to be accepted", || async {
            Ok((producers.count() >= wanted).then_some(()))
        })
        .await
    };
    more(&producers).await?;
    kube.kill().await?;
    more(&producers).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    producers.moved(mesh.listen());
    more(&producers).await?;
    kube.restart().await?;
    // A change shows that it is heard again.
    kube.ready(&trigger("late", &sink.url("/late"))).await?;
    more(&producers).await?;
    // All watches are too old at once.
    kube.forget_history().await?;
    kube.ready(&trigger("late", &sink.url("/latest"))).await?;
    more(&producers).await?;
    let accepted: BTreeSet<String> = producers.stop().await?.into_iter().collect();
    mesh.until_settled().await?;
    sink.until_all("/t", &accepted).await?;
    let paths = ["/early", "/late", "/latest"];
    let moved: BTreeSet<String> = paths.iter().flat_map(|path| sink.ids(path)).collect();
    assert_eq!(
        accepted.difference(&moved).count(),
        0,
        "a change of the subscriber loses nothing"
    );
    Ok(())
}

#[tokio::test]
async fn dead_letters_wait_for_the_secret_that_proves_them_while_it_cannot_be_read() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(400)]);
    sink.answer("/dead", [Answer::status(503)]);
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dead", "namespace": "shop"},
        "stringData": {"token": "of-the-shop"},
    });
    kube.apply(&token).await?;
    let mut t = trigger("t", &sink.url("/t"));
    let dead = json!({"uri": sink.url("/dead")});
    t["spec"]["delivery"] = json!({"retry": 10, "backoffDelay": "PT0.1S", "deadLetterSink": dead});
    let auth = "{bearer: {secretKeyRef: {name: dead, key: token}}}";
    t["metadata"]["annotations"] = json!({"millrace.dev/dead-letter-auth": auth});
    let plain = trigger("plain", &sink.url("/plain"));
    let mut mesh = kube.served()?.start().await?;
    for object in [&broker("default", json!({})), &t, &plain] {
        kube.ready(object).await?;
    }
    let file = mesh.setup().data_folder().join("mesh/accepted.json");
    wait_until("the Triggers to be kept", || async {
        let text = std::fs::read_to_string(&file)?;
        Ok((text.contains("dead-letter-auth") && text.contains("/plain")).then_some(()))
    })
    .await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/dead", 1).await?;
    mesh.kill().await?;
    kube.kill().await?;

    // One is due at once, and another becomes a dead letter. Deliveries that need no secret go on.
    sink.answer("/dead", [Answer::ok()]);
    sink.take("/dead");
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.until_all("/plain", &ids(&["1", "2"])).await?;
    sink.until_all("/t", &ids(&["1", "2"])).await?;
    wait_until("both dead letters to wait", || async {
        let state = mesh.admin().trigger("shop/t").await?;
        anyhow::ensure!(state["parked"] == 0, "{state}");
        Ok((state["deferred"] == 2).then_some(()))
    })
    .await?;
    kube.restart().await?;
    sink.until_all("/dead", &ids(&["1", "2"])).await?;
    mesh.until_settled().await?;
    let state = mesh.admin().trigger("shop/t").await?;
    assert_eq!(
        (&state["parked"], &state["deadLettered"]),
        (&json!(0), &json!(2)),
        "{state}"
    );
    for received in sink.received("/dead") {
        assert_eq!(received.header("authorization"), Some("Bearer of-the-shop"));
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_and_a_lost_history_write_nothing() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    // Each start takes another port.
    let mut mesh = kube
        .served()?
        .args(&["--public-url", "http://mill.example"])
        .start()
        .await?;
    let mut to_service = trigger("lost", "");
    to_service["spec"]["subscriber"] = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}});
    let objects = [
        broker("default", json!({})),
        trigger("t", "http://127.0.0.1:1/"),
        to_service.clone(),
    ];
    kube.ready(&objects[0]).await?;
    kube.ready(&objects[1]).await?;
    kube.apply(&to_service).await?;
    kube.until(&to_service, "Ready", "False ServiceNotFound").await?;
    // It is said once it has lasted for a moment. After that nothing is left to say.
    let unknown = "False SubscriberUnknown";
    kube.until(&to_service, "Delivering", unknown).await?;
    let before = versions(&kube, &objects).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    // What comes now shows that all lists were taken in.
    kube.ready(&trigger("later", "http://127.0.0.1:1/")).await?;
    assert_eq!(versions(&kube, &objects).await?, before);
    kube.forget_history().await?;
    kube.ready(&trigger("latest", "http://127.0.0.1:1/")).await?;
    assert_eq!(versions(&kube, &objects).await?, before);
    Ok(())
}
