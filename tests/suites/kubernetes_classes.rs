//! Promise: a Broker whose class is no more ours is served no more, and neither it nor its Triggers say that
//! they are ready: what we have said of them goes, and what another controller says stays.
//!
//! Without the policies, as in a release with `watchNamespaces`, a class can change.

use anyhow::ensure;
use millrace_tests::kube::served::{broker, condition, manifests, of_class, trigger, until_triggers};
use millrace_tests::{Event, Kube, Sink, wait_until};
use serde_json::{Value, json};

/// An API without the policies that keep a class as it is.
async fn kube() -> anyhow::Result<Option<Kube>> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(None);
    };
    for policy in manifests(&["policies/validating"]).await? {
        kube.delete(&policy).await?;
    }
    Ok(Some(kube))
}

/// Changes the class. The policies hold for a moment after they are gone.
async fn change(kube: &Kube, broker: &Value) -> anyhow::Result<()> {
    wait_until("the class to change", || async {
        Ok(kube.apply(broker).await.is_ok().then_some(()))
    })
    .await
}

/// Waits until an object stands as if no controller had looked at it.
async fn until_left(kube: &Kube, object: &Value) -> anyhow::Result<()> {
    wait_until("the status to be given up", || async {
        let seen = kube.seen(object).await?;
        let status = seen["status"].as_object().cloned().unwrap_or_default();
        let fields: Vec<&String> = status.keys().collect();
        ensure!(fields == ["conditions"], "{seen}");
        ensure!(
            condition(&seen, "Ready") == "Unknown NoControllerYet"
                && status["conditions"].as_array().map(Vec::len) == Some(1),
            "{seen}"
        );
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_broker_that_changes_its_class_is_served_no_more_and_one_that_comes_back_has_its_log()
-> anyhow::Result<()> {
    let Some(kube) = kube().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = kube.served()?.start().await?;
    let (ours, reader) = (broker("default", json!({})), trigger("t", &sink.url("/t")));
    kube.ready(&ours).await?;
    kube.ready(&reader).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/t", 1).await?;

    change(&kube, &of_class(ours.clone(), "Other")).await?;
    until_triggers(&mesh, 0).await?;
    let refused = mesh.post("shop/default", &Event::new("2", "t").binary()).await?;
    assert_eq!(refused.status, 404);
    for object in [&ours, &reader] {
        until_left(&kube, object).await?;
    }

    kube.ready(&ours).await?;
    kube.until(&reader, "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    sink.wait_for("/t", 2).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/t"), ["1", "3"]);
    Ok(())
}

#[tokio::test]
async fn the_triggers_of_a_broker_made_anew_with_another_class_are_given_up() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let mut mesh = kube.served()?.start().await?;
    let (ours, reader) = (broker("default", json!({})), trigger("t", "http://127.0.0.1:1/"));
    kube.ready(&ours).await?;
    kube.ready(&reader).await?;
    // Also where nobody was there to see it.
    mesh.stop().await?;
    kube.delete(&ours).await?;
    kube.apply(&of_class(ours.clone(), "Other")).await?;
    mesh.restart().await?;
    until_left(&kube, &reader).await?;

    // The Broker that is missing is again ours to miss only if the Trigger is.
    kube.delete(&ours).await?;
    kube.ready(&ours).await?;
    kube.until(&reader, "Ready", "True").await?;
    Ok(())
}

#[tokio::test]
async fn what_another_controller_says_since_stays() -> anyhow::Result<()> {
    let Some(kube) = kube().await? else {
        return Ok(());
    };
    let mut mesh = kube.served()?.start().await?;
    let (ours, reader) = (broker("default", json!({})), trigger("t", "http://127.0.0.1:1/"));
    kube.ready(&ours).await?;
    kube.ready(&reader).await?;
    mesh.stop().await?;
    change(&kube, &of_class(ours.clone(), "Other")).await?;
    let theirs = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "Theirs", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    for object in [&ours, &reader] {
        kube.set_status(object, &theirs).await?;
    }
    mesh.restart().await?;
    // The address and the generation are still ours. When they are gone, the rest was written as well.
    for object in [&ours, &reader] {
        let seen = wait_until("what is ours to be given up", || async {
            let seen = kube.seen(object).await?;
            let status = &seen["status"];
            ensure!(
                status["address"].is_null() && status["observedGeneration"].is_null(),
                "{seen}"
            );
            Ok(Some(seen))
        })
        .await?;
        assert_eq!(condition(&seen, "Ready"), "False Theirs", "{seen}");
    }
    Ok(())
}
