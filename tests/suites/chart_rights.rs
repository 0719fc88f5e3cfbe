//! Promise: the account of the chart may do what Millrace needs and nothing more, whatever the values say.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, PostParams};
use millrace_tests::helm::combinations::{COMBINATIONS, TEAM};
use millrace_tests::helm::{Helm, NAMESPACE, name, of_kind};
use millrace_tests::kube::access;
use millrace_tests::kube::served::broker;
use millrace_tests::mesh::Setup;
use millrace_tests::{Kube, Nats, wait_until};
use serde_json::{Value, json};

/// Writing is status, Kubernetes Events, questions about rights, the default Broker, and tokens of accounts
/// that are named.
const WRITES: [[&str; 3]; 9] = [
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
    ["create", "", TOKENS],
];
/// Who may create these of an account is that account.
const TOKENS: &str = "serviceaccounts/token";

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
        let is_of_one = texts("resourceNames").len() == 1 && !is_everywhere;
        ensure!(resource != TOKENS || is_of_one, "{rule} is of no one account");
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
    let client = account(&helm, &kube, &[]).await?;
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

#[tokio::test]
async fn the_account_gets_tokens_of_the_accounts_that_are_named_and_of_no_others() -> anyhow::Result<()> {
    let (Some(helm), Some(kube)) = (Helm::alone()?, Kube::start().await?) else {
        return Ok(());
    };
    let client = account(&helm, &kube, &[r#"oidc.serviceAccounts=["team-a/deliverer"]"#]).await?;
    for (namespace, name) in [(TEAM, "deliverer"), (TEAM, "other"), ("default", "deliverer")] {
        let metadata = json!({"name": name, "namespace": namespace});
        kube.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
            .await?;
    }
    let ask = |namespace: &'static str, name: &'static str| {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        async move {
            let spec = json!({"spec": {"audiences": ["somebody"]}});
            let request: TokenRequest = serde_json::from_value(spec)?;
            let asked = accounts
                .create_token_request(name, &PostParams::default(), &request)
                .await;
            Ok(asked.is_ok().then_some(()))
        }
    };
    // The API server learns of a role a little later.
    wait_until("the token of the account that is named", || {
        ask(TEAM, "deliverer")
    })
    .await?;
    for (namespace, name) in [(TEAM, "other"), ("default", "deliverer"), (NAMESPACE, "millrace")] {
        let given: anyhow::Result<Option<()>> = ask(namespace, name).await;
        ensure!(given?.is_none(), "a token of {namespace}/{name} is given");
    }
    Ok(())
}

#[tokio::test]
async fn the_account_reads_the_config_of_a_channel_that_is_named_and_no_other() -> anyhow::Result<()> {
    let (Some(helm), Some(kube), Some(nats)) = (Helm::alone()?, Kube::start().await?, Nats::start().await?)
    else {
        return Ok(());
    };
    kube.define_kinds().await?;
    let client = account(&helm, &kube, &[r#"rbac.channelConfigs=["team-a/on-nats"]"#]).await?;
    let config = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": TEAM},
            "data": {"backend": "jetstream", "servers": nats.url()},
        })
    };
    let on = |name: &str| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
        let mut broker = broker(name, json!({"config": config}));
        broker["metadata"]["namespace"] = json!(TEAM);
        broker
    };
    for one in [config("on-nats"), config("other"), on("on-nats"), on("other")] {
        kube.apply(&one).await?;
    }
    let account = kube.kubeconfig_of(NAMESPACE, "millrace").await?;
    let _mesh = Setup::new("")?.cluster(&account).start().await?;
    kube.until(&on("on-nats"), "Ready", "True").await?;
    let said = kube.until(&on("other"), "Ready", "False ConfigForbidden").await?;
    let command = "kubectl -n team-a create role millrace-config-other";
    ensure!(said["status"].to_string().contains(command), "{said}");
    let configs: Api<ConfigMap> = Api::namespaced(client, TEAM);
    ensure!(
        configs.list(&ListParams::default()).await.is_err(),
        "all can be listed"
    );
    Ok(())
}

/// A client with the rights of the chart's account, as these values give them.
async fn account(helm: &Helm, kube: &Kube, values: &[&str]) -> anyhow::Result<kube::Client> {
    kube.namespace(NAMESPACE).await?;
    kube.namespace(TEAM).await?;
    for object in helm.template(values).await? {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind == "ServiceAccount" || object["apiVersion"] == "rbac.authorization.k8s.io/v1" {
            kube.apply(&object).await?;
        }
    }
    access::client(&kube.kubeconfig_of(NAMESPACE, "millrace").await?).await
}
