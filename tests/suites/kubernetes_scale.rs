//! Promise: many Triggers cost little. Each is ready once the data plane has it, a change of one writes one
//! status, and a restart writes none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event as WatchEvent, watcher};
use kube::{Api, ResourceExt as _};
use millrace_tests::kube::served::{broker, condition, trigger, until_triggers};
use millrace_tests::{Event, Kube, Sink, long, within};
use serde_json::json;

/// Requests under way at one time.
const AT_ONCE: usize = 8;

fn api(kube: &Kube) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("eventing.knative.dev", "v1", "Trigger");
    let resource = ApiResource::from_gvk_with_plural(&kind, "triggers");
    Api::namespaced_with(kube.client(), "shop", &resource)
}

/// Whether a Trigger is ready in its newest generation.
fn is_ready(trigger: &DynamicObject) -> bool {
    let is_current = trigger.data["status"]["observedGeneration"].as_i64() == trigger.metadata.generation;
    is_current && condition(&trigger.data, "Ready") == "True"
}

/// Waits until so many are ready, for as long as something happens to one of them; gives the version of each.
/// They are watched: who lists them again and again takes the processor from what is waited for.
async fn until_ready(kube: &Kube, count: usize) -> anyhow::Result<BTreeMap<String, String>> {
    let mut seen = std::pin::pin!(watcher(api(kube), Config::default()).default_backoff());
    let mut ready = BTreeSet::new();
    while ready.len() < count {
        let what = format!("{count} Triggers to be ready, where {} are", ready.len());
        let next = within(&what, async {
            loop {
                match seen.next().await {
                    Some(Ok(event)) => return Ok(event),
                    // It is opened again.
                    Some(Err(_)) => {}
                    None => bail!("the watch ended"),
                }
            }
        });
        match next.await? {
            WatchEvent::Apply(one) | WatchEvent::InitApply(one) if is_ready(&one) => {
                ready.insert(one.name_any());
            }
            WatchEvent::Apply(one) | WatchEvent::Delete(one) => drop(ready.remove(&one.name_any())),
            WatchEvent::Init | WatchEvent::InitApply(_) | WatchEvent::InitDone => {}
        }
    }
    let all = api(kube).list(&ListParams::default()).await?.items;
    let named = all.into_iter().filter(is_ready).map(|one| {
        let version = one.resource_version().unwrap_or_default();
        (one.name_any(), version)
    });
    let named: BTreeMap<String, String> = named.collect();
    ensure!(named.len() == count, "{} of {count} are ready now", named.len());
    Ok(named)
}

#[tokio::test]
async fn many_triggers_are_ready_and_only_what_changes_is_written() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let count = if long() { 2_000 } else { 200 };
    let sink = Sink::start().await?;
    // Each start takes another port.
    let mut mesh = kube
        .served()?
        .args(&["--public-url", "http://mill.example"])
        .start()
        .await?;
    kube.ready(&broker("default", json!({}))).await?;
    let began = Instant::now();
    let (kube_api, params) = (api(&kube), PostParams::default());
    stream::iter(0..count)
        .map(|number| {
            let mut object = trigger(&format!("t{number}"), &sink.url("/all"));
            object["spec"]["filter"] = json!({"attributes": {"type": format!("t{number}")}});
            let (api, params) = (&kube_api, &params);
            async move {
                let object: DynamicObject = serde_json::from_value(object)?;
                api.create(params, &object).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    println!("{count} Triggers created after {:?}", began.elapsed());
    until_triggers(&mesh, count).await?;
    println!("served after {:?}", began.elapsed());
    let before = until_ready(&kube, count).await?;
    println!("and ready after {:?}", began.elapsed());

    let began = Instant::now();
    let mut changed = trigger("t7", &sink.url("/seven"));
    changed["spec"]["filter"] = json!({"attributes": {"type": "t7"}});
    kube.ready(&changed).await?;
    println!("a change is in effect and said after {:?}", began.elapsed());
    let events = [Event::new("1", "t7"), Event::new("2", "t8")];
    mesh.send("shop/default", &events).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/seven"), sink.ids("/all")),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );

    mesh.stop().await?;
    let began = Instant::now();
    mesh.restart().await?;
    println!("ready again after {:?}", began.elapsed());
    // What comes now shows that all lists were taken in.
    kube.ready(&trigger("later", &sink.url("/later"))).await?;
    let mut after = until_ready(&kube, count + 1).await?;
    after.remove("later");
    let written: Vec<&String> = after
        .iter()
        .filter(|(name, version)| before.get(*name) != Some(version))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(written, ["t7"]);
    Ok(())
}
