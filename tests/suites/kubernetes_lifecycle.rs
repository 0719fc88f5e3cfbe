//! Promise: objects may come and go in any order. A deleted Trigger's retries go at once, and its place stays
//! for a while; one made anew is another one and begins at the end, unless it resumes. Debts of Triggers that
//! were not deleted are kept, whatever the API server does.

use millrace_tests::kube::served::{EVENTING, SOURCES, broker, condition, object, trigger, until_triggers};
use millrace_tests::reload::until_state;
use millrace_tests::{Answer, Event, Gate, Kube, Sink, wait_until};
use serde_json::{Value, json};

/// Events that were owed and dropped.
const DROPPED: &str = "millrace_dispatch_dropped_debts_total";

/// The same Trigger, in the place of the last of its name.
fn resuming(mut trigger: Value) -> Value {
    trigger["metadata"]["annotations"] = json!({"millrace.dev/resume": "true"});
    trigger
}

/// What the Events of Kubernetes about an object say for that reason.
async fn notes(kube: &Kube, name: &str, reason: &str) -> anyhow::Result<Vec<String>> {
    let events: kube::Api<k8s_openapi::api::events::v1::Event> = kube::Api::namespaced(kube.client(), "shop");
    let all = events.list(&kube::api::ListParams::default()).await?.items;
    let about = all.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref().and_then(|one| one.name.as_deref());
        regarding == Some(name) && event.reason.as_deref() == Some(reason)
    });
    Ok(about.filter_map(|event| event.note).collect())
}

#[tokio::test]
async fn a_trigger_waits_for_its_broker_loses_it_and_gets_another() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = kube.served()?.args(&["--default-class"]).start().await?;
    let all = trigger("all", &sink.url("/all"));
    kube.apply(&all).await?;
    kube.until(&all, "BrokerReady", "False BrokerDoesNotExist")
        .await?;
    kube.until(&all, "Ready", "False BrokerDoesNotExist").await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.until(&all, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/all", 1).await?;

    kube.delete(&broker("default", json!({}))).await?;
    kube.until(&all, "Ready", "False BrokerDoesNotExist").await?;
    let refused = mesh.post("shop/default", &Event::new("2", "t").binary()).await?;
    assert_eq!(refused.status, 404);
    kube.ready(&broker("default", json!({}))).await?;
    kube.until(&all, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/all", 2).await?;
    assert_eq!(sink.ids("/all"), ["1", "3"]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_trigger_leaves_no_debts_and_one_made_anew_begins_at_the_end() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/down", [Answer::status(503)]);
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut slow = trigger("slow", &sink.url("/down"));
    slow["spec"]["delivery"] = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H"});
    kube.ready(&slow).await?;
    mesh.send("shop/default", &[Event::new("1", "t"), Event::new("2", "t")])
        .await?;
    sink.wait_for("/down", 2).await?;

    kube.delete(&slow).await?;
    let admin = mesh.admin();
    let dropped = |trigger: &Value| trigger["state"] == "orphaned" && trigger["deferred"] == 0;
    admin
        .until_trigger("shop/slow", "without retries", dropped)
        .await?;
    admin.until_metric(DROPPED, 2.0).await?;
    let told = wait_until("the Event of Kubernetes", || async {
        let notes = notes(&kube, "slow", "DebtsDropped").await?;
        Ok((!notes.is_empty()).then_some(notes))
    })
    .await?;
    assert!(told.len() == 1 && told[0].starts_with("2 events "), "{told:?}");

    slow["spec"]["subscriber"]["uri"] = json!(sink.url("/up"));
    kube.ready(&slow).await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/up", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/up"), ["3"]);
    // Only its own place is left when it goes as well.
    kube.delete(&slow).await?;
    until_state(&mesh, "shop/slow", "orphaned").await?;
    let all = admin.get("triggers").await?;
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    Ok(())
}

#[tokio::test]
async fn one_that_resumes_takes_over_the_place_of_the_last_of_its_name() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/one", [Answer::status(503), Answer::status(202)]);
    let mut mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut one = trigger("t", &sink.url("/one"));
    one["spec"]["delivery"] = json!({"retry": 9, "backoffPolicy": "linear", "backoffDelay": "PT1H"});
    kube.ready(&one).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/one", 1).await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/one", 2).await?;
    kube.delete(&one).await?;
    let admin = mesh.admin();
    let dropped = |trigger: &Value| trigger["state"] == "orphaned" && trigger["deferred"] == 0;
    admin.until_trigger("shop/t", "without retries", dropped).await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;

    let two = resuming(trigger("t", &sink.url("/two")));
    kube.ready(&two).await?;
    mesh.send("shop/default", &[Event::new("4", "t")]).await?;
    sink.wait_for("/two", 2).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/two"), ["3", "4"], "what came since, and no retry");

    // The place is its own now, with the annotation or without, also for the next process.
    mesh.stop().await?;
    mesh.restart().await?;
    kube.ready(&trigger("t", &sink.url("/three"))).await?;
    mesh.send("shop/default", &[Event::new("5", "t")]).await?;
    sink.wait_for("/three", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/two").len(), sink.ids("/three")),
        (2, vec!["5".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn one_that_is_first_seen_in_the_place_of_another_takes_over_its_retries_too() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/one", [Answer::status(503)]);
    let mut mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut one = trigger("t", &sink.url("/one"));
    one["spec"]["delivery"] = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1S"});
    kube.ready(&one).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/one", 1).await?;
    // As in a restore: Millrace is stopped while all objects are made anew.
    mesh.stop().await?;
    for object in [&one, &broker("default", json!({}))] {
        kube.delete(object).await?;
    }
    let two = resuming(trigger("t", &sink.url("/two")));
    for object in [&broker("default", json!({})), &two] {
        kube.apply(object).await?;
    }
    mesh.restart().await?;
    kube.until(&two, "Ready", "True").await?;
    sink.wait_for("/two", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/two"), ["1"]);
    Ok(())
}

#[tokio::test]
async fn a_trigger_replaced_in_one_moment_is_another_one() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let gate = Gate::closed();
    sink.answer("/one", [Answer::status(500).after(&gate)]);
    let one = trigger("t", &sink.url("/one"));
    kube.ready(&one).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/one", 1).await?;
    let other = trigger("t", &sink.url("/other"));
    kube.delete(&one).await?;
    kube.ready(&other).await?;
    gate.open();
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/other", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/other"), ["2"]);
    Ok(())
}

#[tokio::test]
async fn an_invalid_generation_is_refused_in_the_status_and_the_last_valid_one_goes_on() -> anyhow::Result<()>
{
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let good = trigger("t", &sink.url("/t"));
    kube.ready(&good).await?;
    let mut bad = good.clone();
    bad["spec"]["filters"] = json!([{"cesql": "type ="}]);
    kube.apply(&bad).await?;
    kube.until(&bad, "Ready", "False InvalidFilter").await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/t", 1).await?;
    // Also for the next process.
    mesh.stop().await?;
    mesh.restart().await?;
    until_triggers(&mesh, 1).await?;
    kube.until(&bad, "Ready", "False InvalidFilter").await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/t", 2).await?;
    Ok(())
}

#[tokio::test]
async fn namespaces_that_are_not_watched_are_left_alone() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    kube.namespace("mill").await?;
    let mut elsewhere = broker("default", json!({}));
    elsewhere["metadata"]["namespace"] = json!("mill");
    kube.apply(&elsewhere).await?;
    let mesh = kube
        .served()?
        .args(&["--watch-namespace", "shop,other"])
        .start()
        .await?;
    kube.ready(&broker("default", json!({}))).await?;
    let service = object("v1", "Service", "s", json!({"ports": [{"port": 80}]}));
    kube.apply(&service).await?;
    let mut to_service = trigger("t", "");
    to_service["spec"]["subscriber"] = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}});
    kube.ready(&to_service).await?;
    // Rights are asked for within the namespace.
    let sink = json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "default"}});
    let resources = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
    let mut source = object(
        SOURCES,
        "ApiServerSource",
        "maps",
        json!({"resources": resources, "sink": sink}),
    );
    let rules = json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    kube.account("default", Some("shop"), &rules).await?;
    kube.apply(&source).await?;
    kube.until(&source, "SufficientPermissions", "True").await?;
    source["spec"]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
    kube.apply(&source).await?;
    let lacking = "False InsufficientPermissions";
    kube.until(&source, "SufficientPermissions", lacking).await?;
    let answer = mesh.post("mill/default", &Event::new("1", "t").binary()).await?;
    assert_eq!(answer.status, 404);
    let found = kube.seen(&elsewhere).await?;
    assert_eq!(condition(&found, "Ready"), "Unknown NoControllerYet", "{found}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_is_deleted_goes_with_all_that_was_owed_there() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let Some(_controllers) = kube.controllers()? else {
        return Ok(());
    };
    kube.namespace("closing").await?;
    let sink = Sink::start().await?;
    sink.answer("/down", [Answer::status(503)]);
    let mesh = kube.served()?.start().await?;
    let closing = |mut object: Value| {
        object["metadata"]["namespace"] = json!("closing");
        object
    };
    let mut down = closing(trigger("down", &sink.url("/down")));
    down["spec"]["delivery"] = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H"});
    for object in [
        &broker("default", json!({})),
        &trigger("t", &sink.url("/t")),
        &closing(broker("default", json!({}))),
        &down,
    ] {
        kube.ready(object).await?;
    }
    mesh.send("closing/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/down", 1).await?;

    // Nothing of ours holds it up: there are no finalizers.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "closing"}});
    kube.delete(&namespace).await?;
    wait_until("the namespace to be gone", || async {
        Ok(kube.find(&namespace).await?.is_none().then_some(()))
    })
    .await?;
    mesh.admin().until_metric(DROPPED, 1.0).await?;
    until_triggers(&mesh, 1).await?;
    // The Broker's end may be seen a moment after that of its Trigger.
    wait_until("the Broker to be gone", || async {
        let event = Event::new("2", "t").binary();
        let answer = mesh.post("closing/default", &event).await?;
        Ok((answer.status == 404).then_some(()))
    })
    .await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/t", 1).await?;
    Ok(())
}

/// A file stands in the way of its folder.
#[tokio::test]
async fn a_broker_that_cannot_be_opened_holds_up_nobody_not_even_a_start() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    let in_the_way = mesh.setup().data_folder().join("brokers/shop/broken");
    std::fs::write(&in_the_way, "")?;
    let broken = broker("broken", json!({}));
    kube.apply(&broken).await?;
    let mut late = trigger("late", &sink.url("/late"));
    late["spec"]["broker"] = json!("broken");
    kube.apply(&late).await?;
    // What comes after them is served all the same.
    kube.ready(&trigger("one", &sink.url("/one"))).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/one", 1).await?;

    mesh.stop().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/one", 2).await?;
    let refused = mesh.post("shop/broken", &Event::new("3", "t").binary()).await?;
    assert_eq!(refused.status, 404);
    kube.until(&late, "Ready", "Unknown DataPlaneNotUpdated").await?;

    std::fs::remove_file(&in_the_way)?;
    kube.ready(&late).await?;
    mesh.send("shop/broken", &[Event::new("4", "t")]).await?;
    sink.wait_for("/late", 1).await?;
    assert_eq!(sink.ids("/one"), ["1", "2"]);
    Ok(())
}
