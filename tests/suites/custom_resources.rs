//! Promise: the API server itself refuses what is wrong with a resource, in words that say what to do, and
//! stores what is right as it was written; no webhook is needed for it.
//!
//! The table of cases is also what `millrace check --kubernetes` is tested with.

use std::path::Path;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, stream};
use millrace_tests::kube::requests::{collection, head, path};
use millrace_tests::kube::served::{EVENTING, SOURCES};
use millrace_tests::{Kube, process, wait_until};
use serde_json::{Value, json};

/// The table: `api` is a part of the refusal, or null where the object is stored.
const CASES: &str = include_str!("../../crds/tests/data/cases.json");
/// Requests under way at one time.
const AT_ONCE: usize = 8;
/// What the policies say of an annotation that is none.
const REFUSAL: &str = "there is no such annotation; there are millrace.dev/";

#[tokio::test]
async fn millrace_prints_and_writes_the_definitions() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let written = process::run(folder.path(), &["crds", "--into", "all"], "").await?;
    ensure!(
        written.status.success(),
        "{}",
        String::from_utf8_lossy(&written.stderr)
    );
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/definitions");
    for name in [
        "brokers",
        "apiserversources",
        "kafkasinks",
        "policies/validating",
        "policies/defaults",
    ] {
        let file = format!("{name}.yaml");
        let text = std::fs::read_to_string(committed.join(&file))?;
        assert_eq!(
            std::fs::read_to_string(folder.path().join("all").join(&file))?,
            text,
            "{file}"
        );
        let printed = process::run(folder.path(), &["crds", name], "").await?;
        assert_eq!(String::from_utf8(printed.stdout)?, text, "{name}");
    }
    let strange = process::run(folder.path(), &["crds", "broker"], "").await?;
    let said = String::from_utf8_lossy(&strange.stderr).into_owned();
    ensure!(
        strange.status.code() == Some(2) && said.contains("there are brokers, triggers,"),
        "{said}"
    );
    Ok(())
}

/// An API that knows our kinds, and refuses by our policies.
async fn with_kinds() -> anyhow::Result<Option<Kube>> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(None);
    };
    let cron = json!({"schedule": "@daily", "sink": {"uri": "http://a/"}});
    let trigger = json!({"broker": "default", "subscriber": {"uri": "http://a/"}});
    // A policy holds a little after it is there.
    for (kind, spec) in [("Broker", json!({})), ("Trigger", trigger), ("CronSource", cron)] {
        let mut probe = object(kind, "probe");
        probe["spec"] = spec;
        probe["metadata"]["annotations"] = json!({"millrace.dev/strange": "x"});
        wait_until("the policies to hold", || async {
            match kube.would_create(&probe).await {
                Ok(_) => Ok(None),
                Err(kube::Error::Api(status)) if status.message.contains(REFUSAL) => Ok(Some(())),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    }
    Ok(Some(kube))
}

/// An object without a `spec`.
fn object(kind: &str, name: &str) -> Value {
    let version = match kind {
        "Broker" | "Trigger" => EVENTING,
        "EventPolicy" => "eventing.knative.dev/v1alpha1",
        "KafkaSink" => "sinks.millrace.dev/v1alpha1",
        _ => SOURCES,
    };
    head(version, kind, name)
}

/// What the API makes of a case: a change where there is something before, else a new object.
async fn answer(kube: &Kube, index: usize, case: &Value) -> anyhow::Result<Result<Value, String>> {
    let kind = case["kind"].as_str().context("a kind")?;
    let made = |spec: &str, annotations: &str| {
        let mut object = object(kind, &format!("case-{index}"));
        if let Some(spec) = case.get(spec) {
            object["spec"] = spec.clone();
        }
        if let Some(annotations) = case.get(annotations) {
            object["metadata"]["annotations"] = annotations.clone();
        }
        object
    };
    let mut after = made("spec", "annotations");
    let answered = if case.get("before").is_some() {
        let before = kube.create(&made("before", "beforeAnnotations")).await?;
        after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        kube.would_replace(&after).await
    } else {
        kube.would_create(&after).await
    };
    match answered {
        Ok(stored) => Ok(Ok(stored)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn the_api_server_says_what_the_table_says() -> anyhow::Result<()> {
    let Some(kube) = with_kinds().await? else {
        return Ok(());
    };
    let kube = &kube;
    let cases: Vec<Value> = serde_json::from_str(CASES)?;
    ensure!(cases.len() >= 200, "{} cases", cases.len());
    let ask = |(index, case)| async move {
        let said = answer(kube, index, case).await?;
        let is_right = match (case["api"].as_str(), &said) {
            (None, Ok(_)) => true,
            (Some(text), Err(message)) => message.contains(text),
            _ => false,
        };
        let wrong = (!is_right).then(|| format!("{}: {} and not {said:?}", case["name"], case["api"]));
        anyhow::Ok(wrong)
    };
    let asked: Vec<_> = stream::iter(cases.iter().enumerate().map(ask))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let asked: Vec<Option<String>> = asked.into_iter().collect::<anyhow::Result<_>>()?;
    let wrong: Vec<String> = asked.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // A server of its own would take as long as all of the above.
    takes_what_the_bounds_allow(kube).await?;
    takes_the_examples(kube).await
}

/// As many filters in filters as the bounds allow: what the rules cost is within the API server's budgets
/// also while they run.
async fn takes_what_the_bounds_allow(kube: &Kube) -> anyhow::Result<()> {
    let attributes: Value = (0..4).map(|i| (format!("a{i}"), json!("x"))).collect();
    let filter = json!({"exact": attributes});
    let inner = json!({"all": vec![filter; 64]});
    let mut trigger = object("Trigger", "large");
    trigger["spec"] = json!({
        "broker": "default", "subscriber": {"uri": "http://a/"}, "filters": vec![inner; 64],
        "filter": {"attributes": (0..64).map(|i| (format!("a{i}"), json!("x"))).collect::<Value>()},
    });
    kube.would_create(&trigger).await?;
    let mut source = object("ApiServerSource", "large");
    source["spec"] = trigger["spec"].clone();
    source["spec"]["resources"] = json!(vec![json!({"apiVersion": "v1", "kind": "ConfigMap"}); 100]);
    source["spec"]["sink"] = json!({"uri": "http://a/"});
    kube.would_create(&source).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_stored_is_what_was_written_and_says_that_nobody_has_looked() -> anyhow::Result<()> {
    let Some(kube) = with_kinds().await? else {
        return Ok(());
    };
    let mut trigger = object("Trigger", "ship");
    let attributes = json!({"source": "a", "type": "", "c1d2e3": "x", "abcdefghijklmnopqrst": "y"});
    trigger["spec"] = json!({
        "broker": "default", "filter": {"attributes": attributes},
        "filters": [{"jsonpath": {"$.country": "DE", "$.n": 1}}, {"all": [{"any": [{"exact": {"type": "a"}}]}]}],
        "subscriber": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}},
        "delivery": {"backoffMax": "PT1M"},
    });
    let mut other = object("Trigger", "bill");
    other["spec"] = json!({"broker": "other", "subscriber": {"uri": "http://a/"}});
    let broker = object("Broker", "default");
    for object in [&broker, &trigger, &other] {
        kube.create(object).await?;
    }
    assert_eq!(kube.get(&path(&trigger)).await?["spec"], trigger["spec"]);
    assert_eq!(
        kube.get(&path(&other)).await?["spec"]["filter"],
        json!({}),
        "as Knative defaults it"
    );
    for (object, kind) in [(&broker, "Broker"), (&trigger, "Trigger")] {
        let ready = &kube.get(&path(object)).await?["status"]["conditions"][0];
        assert_eq!(
            (&ready["type"], &ready["status"]),
            (&json!("Ready"), &json!("Unknown"))
        );
        assert_eq!(
            ready["message"],
            format!("no controller has looked at this {kind} yet")
        );
    }
    let selected = format!("{}?fieldSelector=spec.broker%3Ddefault", collection(&trigger));
    let selected = kube.get(&selected).await?;
    let names: Vec<_> = selected["items"].as_array().context("items")?.iter().collect();
    assert!(
        names.len() == 1 && names[0]["metadata"]["name"] == "ship",
        "{names:?}"
    );
    fills_in_what_looks_at_other_fields(&kube).await
}

/// With the policies that write: references get the namespace of their object, and Brokers the class.
async fn fills_in_what_looks_at_other_fields(kube: &Kube) -> anyhow::Result<()> {
    kube.define_defaults().await?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "name": "s"});
    let mut trigger = object("Trigger", "t");
    let sink = json!({"deadLetterSink": {"ref": service}});
    trigger["spec"] =
        json!({"broker": "default", "subscriber": {"ref": service, "uri": "/in"}, "delivery": sink});
    let mut broker = object("Broker", "b");
    broker["spec"] = json!({"config": service, "delivery": sink});
    let there = |object: &Value, pointer: &str| object.pointer(pointer) == Some(&json!("shop"));
    wait_until("the policies to hold", || async {
        let trigger = kube.would_create(&trigger).await?;
        let broker = kube.would_create(&broker).await?;
        let class = &broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"];
        let all = there(&trigger, "/spec/subscriber/ref/namespace")
            && there(&trigger, "/spec/delivery/deadLetterSink/ref/namespace")
            && there(&broker, "/spec/delivery/deadLetterSink/ref/namespace")
            && there(&broker, "/spec/config/namespace")
            && class == "Millrace";
        Ok(all.then_some(()))
    })
    .await?;
    let stored = kube.would_create(&trigger).await?;
    assert_eq!(
        stored["spec"]["subscriber"]["uri"], "/in",
        "nothing else is touched"
    );
    let mut elsewhere = trigger.clone();
    elsewhere["spec"]["subscriber"]["ref"]["namespace"] = json!("elsewhere");
    let stored = kube.would_create(&elsewhere).await?;
    assert_eq!(stored["spec"]["subscriber"]["ref"]["namespace"], "elsewhere");
    let mut foreign = broker.clone();
    foreign["metadata"]["annotations"] = json!({"eventing.knative.dev/broker.class": "Kafka"});
    let stored = kube.would_create(&foreign).await?;
    assert_eq!(
        stored["metadata"]["annotations"]["eventing.knative.dev/broker.class"],
        "Kafka"
    );
    Ok(())
}

/// The example that cannot be a resource as it is, and why: in a cluster the source has a service account,
/// and no kubeconfig.
const NO_RESOURCE: (&str, &str) = ("kubernetes-api", "spec.kubeconfig");

/// Every document of every example, strictly: with a field that it does not know it would refuse it.
async fn takes_the_examples(kube: &Kube) -> anyhow::Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples)? {
        let file = entry?.path().join("mesh.yaml");
        if !file.exists() {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&file)?;
        let example = file.display();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        ensure!(documents.len() > 1, "{example}");
        let mut refusals = Vec::new();
        for document in documents.iter().filter(|document| document["kind"] != "Secret") {
            if let Err(error) = kube.would_take(document).await {
                match error.downcast()? {
                    kube::Error::Api(status) => refusals.push(status.message),
                    error => return Err(error.into()),
                }
            }
        }
        let (name, field) = NO_RESOURCE;
        if file.parent().is_some_and(|folder| folder.ends_with(name)) {
            ensure!(
                refusals.len() == 1 && refusals[0].contains(field),
                "{example}: {refusals:?}"
            );
        } else {
            ensure!(refusals.is_empty(), "{example}: {refusals:?}");
        }
    }
    ensure!(seen > 1, "there are {seen} examples");
    Ok(())
}
