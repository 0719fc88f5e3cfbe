//! Promise: what Knative's conformance suite asks of a Broker's control plane holds for objects of a real API
//! server. Each test is named after the rows of that suite. Subscribers are URLs of this machine, and
//! Services where only the status is asked for. The definitions of the kinds answer rows 4, 6, 9, 12, 13, 16
//! and 17.

use millrace_tests::kube::requests::refusal;
use millrace_tests::kube::served::{broker, condition, object, service};
use millrace_tests::kube::stage::Stage;
use millrace_tests::wait_until;
use serde_json::{Value, json};

const CLASS: &str = "eventing.knative.dev/broker.class";

/// Names of attributes that are stored as they are given.
const VALID: [&str; 11] = [
    "source",
    "id",
    "specversion",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "aaa",
    "c1d2e3",
    "abcdefghijklmnopqrst",
];

/// Names of attributes that are refused.
const INVALID: [&str; 10] = [
    "SOURCE",
    "Source",
    "souRce",
    "s pace s",
    "s_pace_s",
    "s-pace-s",
    "123",
    "😊",
    "!@#$%^&*()-_=_`~+\\",
    "{}[];':\"<>,./?",
];

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

/// Replaces an object by one that is changed, and gives in which words that is refused.
async fn refused(stage: &Stage, object: &Value, change: impl Fn(&mut Value)) -> anyhow::Result<String> {
    // The status may be written in between, as it may between any reading and writing of an object.
    wait_until("an answer other than a conflict", || async {
        let mut changed = stage.kube.seen(object).await?;
        change(&mut changed);
        let said = refusal(stage.kube.replace(&changed).await)?;
        Ok((!said.contains("the object has been modified")).then_some(said))
    })
    .await
}

#[tokio::test]
async fn r04_r06_class_and_config_of_a_broker_cannot_be_changed() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    stage.with(json!({}), &[]).await?;
    let default = broker("default", json!({}));
    wait_until("the policies to hold", || async {
        let mut changed = stage.kube.seen(&default).await?;
        changed["metadata"]["annotations"][CLASS] = json!("Other");
        let said = refusal(stage.kube.would_replace(&changed).await)?;
        Ok(said.contains("Immutable").then_some(()))
    })
    .await?;
    let said = refused(&stage, &default, |broker| {
        broker["metadata"]["annotations"][CLASS] = json!("Rekt.brokerClassIsImmutable");
    })
    .await?;
    assert!(
        said.contains("Immutable annotations changed (-old +new): annotations"),
        "{said}"
    );
    let unchanged = stage.kube.until(&default, "Ready", "True").await?;
    assert_eq!(unchanged["metadata"]["annotations"][CLASS], "Millrace");

    let config = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
    let (with, without) = (
        broker("with", json!({"config": config("settings")})),
        broker("without", json!({})),
    );
    for one in [&with, &without] {
        stage.kube.apply(one).await?;
    }
    for (one, config) in [
        (&with, config("others")),
        (&with, Value::Null),
        (&without, config("settings")),
    ] {
        let said = refused(&stage, one, |broker| broker["spec"]["config"] = config.clone()).await?;
        assert!(
            said.contains("Immutable fields changed (-old +new): spec"),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn r09_r12_r13_a_trigger_keeps_its_broker_and_its_attributes_have_valid_names() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let trigger = stage.trigger("t", &json!({}));
    stage.kube.apply(&trigger).await?;
    let said = refused(&stage, &trigger, |trigger| {
        trigger["spec"]["broker"] = json!("Rekt.BrokerImmutable");
    })
    .await?;
    assert!(
        said.contains("Immutable fields changed (-old +new): broker, spec"),
        "{said}"
    );

    let attributes: Value = VALID
        .iter()
        .map(|name| ((*name).to_owned(), json!("x")))
        .collect();
    let trigger = stage.trigger("valid", &json!({"filter": {"attributes": attributes}}));
    let stored = stage.kube.create(&trigger).await?;
    assert_eq!(stored["spec"]["filter"]["attributes"], attributes);

    let trigger = stage.trigger("bare", &json!({}));
    stage.kube.create(&trigger).await?;
    for name in INVALID {
        let said = refused(&stage, &trigger, |trigger| {
            trigger["spec"]["filter"]["attributes"] = json!({name: "x"});
        })
        .await?;
        assert!(
            said.contains("Attribute name must start with a letter"),
            "{name}: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn r16_r17_filter_and_namespace_are_there_right_after_the_creation() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": "ship"});
    let trigger = |name: &str| stage.trigger(name, &json!({"subscriber": {"ref": reference}}));
    let stored = stage.kube.create(&trigger("bare")).await?;
    assert_eq!(stored["spec"]["filter"], json!({}));
    stage.kube.define_defaults().await?;
    wait_until("the policies to hold", || async {
        let stored = stage.kube.would_create(&trigger("probe")).await?;
        Ok((!stored["spec"]["subscriber"]["ref"]["namespace"].is_null()).then_some(()))
    })
    .await?;
    let stored = stage.kube.create(&trigger("filled")).await?;
    assert_eq!(stored["spec"]["subscriber"]["ref"]["namespace"], "shop");
    assert_eq!(stored["spec"]["filter"], json!({}));
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
