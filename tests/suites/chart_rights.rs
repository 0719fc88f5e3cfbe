//! Promise: the account of the chart may do what Millrace needs and nothing more, whatever the values say.

use anyhow::{Context as _, ensure};
use millrace_tests::helm::combinations::{COMBINATIONS, TEAM};
use millrace_tests::helm::{Helm, NAMESPACE, name, of_kind};
use millrace_tests::kube::access;
use millrace_tests::{Kube, wait_until};
use serde_json::Value;

/// Writing is status, Kubernetes Events, questions about rights, and the default Broker.
const WRITES: [[&str; 3]; 8] = [
    [
        "patch",
        "eventing.knative.dev",
        "brokers/status eventpolicies/status triggers/status",
    ],
    [
        "patch",
        "sources.millrace.dev",
        "apiserversources/status cronsources/status gitwebhooksources/status kafkasources/status",
    ],
    ["patch", "sinks.millrace.dev", "kafkasinks/status"],
    ["create", "events.k8s.io", "events"],
    ["patch", "events.k8s.io", "events"],
    ["create", "authorization.k8s.io", "subjectaccessreviews"],
    ["create", "authorization.k8s.io", "localsubjectaccessreviews"],
    ["create", "eventing.knative.dev", "brokers"],
];

#[tokio::test]
async fn no_role_of_the_account_writes_more_or_reads_secrets_everywhere() -> anyhow::Result<()> {
    let Some(helm) = Helm::alone()? else {
        return Ok(());
    };
    for (what, values) in COMBINATIONS {
        let objects = helm.template(values).await?;
        let namespaced = values.iter().any(|value| value.starts_with("watchNamespaces"));
        ensure!(
            !namespaced || of_kind(&objects, "ClusterRole").count() == 0,
            "{what}"
        );
        for role in bound(&objects) {
            for rule in role["rules"].as_array().into_iter().flatten() {
                let is_everywhere = role["kind"] == "ClusterRole";
                judge(rule, is_everywhere).with_context(|| format!("{what}: {}", name(role)))?;
            }
        }
    }
    Ok(())
}

/// The roles that are bound to the account; the others are for users and for other products.
fn bound(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let bindings = objects.iter().filter(|object| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("Binding"))
    });
    let refs: Vec<_> = bindings
        .map(|binding| (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]))
        .collect();
    objects
        .iter()
        .filter(move |object| refs.contains(&(&object["kind"], &object["metadata"]["name"])))
}

fn judge(rule: &Value, is_everywhere: bool) -> anyhow::Result<()> {
    let texts = |part: &str| -> Vec<String> {
        let list = rule[part].as_array().into_iter().flatten();
        list.map(|one| one.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let (verbs, groups, resources) = (texts("verbs"), texts("apiGroups"), texts("resources"));
    ensure!(
        !verbs.is_empty() && !groups.is_empty() && !resources.is_empty(),
        "{rule}"
    );
    for ((verb, group), resource) in verbs
        .iter()
        .flat_map(|verb| groups.iter().map(move |group| (verb, group)))
        .flat_map(|pair| resources.iter().map(move |resource| (pair, resource)))
    {
        let is_secret = ["secrets", "configmaps"].contains(&resource.as_str());
        ensure!(!is_secret || !is_everywhere, "{rule} holds everywhere");
        let reads = ["get", "list", "watch"].contains(&verb.as_str());
        let writes = WRITES.iter().any(|[known, of, names]| {
            *known == verb && *of == group && names.split(' ').any(|name| name == resource)
        });
        let creates_brokers = resource == "brokers" && verb == "create";
        ensure!(!creates_brokers || !is_everywhere, "{rule} holds everywhere");
        ensure!(
            (reads || writes) && resource != "*" && group != "*",
            "{rule}: {verb} {group}/{resource}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_account_may_do_what_it_needs_and_nothing_else() -> anyhow::Result<()> {
    let (Some(helm), Some(kube)) = (Helm::alone()?, Kube::start().await?) else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    kube.namespace(TEAM).await?;
    for object in helm.template(&[]).await? {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind == "ServiceAccount" || object["apiVersion"] == "rbac.authorization.k8s.io/v1" {
            kube.apply(&object).await?;
        }
    }
    let client = access::client(&kube.kubeconfig_of(NAMESPACE, "millrace").await?).await?;
    let eventing = "eventing.knative.dev";
    for action in [
        ["watch", eventing, "brokers", ""],
        ["list", eventing, "triggers", ""],
        ["patch", eventing, "triggers/status", TEAM],
        ["patch", "sources.millrace.dev", "kafkasources/status", TEAM],
        ["watch", "sinks.millrace.dev", "kafkasinks", ""],
        ["patch", "sinks.millrace.dev", "kafkasinks/status", TEAM],
        ["watch", "", "services", ""],
        ["create", "events.k8s.io", "events", TEAM],
        ["create", "authorization.k8s.io", "subjectaccessreviews", ""],
        ["create", eventing, "brokers", NAMESPACE],
        ["watch", "", "secrets", NAMESPACE],
    ] {
        // The API server learns of a role a little later.
        wait_until(&format!("{action:?}"), || async {
            Ok(access::may(&client, action).await?.then_some(()))
        })
        .await?;
    }
    for action in [
        ["patch", eventing, "triggers", TEAM],
        ["delete", eventing, "brokers", NAMESPACE],
        ["create", eventing, "brokers", TEAM],
        ["update", eventing, "brokers/status", NAMESPACE],
        ["get", "", "secrets", TEAM],
        ["list", "", "secrets", ""],
        ["get", "", "pods", NAMESPACE],
        ["create", "", "serviceaccounts/token", NAMESPACE],
        ["impersonate", "", "users", ""],
        ["patch", "apiextensions.k8s.io", "customresourcedefinitions", ""],
        ["get", "coordination.k8s.io", "leases", NAMESPACE],
    ] {
        ensure!(!access::may(&client, action).await?, "{action:?} is allowed");
    }
    Ok(())
}
