//! Promise: an ApiServerSource reports what its `owner` and its `filters` select and nothing else, even after
//! a restart and after the API server has forgotten its history. Changes that are not selected leave no hole:
//! they are not reported later.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use millrace_tests::kube::watched::{config_map, documents, end, id, told, until_ready, until_told};
use millrace_tests::{Kube, Sink};
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "mode: Resource\nresources: [{apiVersion: v1, kind: ConfigMap}]";
const REPLICA_SET: &str = "apps/v1/ReplicaSet";
const STATEFUL_SET: &str = "apps/v1/StatefulSet";

/// A ConfigMap with an owner, `<apiVersion>/<kind>`, that controls it or not.
fn owned(name: &str, value: &str, owner: &str, is_controller: bool) -> Value {
    let (version, kind) = owner.rsplit_once('/').unwrap_or_default();
    let mut object = config_map(name, value);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": version, "kind": kind, "name": "mill", "uid": format!("the-{kind}"), "controller": is_controller,
    }]);
    object
}

fn controlled(name: &str, value: &str) -> Value {
    owned(name, value, REPLICA_SET, true)
}

/// The whole id of what has gone out of view, which unlike an end has a version that is known.
fn left(object: &DynamicObject) -> String {
    id(object, "delete")
}

/// The documents of a source with these fields more than the kind it watches.
fn watching(kube: &Kube, sink: &Sink, more: &str) -> String {
    documents(sink, &kube.kubeconfig(), &format!("{CONFIG_MAPS}\n{more}"))
}

#[tokio::test]
async fn only_what_a_controller_of_the_kind_owns_is_told_whenever_that_begins_or_ends() -> anyhow::Result<()>
{
    let Some(mut kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    kube.apply(&controlled("early", "1")).await?;
    kube.apply(&config_map("free", "1")).await?;
    kube.apply(&owned("guest", "1", REPLICA_SET, false)).await?;
    let sink = Sink::start().await?;
    let owner = "owner: {apiVersion: apps/v1, kind: ReplicaSet}";
    let mut mesh = kube.mesh(&watching(&kube, &sink, owner)).await?;
    until_ready(&mesh).await?;
    let mut expected = BTreeSet::new();

    // Objects with another owner are not reported, neither when they appear nor when they go.
    for (name, owner, is_controller) in [
        ("other-kind", STATEFUL_SET, true),
        ("other-group", "mills.example.com/v1/ReplicaSet", true),
        ("no-controller", REPLICA_SET, false),
    ] {
        kube.apply(&owned(name, "1", owner, is_controller)).await?;
        kube.apply(&owned(name, "2", owner, is_controller)).await?;
        kube.delete(&config_map(name, "")).await?;
    }
    kube.apply(&config_map("free", "2")).await?;
    let passing = kube.apply(&controlled("passing", "1")).await?;
    expected.insert(id(&passing, "add"));
    kube.delete(&config_map("passing", "")).await?;
    expected.insert(end(&passing));
    // Objects owned before the first look were silent, and are known.
    let early = kube.apply(&controlled("early", "2")).await?;
    expected.insert(id(&early, "update"));
    until_told(&sink, &expected).await?;

    // An update brings an owner, makes it the controller, and takes it away.
    expected.insert(id(&kube.apply(&controlled("free", "2")).await?, "add"));
    expected.insert(id(&kube.apply(&controlled("free", "3")).await?, "update"));
    expected.insert(id(&kube.apply(&controlled("guest", "1")).await?, "add"));
    let moved = kube.apply(&owned("free", "3", STATEFUL_SET, true)).await?;
    expected.insert(left(&moved));
    kube.apply(&owned("free", "4", STATEFUL_SET, true)).await?;
    until_told(&sink, &expected).await?;

    // The same while nobody looks: first as the history has it, then as the two states differ.
    mesh.stop().await?;
    expected.insert(left(&kube.apply(&config_map("guest", "1")).await?));
    expected.insert(id(&kube.apply(&controlled("free", "4")).await?, "add"));
    kube.apply(&config_map("never", "1")).await?;
    mesh.restart().await?;
    until_told(&sink, &expected).await?;
    let is_reconstructed = |id: &str| told(&sink)[id].get("millracereconstructed") == Some("true");
    assert!(
        !expected
            .iter()
            .filter(|id| id.split('.').count() == 3)
            .any(|id| is_reconstructed(id))
    );

    mesh.stop().await?;
    let lost = kube.apply(&config_map("free", "5")).await?;
    let found = kube.apply(&controlled("guest", "2")).await?;
    kube.apply(&config_map("never", "2")).await?;
    kube.forget_history().await?;
    mesh.restart().await?;
    expected.extend([left(&lost), id(&found, "add")]);
    until_told(&sink, &expected).await?;
    assert!(is_reconstructed(&left(&lost)) && is_reconstructed(&id(&found, "add")));

    // Another owner in the document: objects no longer selected end, and newly selected ones begin.
    let statue = kube.apply(&owned("statue", "1", STATEFUL_SET, true)).await?;
    let owner = owner.replace("ReplicaSet", "StatefulSet");
    mesh.reload(&watching(&kube, &sink, &owner)).await?;
    expected.extend([left(&early), left(&found), id(&statue, "add")]);
    until_told(&sink, &expected).await
}

#[tokio::test]
async fn what_filters_drop_is_told_neither_then_nor_later() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    kube.apply(&config_map("early", "1")).await?;
    kube.apply(&config_map("short", "1")).await?;
    let sink = Sink::start().await?;
    let all = watching(&kube, &sink, "");
    let updates = watching(
        &kube,
        &sink,
        "filters: [{exact: {type: dev.knative.apiserver.resource.update}}]",
    );
    let mut mesh = kube.mesh(&updates).await?;
    until_ready(&mesh).await?;
    let mut expected = BTreeSet::new();

    kube.apply(&config_map("one", "1")).await?;
    expected.insert(id(&kube.apply(&config_map("one", "2")).await?, "update"));
    kube.apply(&config_map("two", "1")).await?;
    kube.delete(&config_map("short", "")).await?;
    expected.insert(id(&kube.apply(&config_map("early", "2")).await?, "update"));
    until_told(&sink, &expected).await?;

    // A restart goes on behind what was dropped, also where the new documents would let it pass.
    mesh.stop().await?;
    mesh.setup().write(&all)?;
    mesh.restart().await?;
    until_ready(&mesh).await?;
    expected.insert(id(&kube.apply(&config_map("two", "2")).await?, "update"));
    let three = kube.apply(&config_map("three", "1")).await?;
    expected.insert(id(&three, "add"));
    until_told(&sink, &expected).await?;

    // What is compared after the history is gone is what was seen, and not only what was told.
    mesh.stop().await?;
    mesh.setup().write(&updates)?;
    mesh.restart().await?;
    until_ready(&mesh).await?;
    kube.apply(&config_map("four", "1")).await?;
    kube.delete(&config_map("three", "")).await?;
    expected.insert(id(&kube.apply(&config_map("one", "3")).await?, "update"));
    until_told(&sink, &expected).await?;
    mesh.stop().await?;
    mesh.setup().write(&all)?;
    kube.forget_history().await?;
    mesh.restart().await?;
    until_ready(&mesh).await?;
    expected.insert(id(&kube.apply(&config_map("four", "2")).await?, "update"));
    until_told(&sink, &expected).await?;

    // What is found by comparing passes the filters too, and what they drop then is dropped for good.
    mesh.stop().await?;
    mesh.setup().write(&updates)?;
    kube.apply(&config_map("five", "1")).await?;
    kube.delete(&config_map("two", "")).await?;
    let changed = kube.apply(&config_map("one", "4")).await?;
    kube.forget_history().await?;
    mesh.restart().await?;
    expected.insert(id(&changed, "update"));
    until_ready(&mesh).await?;
    until_told(&sink, &expected).await?;
    mesh.kill().await?;
    mesh.setup().write(&all)?;
    mesh.restart().await?;
    until_ready(&mesh).await?;
    expected.insert(id(&kube.apply(&config_map("five", "2")).await?, "update"));
    until_told(&sink, &expected).await?;
    let reconstructed: Vec<_> = told(&sink)
        .into_values()
        .filter(|event| event.get("millracereconstructed") == Some("true"))
        .map(|event| event.id().to_owned())
        .collect();
    assert_eq!(reconstructed, [id(&changed, "update")]);
    Ok(())
}

#[tokio::test]
async fn filters_speak_every_dialect_of_a_trigger() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let mut expected = BTreeSet::new();
    let sink = Sink::start().await?;
    let mut mesh = kube.mesh(&watching(&kube, &sink, "")).await?;
    // Each object is added with 1, updated to 2 and deleted; a row says for which objects which of that
    // passes.
    for (nth, (filters, passes)) in [
        (
            vec!["{exact: {type: dev.knative.apiserver.resource.delete, name: loud}}"],
            ["", "", "loud"],
        ),
        (
            vec!["{prefix: {subject: /apis/v1/namespaces/shop/configmaps/qui}}"],
            ["quiet", "quiet", "quiet"],
        ),
        (
            vec!["{suffix: {type: .add}}", "{not: {exact: {name: quiet}}}"],
            ["loud", "", ""],
        ),
        (
            vec!["{all: [{suffix: {type: update}}, {exact: {name: loud}}]}"],
            ["", "loud", ""],
        ),
        (
            vec!["{cesql: \"name LIKE 'l%' AND type NOT LIKE '%.add'\"}"],
            ["", "loud", "loud"],
        ),
        (
            vec!["{jsonpath: {$.data.value: '2', $.metadata.name: quiet}}"],
            ["", "quiet", "quiet"],
        ),
        (vec![], ["loud quiet", "loud quiet", "loud quiet"]),
    ]
    .into_iter()
    .enumerate()
    {
        // What closes a round passes in any case: when it has come, all before it has been seen.
        let or_close = |filter: &&str| format!("{{any: [{{exact: {{name: close}}}}, {filter}]}}");
        let filters = filters.iter().map(or_close).collect::<Vec<_>>().join(", ");
        mesh.stop().await?;
        mesh.setup()
            .write(&watching(&kube, &sink, &format!("filters: [{filters}]")))?;
        mesh.restart().await?;
        until_ready(&mesh).await?;
        for name in ["loud", "quiet"] {
            let added = kube.apply(&config_map(name, "1")).await?;
            let updated = kube.apply(&config_map(name, "2")).await?;
            kube.delete(&config_map(name, "")).await?;
            let ids = [id(&added, "add"), id(&updated, "update"), end(&added)];
            let passed = ids
                .into_iter()
                .zip(passes)
                .filter(|(_, names)| names.contains(name));
            expected.extend(passed.map(|(id, _)| id));
        }
        let close = kube.apply(&config_map("close", &nth.to_string())).await?;
        expected.insert(id(&close, if nth == 0 { "add" } else { "update" }));
        until_told(&sink, &expected)
            .await
            .map_err(|error| error.context(filters))?;
    }
    Ok(())
}
