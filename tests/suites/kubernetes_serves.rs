//! Promise: `run --kubernetes` serves the Brokers of its class and the Triggers of these, and each object's
//! status says what is true of it. What refers to another object follows that object. What it may not do it
//! says, with the command that permits it.

use millrace_tests::kube::served::{
    EVENTING, SOURCES, broker, condition, object, of_class, path_at, service, trigger, until_triggers,
};
use millrace_tests::{Answer, Event, Kube, Mesh, Sink, wait_until};
use serde_json::json;

#[tokio::test]
async fn an_event_sent_to_a_broker_of_the_cluster_reaches_the_subscriber() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    kube.apply(&broker("default", json!({}))).await?;
    kube.apply(&trigger("all", &sink.url("/all"))).await?;
    let mesh = kube.served()?.start().await?;
    let ready = kube.until(&broker("default", json!({})), "Ready", "True").await?;
    assert_eq!(path_at(&ready, mesh.listen()).as_deref(), Some("/shop/default"));
    kube.until(&trigger("all", ""), "Ready", "True").await?;
    mesh.send("shop/default", &[Event::new("1", "order.placed")])
        .await?;
    sink.wait_for("/all", 1).await?;

    // A change reaches the data plane before the status says so.
    let mut filtered = trigger("all", &sink.url("/paid"));
    filtered["spec"]["filters"] = json!([{"exact": {"type": "order.paid"}}]);
    kube.ready(&filtered).await?;
    let events = [Event::new("2", "order.placed"), Event::new("3", "order.paid")];
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/paid", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/all"), sink.ids("/paid")),
        (vec!["1".to_owned()], vec!["3".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn only_brokers_of_our_class_are_touched_and_those_without_one_if_we_are_the_default()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let theirs = of_class(broker("theirs", json!({})), "MTChannelBasedBroker");
    let mut of_theirs = trigger("of-theirs", "http://127.0.0.1:1/");
    of_theirs["spec"]["broker"] = json!("theirs");
    let none = object(EVENTING, "Broker", "none", json!({}));
    for one in [&theirs, &of_theirs, &none] {
        kube.apply(one).await?;
    }
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("ours", json!({}))).await?;
    for one in [&theirs, &of_theirs, &none] {
        let found = kube.seen(one).await?;
        assert_eq!(condition(&found, "Ready"), "Unknown NoControllerYet", "{found}");
    }
    drop(mesh);
    let _mesh = kube.served()?.args(&["--default-class"]).start().await?;
    kube.until(&none, "Ready", "True").await?;
    let found = kube.seen(&of_theirs).await?;
    assert_eq!(condition(&found, "Ready"), "Unknown NoControllerYet", "{found}");
    Ok(())
}

#[tokio::test]
async fn a_service_and_any_addressable_are_followed_wherever_they_go() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let _mesh = kube
        .served()?
        .args(&["--cluster-domain", "mill.example"])
        .start()
        .await?;
    kube.ready(&broker("default", json!({}))).await?;
    let to = |name: &str, api_version: &str, kind: &str| {
        let reference = json!({"apiVersion": api_version, "kind": kind, "name": "ship"});
        let subscriber = json!({"ref": reference, "uri": "/in?x=y"});
        object(
            EVENTING,
            "Trigger",
            name,
            json!({"broker": "default", "subscriber": subscriber}),
        )
    };
    let to_service = to("to-service", "v1", "Service");
    kube.apply(&to_service).await?;
    kube.until(&to_service, "Ready", "False ServiceNotFound").await?;
    kube.apply(&service("ship", &[8080])).await?;
    let ready = kube.until(&to_service, "Ready", "True").await?;
    assert_eq!(
        ready["status"]["subscriberUri"],
        "http://ship.shop.svc.mill.example:8080/in?x=y"
    );
    kube.delete(&service("ship", &[])).await?;
    let lost = kube.until(&to_service, "Ready", "False ServiceNotFound").await?;
    assert!(lost["status"]["subscriberUri"].is_null(), "{lost}");
    kube.apply(&service("ship", &[80, 9090])).await?;
    let ready = kube.until(&to_service, "Ready", "True").await?;
    assert_eq!(
        ready["status"]["subscriberUri"],
        "http://ship.shop.svc.mill.example/in?x=y"
    );
    kube.delete(&service("ship", &[])).await?;
    kube.apply(&service("ship", &[8080, 9090])).await?;
    kube.until(&to_service, "Ready", "False AmbiguousPort").await?;

    // A kind that comes late.
    let to_mill = to("to-mill", "mills.example.com/v1", "Mill");
    kube.apply(&to_mill).await?;
    kube.until(&to_mill, "Ready", "False KindNotFound").await?;
    kube.define(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "mills.mills.example.com"},
        "spec": {
            "group": "mills.example.com", "scope": "Namespaced",
            "names": {"kind": "Mill", "plural": "mills", "singular": "mill"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    }))
    .await?;
    kube.until(&to_mill, "Ready", "False NotFound").await?;
    let mut mill = object("mills.example.com/v1", "Mill", "ship", json!({}));
    kube.apply(&mill).await?;
    kube.until(&to_mill, "Ready", "False NotAddressable").await?;
    mill["status"] = json!({"address": {"url": "http://mill.example.com/a/b"}});
    kube.apply(&mill).await?;
    let ready = kube.until(&to_mill, "Ready", "True").await?;
    assert_eq!(ready["status"]["subscriberUri"], "http://mill.example.com/in?x=y");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_to_be_there_is_created_and_never_changed() -> anyhow::Result<()> {
    let Some(kube) = Kube::start().await? else {
        return Ok(());
    };
    // Neither its kind nor its namespace is there yet: it is waited for.
    let setup = kube.served()?.args(&["--ensure-broker", "shop/first"]);
    let defined = async {
        kube.namespace("shop").await?;
        kube.define_kinds().await
    };
    let (mesh, defined) = tokio::join!(setup.start(), defined);
    let mesh = mesh?;
    defined?;
    mesh.send("shop/first", &[Event::new("1", "t")]).await?;
    let first = kube.until(&broker("first", json!({})), "Ready", "True").await?;
    assert_eq!(
        first["metadata"]["annotations"]["eventing.knative.dev/broker.class"],
        "Millrace"
    );
    drop(mesh);
    let mut changed = broker("first", json!({"delivery": {"retry": 7}}));
    changed["metadata"]["labels"] = json!({"a": "b"});
    kube.apply(&changed).await?;
    let _mesh = kube
        .served()?
        .args(&["--ensure-broker", "shop/first"])
        .start()
        .await?;
    let found = kube.until(&changed, "Ready", "True").await?;
    assert_eq!(
        (&found["spec"], &found["metadata"]["labels"]),
        (&changed["spec"], &json!({"a": "b"}))
    );
    Ok(())
}

/// What Millrace may do at least.
fn rules() -> serde_json::Value {
    json!([
        {"verbs": ["get", "list", "watch"], "apiGroups": ["eventing.knative.dev", "sources.millrace.dev"],
         "resources": ["*"]},
        {"verbs": ["patch"], "apiGroups": ["eventing.knative.dev"],
         "resources": ["brokers/status", "triggers/status"]},
        {"verbs": ["patch"], "apiGroups": ["sources.millrace.dev"], "resources": ["gitwebhooksources/status"]},
    ])
}

#[tokio::test]
async fn what_may_not_be_read_is_named_with_the_command_and_read_once_it_may() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let account = kube.account("millrace", None, &rules()).await?;
    let mesh = millrace_tests::mesh::Setup::new("")?
        .cluster(&account)
        .start()
        .await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut to_service = trigger("t", "");
    to_service["spec"]["subscriber"] = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}});
    kube.apply(&to_service).await?;
    kube.until(&to_service, "Ready", "False Forbidden").await?;
    let hook = object(
        SOURCES,
        "GitWebhookSource",
        "hook",
        json!({
            "forge": "github",
            "secrets": [{"secretKeyRef": {"name": "hook", "key": "token"}}],
            "sink": {"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "default"}},
        }),
    );
    kube.apply(&hook).await?;
    let denied = kube.until(&hook, "Ready", "False SecretForbidden").await?;
    let said = denied["status"]["conditions"].to_string();
    assert!(
        said.contains("create rolebinding") && said.contains("--serviceaccount=default:millrace"),
        "{said}"
    );
    // As the command says it.
    let secrets = json!([{
        "verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["hook"],
    }]);
    let group = "rbac.authorization.k8s.io";
    kube.apply(&json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role",
        "metadata": {"name": "millrace-secret-hook", "namespace": "shop"}, "rules": secrets,
    }))
    .await?;
    kube.apply(&json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "millrace-secret-hook", "namespace": "shop"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "millrace-secret-hook"},
        "subjects": [{"kind": "ServiceAccount", "name": "millrace", "namespace": "default"}],
    }))
    .await?;
    kube.until(&hook, "Ready", "False SecretNotFound").await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "shop"},
        "stringData": {"token": "hush"},
    });
    kube.apply(&secret).await?;
    kube.until(&hook, "Ready", "True").await?;
    until_triggers(&mesh, 1).await?;
    let kept = std::fs::read_to_string(mesh.setup().data_folder().join("mesh/accepted.json"));
    assert!(!kept.unwrap_or_default().contains("hush"), "a secret is not kept");
    kube.delete(&secret).await?;
    kube.until(&hook, "Ready", "False SecretNotFound").await?;
    Ok(())
}

/// What is asked or looked at only from time to time: side by side, so that the times are waited for once.
#[tokio::test]
async fn a_permission_a_transition_and_parked_events_are_told_when_they_come() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let mesh = kube.served()?.start().await?;
    kube.ready(&broker("default", json!({}))).await?;
    tokio::try_join!(
        reads_only_what_its_own_account_may(&kube),
        tells_a_transition_once_as_an_event_of_kubernetes(&kube),
        says_that_events_are_parked_and_stays_ready(&kube, &mesh),
    )?;
    Ok(())
}

/// An ApiServerSource.
async fn reads_only_what_its_own_account_may(kube: &Kube) -> anyhow::Result<()> {
    let source = object(
        SOURCES,
        "ApiServerSource",
        "maps",
        json!({
            "serviceAccountName": "reader",
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            // No event of it is one that the others count.
            "sink": {"uri": "http://127.0.0.1:1/"},
        }),
    );
    kube.apply(&source).await?;
    let denied = kube
        .until(&source, "SufficientPermissions", "False InsufficientPermissions")
        .await?;
    let said = denied["status"]["conditions"].to_string();
    assert!(said.contains("--serviceaccount=shop:reader"), "{said}");
    let rules = json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    kube.account("reader", Some("shop"), &rules).await?;
    kube.until(&source, "SufficientPermissions", "True").await?;
    Ok(())
}

async fn tells_a_transition_once_as_an_event_of_kubernetes(kube: &Kube) -> anyhow::Result<()> {
    let mut lost = trigger("lost", "http://127.0.0.1:1/");
    lost["spec"]["broker"] = json!("default");
    lost["spec"]["subscriber"] = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}});
    kube.apply(&lost).await?;
    kube.until(&lost, "Ready", "False ServiceNotFound").await?;
    let told = wait_until("the Event", || async {
        let events: kube::Api<k8s_openapi::api::events::v1::Event> =
            kube::Api::namespaced(kube.client(), "shop");
        let all = events.list(&kube::api::ListParams::default()).await?.items;
        let of = |name: &str| -> Vec<String> {
            all.iter()
                .filter(|event| {
                    let regarding = event.regarding.as_ref();
                    regarding.and_then(|one| one.name.as_deref()) == Some(name)
                })
                .filter_map(|event| event.reason.clone())
                .collect()
        };
        let told = (of("default"), of("lost"));
        Ok((!told.0.is_empty() && !told.1.is_empty()).then_some(told))
    })
    .await?;
    assert_eq!(
        told,
        (vec!["Ready".to_owned()], vec!["ServiceNotFound".to_owned()])
    );
    Ok(())
}

/// The status of a Trigger.
async fn says_that_events_are_parked_and_stays_ready(kube: &Kube, mesh: &Mesh) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(500)]);
    let mut t = trigger("t", &sink.url("/t"));
    t["spec"]["delivery"] = json!({"retry": 0});
    let new = kube.ready(&t).await?;
    for ty in ["CaughtUp", "Delivering", "NothingParked"] {
        assert_eq!(condition(&new, ty), "True", "{new}");
    }
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    mesh.admin().until_parked(1).await?;
    let told = kube.until(&t, "NothingParked", "False Parked").await?;
    assert_eq!(condition(&told, "Ready"), "True", "{told}");
    let conditions = told["status"]["conditions"].as_array().into_iter().flatten();
    let info = conditions.filter(|one| one["severity"] == "Info");
    assert_eq!(info.count(), 3, "{told}");
    Ok(())
}

#[tokio::test]
async fn a_trigger_may_ask_for_its_broker_and_leads_to_no_other_namespace_if_that_is_forbidden()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    kube.namespace("billing").await?;
    let mut other = broker("other", json!({}));
    other["metadata"]["namespace"] = json!("billing");
    kube.apply(&other).await?;
    let sink = Sink::start().await?;
    let mesh = kube
        .served()?
        .args(&["--default-class", "--refs", "same-namespace"])
        .start()
        .await?;
    let mut asking = trigger("asking", &sink.url("/t"));
    asking["metadata"]["annotations"] = json!({"eventing.knative.dev/injection": "enabled"});
    kube.ready(&asking).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/t", 1).await?;
    let mut away = trigger("away", "");
    let reference =
        json!({"apiVersion": EVENTING, "kind": "Broker", "name": "other", "namespace": "billing"});
    away["spec"]["subscriber"] = json!({"ref": reference});
    kube.apply(&away).await?;
    kube.until(&away, "Ready", "False OtherNamespace").await?;
    Ok(())
}
