//! Promise: beside Knative Eventing its definitions stay, and only Brokers of our class are served. The steps
//! of the guide lead from Knative Eventing to Millrace and back, and no object is lost on the way.
//!
//! Knative's definitions are in `tests/data/knative`. Its controllers and webhooks are not there.

use anyhow::{Context as _, ensure};
use millrace_tests::helm::{self, Helm, NAMESPACE, name, of_kind};
use millrace_tests::kube::requests::refusal;
use millrace_tests::kube::served::{EVENTING, broker, object, of_class, path_at, trigger};
use millrace_tests::{Event, Kube, Mesh, Page, Sink, wait_until};
use serde_json::{Value, json};

const DEFINITIONS: [&str; 2] = [
    include_str!("../data/knative/brokers.yaml"),
    include_str!("../data/knative/triggers.yaml"),
];
/// The class that Knative's webhook gives a Broker that has none.
const THEIR_CLASS: &str = "MTChannelBasedBroker";
/// A duration that Knative takes and we do not.
const ONE_YEAR: &str = "P1Y";

/// Knative's definitions, in which something may be changed.
fn definitions(change: impl Fn(&mut Value)) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for yaml in DEFINITIONS {
        let mut definition: Value = serde_saphyr::from_str(yaml)?;
        change(&mut definition);
        all.push(definition);
    }
    Ok(all)
}

/// A cluster with Knative's definitions, and a release of the chart beside them as the guide installs it.
async fn beside_knative() -> anyhow::Result<Option<(Kube, Helm)>> {
    let Some(kube) = Kube::start().await? else {
        return Ok(None);
    };
    let Some(helm) = Helm::with(&kube.kubeconfig())? else {
        return Ok(None);
    };
    for namespace in [NAMESPACE, "shop"] {
        kube.namespace(namespace).await?;
    }
    for definition in definitions(|_| {})? {
        kube.define(&definition).await?;
    }
    let values = ["crds.eventing=skip", "defaultBroker.create=false"];
    helm.succeed(&helm::command("install", &values)).await?;
    Ok(Some((kube, helm)))
}

fn on(broker: &str, mut trigger: Value) -> Value {
    trigger["spec"]["broker"] = json!(broker);
    trigger
}

#[tokio::test]
async fn beside_knative_eventing_only_our_class_is_served_and_nothing_else_is_touched() -> anyhow::Result<()>
{
    let Some((kube, _helm)) = beside_knative().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let theirs = of_class(broker("theirs", json!({})), THEIR_CLASS);
    let no_class = object(EVENTING, "Broker", "no-class", json!({}));
    let of_theirs = on("theirs", trigger("of-theirs", &sink.url("/theirs")));
    let of_nobody = on("nobody", trigger("of-nobody", &sink.url("/nobody")));
    let foreign = [&theirs, &no_class, &of_theirs, &of_nobody];
    for object in foreign {
        kube.apply(object).await?;
    }
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1});
    kube.set_status(&theirs, &ready).await?;
    let before = whole(&kube, &foreign).await?;

    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("ours", json!({}))).await?;
    kube.ready(&on("ours", trigger("t", &sink.url("/t")))).await?;
    // Knative's definition drops a dialect that it does not know, and what is left would pass everything.
    let mut narrow = on("ours", trigger("narrow", &sink.url("/narrow")));
    narrow["spec"]["filters"] = json!([{"jsonpath": {"$.country": "DE"}}]);
    let stored = kube.apply(&narrow).await?;
    assert_eq!(stored.data["spec"]["filters"], json!([{}]));
    kube.until(&narrow, "Ready", "False InvalidFilter").await?;
    mesh.send("shop/ours", &[Event::new("1", "t")]).await?;
    mesh.until_settled().await?;
    assert_eq!((sink.ids("/t"), sink.count("/narrow")), (vec!["1".to_owned()], 0));

    assert_eq!(whole(&kube, &foreign).await?, before);
    Ok(())
}

/// These objects and the definitions of Knative, with all that is stored of them.
async fn whole(kube: &Kube, objects: &[&Value]) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for object in objects.iter().copied().chain(&definitions(|_| {})?) {
        all.push(kube.seen(object).await?);
    }
    Ok(all)
}

/// What identifies these objects, and what they are to do.
async fn seen(kube: &Kube, objects: &[&Value]) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for object in objects {
        let seen = kube.seen(object).await?;
        all.push(json!([
            seen["metadata"]["uid"],
            seen["metadata"]["generation"],
            seen["spec"]
        ]));
    }
    Ok(all)
}

/// Sends an event to the address in a Broker's status, and waits until it comes.
async fn passes(kube: &Kube, broker: &Value, mesh: &Mesh, sink: &Sink, id: &str) -> anyhow::Result<()> {
    let ready = kube.until(broker, "Ready", "True").await?;
    let path = path_at(&ready, mesh.listen()).context("no address of ours")?;
    mesh.send(path.trim_start_matches('/'), &[Event::new(id, "t")])
        .await?;
    wait_until(&format!("the event {id}"), || async {
        Ok(sink.ids("/m").contains(&id.to_owned()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_steps_of_the_guide_lead_to_millrace_and_back() -> anyhow::Result<()> {
    let Some((kube, helm)) = beside_knative().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = kube.served()?.start().await?;
    let old = of_class(broker("default", json!({})), THEIR_CLASS);
    let mut of_old = trigger("ship", &sink.url("/m"));
    of_old["spec"]["filter"] = json!({});
    for object in [&old, &of_old] {
        kube.apply(object).await?;
    }
    // The successor and the copies of its Triggers, then the producers; then what was before goes.
    let page = Page::read("docs/guides/from-knative.md")?;
    let successor = helm::documents(page.documents()?)?.remove(0);
    ensure!(name(&successor) == "default-m", "{successor}");
    kube.ready(&successor).await?;
    let mut copy = on("default-m", of_old.clone());
    copy["metadata"]["name"] = json!("ship-m");
    copy["metadata"]["labels"] = json!({"migrate": "m"});
    kube.ready(&copy).await?;
    passes(&kube, &successor, &mesh, &sink, "beside").await?;
    for object in [&of_old, &old] {
        kube.delete(object).await?;
    }
    let mut yearly = copy.clone();
    yearly["metadata"]["name"] = json!("yearly");
    yearly["spec"]["delivery"] = json!({"backoffDelay": ONE_YEAR});
    kube.apply(&yearly).await?;
    kube.until(&yearly, "Ready", "False InvalidSpec").await?;

    // Without Knative Eventing.
    let kept = [&successor, &copy, &yearly];
    let before = seen(&kube, &kept).await?;
    takes_over(&kube, &helm).await?;
    assert_eq!(seen(&kube, &kept).await?, before);
    passes(&kube, &successor, &mesh, &sink, "alone").await?;
    holds_our_rules(&kube, &yearly).await?;
    assert_eq!(seen(&kube, &kept).await?, before);

    // And back: theirs are there before ours go.
    let mut theirs = of_class(successor.clone(), THEIR_CLASS);
    theirs["metadata"]["name"] = json!("default-k");
    let mut of_theirs = on("default-k", of_old);
    of_theirs["metadata"]["name"] = json!("ship-k");
    for object in [&theirs, &of_theirs] {
        kube.apply(object).await?;
    }
    passes(&kube, &successor, &mesh, &sink, "last").await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/m"), ["beside", "alone", "last"]);
    let back = [&theirs, &of_theirs, &copy, &yearly];
    let before = seen(&kube, &back).await?;
    kube.delete(&successor).await?;
    kube.until(&copy, "Ready", "False BrokerDoesNotExist").await?;
    drop(mesh);
    goes(&kube, &helm).await?;
    assert_eq!(seen(&kube, &back).await?, before);
    let untouched = kube.seen(&theirs).await?;
    ensure!(untouched["status"].is_null(), "{untouched}");
    Ok(())
}

/// Millrace takes over the definitions: they are labelled, and Helm is told to take them.
async fn takes_over(kube: &Kube, helm: &Helm) -> anyhow::Result<()> {
    let labelled = |definition: &mut Value| {
        definition["metadata"]["labels"]["app.kubernetes.io/name"] = json!("millrace");
    };
    for definition in definitions(labelled)? {
        kube.define(&definition).await?;
    }
    let values = [
        "--reset-then-reuse-values",
        "crds.eventing=install",
        "--take-ownership",
        "--force-conflicts",
    ];
    helm.succeed(&helm::command("upgrade", &values)).await.map(drop)
}

/// Our rules hold for what is new. What was stored before and breaks one stays, until that part of it is
/// changed.
async fn holds_our_rules(kube: &Kube, yearly: &Value) -> anyhow::Result<()> {
    let mut new = yearly.clone();
    new["metadata"]["name"] = json!("new");
    wait_until("our rules to hold", || async {
        let said = refusal(kube.would_create(&new).await)?;
        Ok(said.contains("spec.delivery.backoffDelay").then_some(()))
    })
    .await?;
    let mut labelled = yearly.clone();
    labelled["metadata"]["labels"]["team"] = json!("a");
    kube.apply(&labelled).await?;
    let mut changed = labelled;
    changed["spec"]["delivery"]["backoffDelay"] = json!("P2Y");
    let said = kube.apply(&changed).await.err().context("P2Y is taken")?;
    ensure!(
        format!("{said:#}").contains("spec.delivery.backoffDelay"),
        "{said:#}"
    );
    Ok(())
}

/// Millrace is uninstalled and leaves nothing that judges; Knative's release takes the definitions over.
async fn goes(kube: &Kube, helm: &Helm) -> anyhow::Result<()> {
    helm.succeed(&["uninstall", "millrace", "--namespace", NAMESPACE])
        .await?;
    let objects = helm.template(&[]).await?;
    let mut policies = of_kind(&objects, "ValidatingAdmissionPolicy").peekable();
    ensure!(policies.peek().is_some(), "the chart has policies");
    for policy in policies {
        ensure!(kube.find(policy).await?.is_none(), "{} is left", name(policy));
    }
    for definition in definitions(|_| {})? {
        kube.define(&definition).await?;
    }
    let mut yearly = on("default-k", trigger("of-a-year", "http://127.0.0.1:1/"));
    yearly["spec"]["delivery"] = json!({"backoffDelay": ONE_YEAR});
    wait_until("our rules to be gone", || async {
        Ok(kube.would_create(&yearly).await.is_ok().then_some(()))
    })
    .await
}
