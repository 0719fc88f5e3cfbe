//! Promise: Knative's command line `kn` works on our Brokers, Triggers and sources. Each request is made as
//! `kn` makes it, and the answers have what it reads.
//!
//! `kn` reads an object into a struct of Go, changes that, and puts it back: [`as_known`] is what is left.

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use http::{Method, Request};
use kube::api::WatchEvent;
use kube::core::DynamicObject;
use millrace_tests::kube::requests::{collection, head, path, refusal};
use millrace_tests::kube::served::{EVENTING, SOURCES, broker, condition, service};
use millrace_tests::kube::stage::Stage;
use millrace_tests::{Event, Kube, wait_until, within};
use serde_json::{Value, json};

const CLASS: &str = "eventing.knative.dev/broker.class";

/// The fields that `kn` knows of what stands in a `spec`, by the field that they stand in.
const KNOWN: [(&str, &[&str]); 9] = [
    (
        "spec",
        &[
            "config",
            "delivery",
            "broker",
            "brokerRef",
            "filter",
            "filters",
            "subscriber",
        ],
    ),
    ("config", &REFERENCE),
    ("brokerRef", &REFERENCE),
    ("ref", &REFERENCE),
    ("filter", &["attributes"]),
    (
        "filters",
        &["all", "any", "not", "exact", "prefix", "suffix", "cesql"],
    ),
    ("subscriber", &DESTINATION),
    ("deadLetterSink", &DESTINATION),
    (
        "delivery",
        &[
            "deadLetterSink",
            "retry",
            "timeout",
            "backoffPolicy",
            "backoffDelay",
            "retryAfterMax",
            "format",
        ],
    ),
];
const REFERENCE: [&str; 6] = ["kind", "namespace", "name", "apiVersion", "address", "group"];
const DESTINATION: [&str; 4] = ["ref", "uri", "CACerts", "audience"];

/// What `kn` puts back of an object that it has read and not changed.
fn as_known(mut object: Value) -> Value {
    keep_known("spec", &mut object["spec"]);
    object
}

fn keep_known(field: &str, value: &mut Value) {
    let known = KNOWN.iter().find(|(name, _)| *name == field);
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| keep_known(field, element)),
        Value::Object(fields) => {
            let Some((_, known)) = known else { return };
            fields.retain(|name, _| known.contains(&name.as_str()));
            fields
                .iter_mut()
                .for_each(|(name, value)| keep_known(name, value));
        }
        _ => {}
    }
}

/// `kn broker update` or `kn trigger update`: reads an object, changes its `spec`, and puts it back; anew at
/// a conflict. The outer error is that there is no end of conflicts.
async fn update(
    kube: &Kube,
    object: &Value,
    change: impl Fn(&mut Value),
) -> anyhow::Result<kube::Result<Value>> {
    wait_until("an update without a conflict", || async {
        let mut read = as_known(kube.get(&path(object)).await?);
        change(&mut read["spec"]);
        Ok(match kube.replace(&read).await {
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            answer => Some(answer),
        })
    })
    .await
}

/// `--sink svc:ship` and the like: `kn` looks the object up, and refers to what it finds.
async fn looked_up(kube: &Kube, api_version: &str, kind: &str, name: &str) -> anyhow::Result<Value> {
    let found = kube.get(&path(&head(api_version, kind, name))).await?;
    let reference = json!({
        "kind": found["kind"], "namespace": found["metadata"]["namespace"],
        "name": found["metadata"]["name"], "apiVersion": found["apiVersion"],
    });
    Ok(json!({ "ref": reference }))
}

/// `kn … describe`: waits until that shows a ready object; gives it.
async fn described(kube: &Kube, object: &Value) -> anyhow::Result<Value> {
    let described = kube.until(object, "Ready", "True").await?;
    let conditions = described["status"]["conditions"]
        .as_array()
        .context("conditions")?;
    // Those that only inform do not count for being ready.
    let mut counted = conditions
        .iter()
        .filter(|condition| condition["severity"] != "Info");
    ensure!(
        counted.all(|condition| condition["status"] == "True"),
        "{conditions:?}"
    );
    Ok(described)
}

/// How `kn` deletes.
fn deletion(policy: Option<&str>) -> Value {
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": EVENTING});
    if let Some(policy) = policy {
        options["propagationPolicy"] = json!(policy);
    }
    options
}

async fn until_gone(kube: &Kube, object: &Value) -> anyhow::Result<()> {
    wait_until("it to be gone", || async {
        Ok(kube.find(object).await?.is_none().then_some(()))
    })
    .await
}

/// `kn broker delete --wait`: watches for the end of the Broker, and deletes it in the foreground.
async fn delete_and_wait(kube: &Kube, broker: &Value) -> anyhow::Result<()> {
    let name = broker["metadata"]["name"].as_str().unwrap_or_default();
    let watch = format!(
        "{}?fieldSelector=metadata.name%3D{name}&timeoutSeconds=60&watch=true",
        collection(broker)
    );
    let client = kube.client();
    let request = Request::get(watch).body(Vec::new())?;
    let mut events = std::pin::pin!(client.request_events::<DynamicObject>(request).await?);
    kube.send(Method::DELETE, &path(broker), &deletion(Some("Foreground")))
        .await?;
    let gone = async {
        while let Some(event) = events.try_next().await? {
            if matches!(event, WatchEvent::Deleted(_)) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    within("the Broker to be gone", gone).await
}

#[tokio::test]
async fn brokers_are_created_described_listed_updated_and_deleted() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let kube = &stage.kube;
    let Some(_controllers) = kube.controllers()? else {
        return Ok(());
    };
    // kn broker create default
    let mut bare = head(EVENTING, "Broker", "default");
    bare["spec"] = json!({});
    kube.create(&bare).await?;
    // kn broker create rich --class Millrace --broker-config cm:settings --dl-sink svc:dead --retry 3 …
    kube.apply(&service("dead", &[80])).await?;
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"},
        "data": {"channel-template-spec": "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\n"},
    });
    kube.apply(&settings).await?;
    let mut rich = head(EVENTING, "Broker", "rich");
    rich["metadata"]["annotations"] = json!({CLASS: "Millrace"});
    rich["spec"] = json!({
        "config": {"kind": "ConfigMap", "namespace": "shop", "name": "settings", "apiVersion": "v1"},
        "delivery": {
            "deadLetterSink": looked_up(kube, "v1", "Service", "dead").await?,
            "retry": 3, "timeout": "PT5S", "backoffPolicy": "linear", "backoffDelay": "PT0.5S", "retryAfterMax": "PT30S",
        },
    });
    let stored = kube.create(&rich).await?;
    assert_eq!(stored["spec"], rich["spec"]);
    for broker in [&bare, &rich] {
        let described = described(kube, broker).await?;
        let url = described["status"]["address"]["url"].as_str().context("no URL")?;
        ensure!(url.starts_with("http://"), "{url}");
    }
    let list = kube.get(&collection(&bare)).await?;
    let ready = |broker: &Value| condition(broker, "Ready") == "True";
    let items = list["items"].as_array().context("no list")?;
    ensure!(items.len() == 2 && items.iter().all(ready), "{list}");

    // kn broker update rich --retry 7
    let stale = as_known(kube.get(&path(&rich)).await?);
    let updated = update(kube, &rich, |spec| spec["delivery"]["retry"] = json!(7)).await??;
    rich["spec"]["delivery"]["retry"] = json!(7);
    assert_eq!(updated["spec"], rich["spec"]);
    described(kube, &rich).await?;
    let conflict = kube.replace(&stale).await;
    ensure!(
        matches!(&conflict, Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "Conflict"),
        "kn tries it again: {conflict:?}"
    );

    // kn broker delete rich; kn broker delete default --wait
    kube.send(Method::DELETE, &path(&rich), &deletion(Some("Background")))
        .await?;
    until_gone(kube, &rich).await?;
    delete_and_wait(kube, &bare).await
}

/// `kn trigger create`.
fn trigger(name: &str, broker: &str, filter: Value, subscriber: Value) -> Value {
    let mut trigger = head(EVENTING, "Trigger", name);
    trigger["spec"] = json!({"broker": broker});
    trigger["spec"]["filter"] = filter;
    trigger["spec"]["subscriber"] = subscriber;
    trigger
}

#[tokio::test]
async fn triggers_are_created_described_listed_updated_and_deleted() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let kube = &stage.kube;
    for name in ["default", "other"] {
        kube.ready(&broker(name, json!({}))).await?;
    }
    kube.apply(&service("ship", &[80])).await?;
    let all = json!({"uri": stage.sink.url("/all")});
    // kn trigger create all --sink URL
    let all = trigger("all", "default", json!({}), all);
    // kn trigger create ship --filter type=order.placed --filter region=eu --sink svc:ship
    let filter = json!({"attributes": {"type": "order.placed", "region": "eu"}});
    let to_ship = looked_up(kube, "v1", "Service", "ship").await?;
    let ship = trigger("ship", "default", filter, to_ship);
    // kn trigger create on --broker other --sink broker:default
    let to_default = looked_up(kube, EVENTING, "Broker", "default").await?;
    let on = trigger("on", "other", json!({}), to_default);
    // kn trigger create asks --inject-broker --sink URL
    let mut asks = trigger("asks", "default", json!({}), all["spec"]["subscriber"].clone());
    asks["metadata"]["annotations"] = json!({"eventing.knative.dev/injection": "enabled"});
    for trigger in [&all, &ship, &on, &asks] {
        let stored = kube.create(trigger).await?;
        assert_eq!(stored["spec"], trigger["spec"]);
        let described = described(kube, trigger).await?;
        ensure!(described["status"]["subscriberUri"].is_string(), "{described}");
    }
    let list = kube.get(&collection(&all)).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(4));
    // kn trigger delete asks
    kube.send(Method::DELETE, &path(&asks), &deletion(None)).await?;
    until_gone(kube, &asks).await?;

    // kn trigger update all --filter type=a; then --filter type-, and --sink URL
    let by_type = json!({"attributes": {"type": "a"}});
    update(kube, &all, |spec| spec["filter"] = by_type.clone()).await??;
    described(kube, &all).await?;
    let events = [Event::new("1", "a"), Event::new("2", "b")];
    stage.mesh.send("shop/default", &events).await?;
    stage.mesh.until_settled().await?;
    assert_eq!(stage.sink.ids("/all"), ["1"]);
    let elsewhere = json!({"uri": stage.sink.url("/elsewhere")});
    update(kube, &all, |spec| spec["filter"] = json!({})).await??;
    update(kube, &all, |spec| spec["subscriber"] = elsewhere.clone()).await??;
    described(kube, &all).await?;
    stage.mesh.send("shop/default", &[Event::new("3", "b")]).await?;
    stage.mesh.until_settled().await?;
    assert_eq!(stage.sink.ids("/elsewhere"), ["3"]);
    Ok(())
}

/// `kn` puts objects back without what it does not know. Of a filter nothing would be left, and so everything
/// would pass.
#[tokio::test]
async fn a_filter_that_kn_does_not_know_is_never_widened() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let kube = &stage.kube;
    kube.ready(&broker("default", json!({}))).await?;
    let to = json!({"uri": stage.sink.url("/t")});
    let mut filtered = trigger("filtered", "default", json!({}), to.clone());
    filtered["spec"]["filters"] = json!([{"jsonpath": {"$.country": "DE"}}]);
    kube.create(&filtered).await?;
    let mut patient = trigger("patient", "default", json!({}), to);
    patient["metadata"]["annotations"] = json!({"millrace.dev/parallelism": "4"});
    patient["spec"]["delivery"] = json!({"retry": 3, "backoffMax": "PT1M"});
    kube.create(&patient).await?;

    let elsewhere = json!({"uri": "http://elsewhere.example/"});
    let change = |spec: &mut Value| spec["subscriber"] = elsewhere.clone();
    let said = refusal(update(kube, &filtered, change).await?)?;
    ensure!(said.contains("spec.filters[0]"), "{said}");
    let updated = update(kube, &patient, change).await??;
    assert_eq!(
        updated["metadata"]["annotations"]["millrace.dev/parallelism"],
        "4"
    );
    // As from-knative.md says.
    assert_eq!(updated["spec"]["delivery"], json!({"retry": 3}));
    Ok(())
}

/// `kn source list-types` and `kn source list`: the definitions by their label, then the objects of each by
/// the plural that it makes of the kind, with `spec.sink`.
#[tokio::test]
async fn sources_are_found_by_the_label_of_their_definitions() -> anyhow::Result<()> {
    let Some(stage) = Stage::start().await? else {
        return Ok(());
    };
    let kube = &stage.kube;
    kube.ready(&broker("default", json!({}))).await?;
    let mut source = head(SOURCES, "CronSource", "nightly");
    source["spec"] =
        json!({"schedule": "@daily", "sink": looked_up(kube, EVENTING, "Broker", "default").await?});
    kube.create(&source).await?;
    kube.until(&source, "Ready", "True").await?;
    let types = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?labelSelector=duck.knative.dev%2Fsource%3Dtrue";
    let mut kinds = Vec::new();
    for definition in kube.get(types).await?["items"].as_array().context("no list")? {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, served) = (text(&spec["names"]["kind"]), &spec["versions"][0]);
        assert_eq!(served["served"], true);
        let version = format!("{}/{}", text(&spec["group"]), text(&served["name"]));
        let list = kube.get(&collection(&head(&version, &kind, ""))).await?;
        let items = list["items"].as_array().context("no list")?;
        ensure!(items.len() == usize::from(kind == "CronSource"), "{list}");
        for item in items {
            assert_eq!(item["spec"]["sink"]["ref"]["name"], "default");
            assert_eq!(condition(item, "Ready"), "True");
        }
        kinds.push(kind);
    }
    kinds.sort();
    assert_eq!(
        kinds,
        ["ApiServerSource", "CronSource", "GitWebhookSource", "KafkaSource"]
    );
    Ok(())
}
