//! Promise: whatever the chart's values say, a real API server takes what comes of them; values that make no
//! sense are refused in one sentence; and the account may do what Millrace needs and nothing more.

use anyhow::{Context as _, ensure};
use millrace_tests::helm::{self, CHARTS, Helm, NAMESPACE};
use millrace_tests::kube::access;
use millrace_tests::{Kube, wait_until};
use serde_json::{Value, json};

/// A namespace that is served in namespaced mode beside that of the release.
const TEAM: &str = "team-a";

/// What the pages on Kubernetes show or name, by the values that choose it.
const COMBINATIONS: [(&str, &[&str]); 14] = [
    ("as it comes", &[]),
    ("some namespaces", &[r#"watchNamespaces=["millrace","team-a"]"#]),
    ("beside Knative Eventing", &["crds.eventing=skip"]),
    ("definitions of an administrator", &["crds.enabled=false"]),
    ("a Broker of one's own", &["defaultBroker.create=false"]),
    (
        "a Broker elsewhere",
        &["defaultBroker.name=events", "defaultBroker.namespace=team-a"],
    ),
    (
        "webhooks by an Ingress",
        &[
            "ingress.enabled=true",
            "ingress.className=nginx",
            r#"ingress.hosts=["hooks.example.com","hooks.example.org"]"#,
            r#"ingress.tls=[{"secretName":"hooks","hosts":["hooks.example.com"]}]"#,
        ],
    ),
    ("webhooks by any host", &["ingress.enabled=true"]),
    (
        "webhooks by a Gateway",
        &[
            "httpRoute.enabled=true",
            r#"httpRoute.parentRefs=[{"name":"public","namespace":"gateways"}]"#,
            r#"httpRoute.hostnames=["hooks.example.com"]"#,
        ],
    ),
    (
        "watched and narrowed",
        &[
            "prometheus.serviceMonitor.enabled=true",
            "prometheus.serviceMonitor.labels.release=prometheus",
            r#"prometheus.serviceMonitor.relabelings=[{"action":"labeldrop","regex":"pod"}]"#,
            "networkPolicy.enabled=true",
            r#"networkPolicy.from=[{"namespaceSelector":{"matchLabels":{"events":"yes"}}}]"#,
            r#"networkPolicy.egress=[{"to":[{"namespaceSelector":{}}]}]"#,
            "podDisruptionBudget.enabled=true",
            "podDisruptionBudget.maxUnavailable=1",
        ],
    ),
    (
        "with what is there",
        &[
            "persistence.existingClaim=events",
            "serviceAccount.create=false",
            "serviceAccount.name=events",
            "rbac.create=false",
            "trustedCertificates.existingSecret=authorities",
            r#"imagePullSecrets=[{"name":"pull"}]"#,
            "image.registry=registry.example.com/team",
            "image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ],
    ),
    ("a trial", &["persistence.enabled=false", "logFormat=text"]),
    (
        "secrets of further namespaces",
        &[
            r#"rbac.secretNamespaces=["team-a"]"#,
            r#"rbac.extraRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list","watch"]}]"#,
        ],
    ),
    (
        "everything else",
        &[
            "fullnameOverride=events",
            "commonLabels.team=a",
            "persistence.size=50Gi",
            "persistence.storageClass=fast",
            "bindAddress=[::]",
            "service.ipFamilyPolicy=PreferDualStack",
            r#"service.ipFamilies=["IPv4"]"#,
            "memoryBudget=256MiB",
            "hostUsers=false",
            "priorityClassName=high",
            r#"extraArgs=["--max-event-bytes=4MiB"]"#,
            r#"extraEnv=[{"name":"A","value":"b"}]"#,
            r#"extraEnvFrom=[{"secretRef":{"name":"more"}}]"#,
            r#"extraVolumes=[{"name":"more","emptyDir":{}}]"#,
            r#"extraVolumeMounts=[{"name":"more","mountPath":"/more"}]"#,
            r#"extraContainers=[{"name":"beside","image":"x:1"}]"#,
            r#"initContainers=[{"name":"before","image":"x:1"}]"#,
            r#"tolerations=[{"key":"events","operator":"Exists"}]"#,
            r#"topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]"#,
            r#"affinity={"nodeAffinity":{}}"#,
            r#"extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-extra"}}]"#,
        ],
    ),
];

/// Kinds of other products that the chart makes on demand: the fields that it uses, and no others.
fn foreign() -> [Value; 2] {
    let text = json!({"type": "string"});
    let list =
        json!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let texts = json!({"type": "array", "items": text});
    let matches = json!({"type": "object", "properties": {"path": {"type": "object", "properties": {"type": text, "value": text}}}});
    let backend = json!({"type": "object", "properties": {"name": text, "port": {"type": "integer"}}});
    let rule = json!({"type": "object", "properties": {
        "matches": {"type": "array", "items": matches}, "backendRefs": {"type": "array", "items": backend},
    }});
    let parent = json!({"type": "object", "properties": {"name": text, "namespace": text}});
    let route = json!({"parentRefs": {"type": "array", "items": parent}, "hostnames": texts, "rules": {"type": "array", "items": rule}});
    let endpoint = json!({"type": "object", "properties": {
        "port": text, "path": text, "interval": text, "scrapeTimeout": text, "relabelings": list, "metricRelabelings": list,
    }});
    let labels = json!({"type": "object", "additionalProperties": text});
    let monitor = json!({
        "selector": {"type": "object", "properties": {"matchLabels": labels}},
        "endpoints": {"type": "array", "items": endpoint},
    });
    [
        definition("gateway.networking.k8s.io", "HTTPRoute", &route),
        definition("monitoring.coreos.com", "ServiceMonitor", &monitor),
    ]
}

fn definition(group: &str, kind: &str, spec: &Value) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let mut metadata = json!({"name": format!("{plural}.{group}")});
    // The groups of Kubernetes' own projects are protected by their name.
    metadata["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, for a test"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata,
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}},
            }],
        },
    })
}

/// The objects of a kind among those of a release.
fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> + Clone {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn lint_finds_nothing() -> anyhow::Result<()> {
    let Some(helm) = Helm::alone()? else {
        return Ok(());
    };
    for chart in CHARTS {
        let place = helm::chart(chart).to_string_lossy().into_owned();
        helm.succeed(&["lint", "--strict", &place]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_in_a_sentence() -> anyhow::Result<()> {
    let Some(helm) = Helm::alone()? else {
        return Ok(());
    };
    let cases: [(&[&str], &str); 12] = [
        (&["replicaCount=3"], "replicaCount"),
        (&["image.tags=1"], "tags"),
        (&["crds.evening=skip"], "evening"),
        (&["crds.eventing=maybe"], "eventing"),
        (&["service.port=0"], "port"),
        (&["image.digest=latest"], "digest"),
        (&["tests.broker=default"], "broker"),
        (
            &["podDisruptionBudget.enabled=true"],
            "exactly one of minAvailable and maxUnavailable",
        ),
        (
            &[
                "podDisruptionBudget.enabled=true",
                "podDisruptionBudget.minAvailable=1",
                "podDisruptionBudget.maxUnavailable=0",
            ],
            "exactly one of minAvailable and maxUnavailable",
        ),
        (
            &["httpRoute.enabled=true"],
            "httpRoute.enabled needs httpRoute.parentRefs",
        ),
        (
            &[r#"watchNamespaces=["team-a"]"#],
            "made in the namespace millrace, which watchNamespaces does not name",
        ),
        (
            &[
                "trustedCertificates.existingSecret=a",
                "trustedCertificates.existingConfigMap=b",
            ],
            "takes existingSecret or existingConfigMap, not both",
        ),
    ];
    for (values, expected) in cases {
        let said = helm.refuse(&helm::command("template", values)).await?;
        ensure!(said.contains(expected), "{values:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_combination() -> anyhow::Result<()> {
    let (Some(helm), Some(kube)) = (Helm::alone()?, Kube::start().await?) else {
        return Ok(());
    };
    kube.namespace(NAMESPACE).await?;
    kube.namespace(TEAM).await?;
    for definition in foreign() {
        kube.define(&definition).await?;
    }
    for (what, values) in COMBINATIONS {
        let objects = helm.template(values).await.context(what)?;
        for object in &objects {
            let taken = kube.would_take(object).await;
            taken.with_context(|| format!("{what}: {} {}", object["kind"], name(object)))?;
        }
        ensure!(of_kind(&objects, "StatefulSet").count() == 1, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn policies_come_where_they_are_wanted_and_known() -> anyhow::Result<()> {
    let Some(helm) = Helm::alone()? else {
        return Ok(());
    };
    let modern = "--kube-version=1.36.0";
    // Those that refuse, those that fill something in, and whether one of these is about the class.
    let cases: [(&[&str], usize, usize, bool); 6] = [
        (&[], 3, 0, false),
        (&[modern], 3, 5, true),
        (&[modern, "defaultClass=false"], 3, 4, false),
        (&[modern, "crds.eventing=skip"], 1, 0, false),
        (&[modern, "admissionPolicies.enabled=false"], 0, 0, false),
        (&[modern, r#"watchNamespaces=["millrace"]"#], 0, 0, false),
    ];
    for (values, refuse, fill, has_class) in cases {
        let objects = helm.template(values).await?;
        let fills = of_kind(&objects, "MutatingAdmissionPolicy");
        assert_eq!(
            of_kind(&objects, "ValidatingAdmissionPolicy").count(),
            refuse,
            "{values:?}"
        );
        assert_eq!(fills.clone().count(), fill, "{values:?}");
        let is_class = |policy: &Value| name(policy) == "millrace-broker-class";
        assert_eq!(fills.clone().any(is_class), has_class, "{values:?}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_meet_the_standard_restricted() -> anyhow::Result<()> {
    let (Some(helm), Some(kube)) = (Helm::alone()?, Kube::start().await?) else {
        return Ok(());
    };
    let enforced = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    kube.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": enforced}}))
        .await?;
    for (what, values) in COMBINATIONS.iter().filter(|(what, _)| *what != "everything else") {
        for pod in pods(&helm.template(values).await?) {
            kube.would_take(&pod).await.with_context(|| (*what).to_owned())?;
        }
    }
    let lax = helm
        .template(&["containerSecurityContext.allowPrivilegeEscalation=true"])
        .await?;
    for pod in pods(&lax) {
        let refused = kube.would_take(&pod).await.expect_err("it is not restricted");
        ensure!(format!("{refused:#}").contains("restricted"), "{refused:#}");
    }
    Ok(())
}

/// The pod of the StatefulSet as its controller would make it, and that of `helm test`.
fn pods(objects: &[Value]) -> Vec<Value> {
    let mut pods: Vec<Value> = of_kind(objects, "Pod").cloned().collect();
    for set in of_kind(objects, "StatefulSet") {
        let mut pod = set["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(format!("{}-0", name(set)));
        pod["metadata"]["namespace"] = json!(NAMESPACE);
        let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        for claim in set["spec"]["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let claimed = json!({"claimName": format!("{}-{}-0", name(claim), name(set))});
            volumes.push(json!({"name": name(claim), "persistentVolumeClaim": claimed}));
        }
        pod["spec"]["volumes"] = Value::Array(volumes);
        pods.push(pod);
    }
    pods
}

/// Writing is status, Kubernetes Events, questions about rights, and the default Broker.
const WRITES: [[&str; 3]; 7] = [
    ["patch", "eventing.knative.dev", "brokers/status triggers/status"],
    [
        "patch",
        "sources.millrace.dev",
        "apiserversources/status cronsources/status gitwebhooksources/status kafkasources/status",
    ],
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
