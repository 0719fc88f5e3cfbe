//! Promise: objects may come and go in any order. A deleted Trigger's debts go at once; one made anew is
//! another one and begins at the end. Debts of Triggers that were not deleted are kept, whatever the API
//! server does.

use millrace_tests::kube::served::{EVENTING, SOURCES, broker, condition, object, trigger, until_triggers};
use millrace_tests::{Answer, Event, Gate, Kube, Sink, wait_until};
use serde_json::json;

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
    wait_until("the debts to be dropped", || async {
        let triggers = admin.get("triggers").await?;
        let is_empty = triggers.as_array().is_some_and(Vec::is_empty);
        Ok(is_empty.then_some(()))
    })
    .await?;

    slow["spec"]["subscriber"]["uri"] = json!(sink.url("/up"));
    kube.ready(&slow).await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/up", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/up"), ["3"]);
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
    kube.apply(&source).await?;
    let lacking = "False InsufficientPermissions";
    kube.until(&source, "SufficientPermissions", lacking).await?;
    let rules = json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    kube.account("default", Some("shop"), &rules).await?;
    kube.until(&source, "SufficientPermissions", "True").await?;
    source["spec"]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
    kube.apply(&source).await?;
    kube.until(&source, "SufficientPermissions", lacking).await?;
    let answer = mesh.post("mill/default", &Event::new("1", "t").binary()).await?;
    assert_eq!(answer.status, 404);
    let found = kube.seen(&elsewhere).await?;
    assert_eq!(condition(&found, "Ready"), "Unknown NoControllerYet", "{found}");
    Ok(())
}
