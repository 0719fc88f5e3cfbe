//! ApiServerSource against a real Kubernetes API: every change is told once, by one id, whatever dies in
//! between.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use millrace_tests::kube::watched::{
    SINK, config_map, documents, end, id, told, until, until_ready, until_told, without_end,
};
use millrace_tests::mesh::Setup;
use millrace_tests::{Kube, Sink, wait_until};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../../docs/guides/kubernetes-api.md");

#[tokio::test]
async fn an_object_that_comes_changes_and_goes_is_told_as_knative_tells_it() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    kube.apply(&config_map("before", "1")).await?;
    let sink = Sink::start().await?;
    let spec = "mode: Resource\nresources: [{apiVersion: v1, kind: ConfigMap}, {apiVersion: v1, kind: Namespace, selector: {matchLabels: {team: x}}}]";
    let mesh = kube.mesh(&documents(&sink, &kube.kubeconfig(), spec)).await?;
    until_ready(&mesh).await?;

    let added = kube.apply(&config_map("rates", "1")).await?;
    let updated = kube.apply(&config_map("rates", "2")).await?;
    kube.delete(&config_map("rates", "")).await?;
    // Kinds without namespaces are seen too, and only labelled namespaces are.
    kube.namespace("unlabelled").await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "labelled", "labels": {"team": "x"}}});
    let labelled = kube.apply(&namespace).await?;
    let expected = [
        id(&added, "add"),
        id(&updated, "update"),
        end(&added),
        id(&labelled, "add"),
    ];
    until_told(&sink, &expected.into()).await?;

    let told = told(&sink);
    let event = &told[&id(&updated, "update")];
    let url = format!("https://127.0.0.1:{}", kube.port());
    for (name, value) in [
        ("type", "dev.knative.apiserver.resource.update"),
        ("source", url.as_str()),
        ("subject", "/apis/v1/namespaces/shop/configmaps/rates"),
        ("kind", "ConfigMap"),
        ("apiversion", "v1"),
        ("name", "rates"),
        ("namespace", "shop"),
    ] {
        assert_eq!(event.get(name), Some(value), "{name}");
    }
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    let data: Value = serde_json::from_slice(event.data.as_deref().unwrap_or_default())?;
    assert_eq!(data["data"]["value"], "2");
    assert_eq!(
        data["metadata"]["resourceVersion"].as_str(),
        updated.metadata.resource_version.as_deref()
    );
    let event = &told[&id(&labelled, "add")];
    assert_eq!(
        (event.get("subject"), event.get("namespace")),
        (Some("/apis/v1/namespaces/labelled"), None)
    );
    assert!(
        told.values()
            .all(|event| event.get("millracereconstructed").is_none())
    );
    the_example_of_the_guide_works(&kube).await
}

/// As a reader would do it: the text of the guide, with the places of this test.
async fn the_example_of_the_guide_works(kube: &Kube) -> anyhow::Result<()> {
    let example = |begin: &str| {
        let found = GUIDE.split("```yaml\n").find(|block| block.contains(begin));
        let text = found.and_then(|block| block.split("```").next());
        text.map(str::to_owned)
            .ok_or_else(|| anyhow::anyhow!("the guide has no {begin}"))
    };
    // The rules as the guide has them are enough.
    let rules = example("kind: Role\n")?;
    let rules = rules.split("rules: ").nth(1).and_then(|rest| rest.lines().next());
    let rules = json_of(rules.unwrap_or_default())?;
    let kubeconfig = kube.account("millrace", Some("shop"), &rules).await?;
    let sink = Sink::start().await?;
    let text = example("kind: ApiServerSource")?
        .replace("./kubeconfig", &kubeconfig.to_string_lossy())
        .replace("http://127.0.0.1:9001/", &sink.url(SINK));
    let labelled = |name: &str, value: &str| {
        let mut object = config_map(name, value);
        object["metadata"]["labels"] = json!({"watch": "yes"});
        object
    };
    kube.apply(&labelled("early", "1")).await?;
    let mesh = kube.mesh(&text).await?;
    until(&mesh, "ready", |state, _| state == "ready").await?;
    kube.apply(&config_map("unlabelled", "1")).await?;
    let added = kube.apply(&labelled("late", "1")).await?;
    // An object whose label no longer matches has gone out of view.
    kube.apply(&config_map("late", "1")).await?;
    until_told(&sink, &[id(&added, "add"), end(&added)].into()).await
}

/// YAML in flow style with plain words becomes JSON: every word gets quotes.
fn json_of(flow: &str) -> anyhow::Result<Value> {
    let mut text = String::new();
    let mut word = String::new();
    for c in flow.chars() {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            text.push_str(&format!("\"{}\"", std::mem::take(&mut word)));
        }
        text.push(c);
    }
    // `""` is a word already.
    Ok(serde_json::from_str(&text)?)
}

#[tokio::test]
async fn nothing_is_lost_or_told_by_another_id_whatever_dies() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let silent = kube.apply(&config_map("silent", "1")).await?;
    let gone = kube.apply(&config_map("gone", "1")).await?;
    let sink = Sink::start().await?;
    let spec = "mode: Resource\nresources: [{apiVersion: v1, kind: ConfigMap}]";
    let mut mesh = kube.mesh(&documents(&sink, &kube.kubeconfig(), spec)).await?;
    until_ready(&mesh).await?;
    let mut expected = BTreeSet::new();

    // Killed between what was told and what was saved, and gone while more happens.
    expected.insert(id(&kube.apply(&config_map("one", "1")).await?, "add"));
    until_told(&sink, &expected).await?;
    mesh.kill().await?;
    expected.insert(id(&kube.apply(&config_map("one", "2")).await?, "update"));
    let passing = kube.apply(&config_map("passing", "1")).await?;
    kube.delete(&config_map("passing", "")).await?;
    expected.extend([id(&passing, "add"), end(&passing)]);
    mesh.restart().await?;
    until_told(&sink, &expected).await?;

    // The API goes and comes back.
    kube.kill().await?;
    until(&mesh, "not ready", |state, _| state == "not-ready").await?;
    kube.restart().await?;
    until_ready(&mesh).await?;
    expected.insert(id(&kube.apply(&config_map("one", "3")).await?, "update"));
    until_told(&sink, &expected).await?;

    // The API forgets while nothing listens: the difference of the two states is left, and is marked as such.
    mesh.stop().await?;
    let skipped = kube.apply(&config_map("one", "4")).await?;
    let last = kube.apply(&config_map("one", "5")).await?;
    let two = kube.apply(&config_map("two", "1")).await?;
    kube.delete(&config_map("gone", "")).await?;
    let before: BTreeSet<String> = told(&sink).into_keys().collect();
    kube.forget_history().await?;
    mesh.restart().await?;
    expected.extend([id(&last, "update"), id(&two, "add"), end(&gone)]);
    until_told(&sink, &expected).await?;
    let all = told(&sink);
    assert!(!all.contains_key(&id(&skipped, "update")));
    for (id, event) in &all {
        let is_reconstructed = event.get("millracereconstructed") == Some("true");
        assert_eq!(is_reconstructed, !before.contains(id), "{event:?}");
        let is_end_of_gone = without_end(id) == end(&gone);
        assert_eq!(
            event.get("millracepartial") == Some("true"),
            is_end_of_gone,
            "{event:?}"
        );
    }
    // Nothing was told of what was there before and never changed.
    let uid = silent.metadata.uid.unwrap_or_default();
    assert!(all.keys().all(|id| !id.starts_with(&uid)));

    // It goes on from there.
    expected.insert(id(&kube.apply(&config_map("two", "2")).await?, "update"));
    until_told(&sink, &expected).await
}

#[tokio::test]
async fn a_thousand_objects_that_change_are_told_without_a_gap_over_a_kill() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let early = kube.apply(&config_map("early", "1")).await?;
    let sink = Sink::start().await?;
    let spec = "initialList: true\nresources: [{apiVersion: v1, kind: ConfigMap}]";
    let mut mesh = kube.mesh(&documents(&sink, &kube.kubeconfig(), spec)).await?;
    until_ready(&mesh).await?;
    // Asked for, what is there is told as added.
    let mut expected = BTreeSet::from([id(&early, "add")]);
    until_told(&sink, &expected).await?;

    let api: Api<ConfigMap> = Api::namespaced(kube.client(), "shop");
    let made = futures_util::stream::iter(0..1_000)
        .map(|n| {
            let api = api.clone();
            async move {
                let object: ConfigMap = serde_json::from_value(config_map(&format!("c{n}"), "0"))?;
                let added = api.create(&PostParams::default(), &object).await?;
                let patch = Patch::Merge(json!({"data": {"value": "1"}}));
                let updated = api
                    .patch(&format!("c{n}"), &PatchParams::default(), &patch)
                    .await?;
                let id = |object: &ConfigMap, verb: &str| {
                    let metadata = object.metadata.clone();
                    let (uid, version) = (
                        metadata.uid.unwrap_or_default(),
                        metadata.resource_version.unwrap_or_default(),
                    );
                    format!("{uid}.{version}.{verb}")
                };
                anyhow::Ok([id(&added, "add"), id(&updated, "update")])
            }
        })
        .buffer_unordered(8)
        .try_collect::<Vec<_>>();
    let kills = async {
        for after in [200, 700] {
            sink.wait_for(SINK, after).await?;
            mesh.kill().await?;
            mesh.restart().await?;
        }
        anyhow::Ok(())
    };
    let (made, killed) = tokio::join!(made, kills);
    killed?;
    expected.extend(made?.into_iter().flatten());
    assert_eq!(expected.len(), 2_001);
    until_told(&sink, &expected).await
}

#[tokio::test]
async fn what_may_not_be_seen_and_what_is_not_there_yet_holds_up_nothing_else() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]});
    let rules = [
        rule("", "configmaps"),
        rule("", "namespaces"),
        rule("mills.example.com", "wheels"),
    ];
    let kubeconfig = kube.account("limited", None, &json!(rules)).await?;
    let sink = Sink::start().await?;
    let spec = "namespaceSelector: {matchLabels: {watched: \"yes\"}}\n\
                resources: [{apiVersion: v1, kind: ConfigMap}, {apiVersion: v1, kind: Secret}, {apiVersion: mills.example.com/v1, kind: Wheel}]";
    let namespace = |name: &str, label: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"watched": label}}});
    kube.apply(&namespace("shop", "yes")).await?;
    kube.apply(&config_map("silent", "1")).await?;
    let mut mesh = kube.mesh(&documents(&sink, &kubeconfig, spec)).await?;
    until(&mesh, "ready but for two kinds", |state, reason| {
        state == "ready"
            && reason.contains("secrets is forbidden")
            && reason.contains("knows no Wheel of mills.example.com/v1")
    })
    .await?;
    let mut expected = BTreeSet::from([id(&kube.apply(&config_map("one", "1")).await?, "add")]);
    until_told(&sink, &expected).await?;

    // A kind that comes later: what is in it is new.
    kube.define(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "wheels.mills.example.com"},
        "spec": {"group": "mills.example.com", "scope": "Namespaced", "names": {"kind": "Wheel", "plural": "wheels"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    }))
    .await?;
    let wheel = |namespace: &str, spokes: u32| {
        json!({
            "apiVersion": "mills.example.com/v1", "kind": "Wheel", "metadata": {"name": "big", "namespace": namespace}, "spec": {"spokes": spokes},
        })
    };
    let first = wait_until("the first wheel", || async {
        Ok(kube.apply(&wheel("shop", 8)).await.ok())
    })
    .await?;
    expected.insert(id(&first, "add"));
    until_told(&sink, &expected).await?;
    expected.insert(id(&kube.apply(&wheel("shop", 9)).await?, "update"));
    until_told(&sink, &expected).await?;

    // A namespace that comes later, and one that goes.
    kube.apply(&namespace("late", "yes")).await?;
    expected.insert(id(&kube.apply(&wheel("late", 7)).await?, "add"));
    until_told(&sink, &expected).await?;
    kube.apply(&namespace("shop", "no")).await?;
    let silent = kube.apply(&config_map("silent", "1")).await?;
    let ended: Vec<String> = expected
        .iter()
        .filter(|id| id.ends_with(".add"))
        .cloned()
        .collect();
    let uid = |id: &String| id.split('.').next().unwrap_or_default().to_owned();
    let late = kube
        .apply(&wheel("late", 7))
        .await?
        .metadata
        .uid
        .unwrap_or_default();
    expected.extend(
        ended
            .iter()
            .map(uid)
            .filter(|uid| *uid != late)
            .map(|uid| format!("{uid}.delete")),
    );
    expected.insert(end(&silent));
    until_told(&sink, &expected).await?;

    // One that goes while nobody is there to see it.
    mesh.stop().await?;
    kube.apply(&namespace("late", "no")).await?;
    mesh.restart().await?;
    expected.insert(format!("{late}.delete"));
    until_told(&sink, &expected).await
}

#[tokio::test]
async fn inside_a_cluster_the_source_is_the_service_account_of_its_pod() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::start().await? else {
        return Ok(());
    };
    kube.namespace("shop").await?;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
    let Some(pod) = kube.pod("millrace", "shop", &rules).await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let spec = "resources: [{apiVersion: v1, kind: ConfigMap}, {apiVersion: v1, kind: Secret}]";
    let text = documents(&sink, Path::new("-"), spec).replace("  kubeconfig: -\n", "");
    let mesh = pod.around(Setup::new(&text)?).start().await?;
    let as_account = |state: &str, reason: &str| {
        state == "ready"
            && reason
                .contains("User \"system:serviceaccount:shop:millrace\" cannot list resource \"secrets\"")
    };
    until(&mesh, "ready, and who it is", as_account).await?;
    let added = kube.apply(&config_map("rates", "1")).await?;
    let mut expected = BTreeSet::from([id(&added, "add")]);
    until_told(&sink, &expected).await?;
    let url = format!("https://127.0.0.1:{}", kube.port());
    assert_eq!(told(&sink)[&id(&added, "add")].get("source"), Some(url.as_str()));

    // Its token is worth nothing any more; the next one that is put in its place is.
    kube.revoke(&pod).await?;
    kube.restart().await?;
    until(&mesh, "unknown", |state, reason| {
        state == "not-ready" && reason.contains("does not accept the credentials")
    })
    .await?;
    expected.insert(id(&kube.apply(&config_map("rates", "2")).await?, "update"));
    kube.renew(&pod).await?;
    until_told(&sink, &expected).await?;
    until(&mesh, "ready again", as_account).await
}
