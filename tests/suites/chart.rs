//! Promise: whatever the chart's values say, a real API server takes what comes of them; values that make no
//! sense are refused in one sentence; pods meet the standard `restricted`.

use std::process::Command;

use anyhow::{Context as _, ensure};
use millrace_tests::helm::combinations::{COMBINATIONS, TEAM};
use millrace_tests::helm::{self, CHARTS, Helm, NAMESPACE, name, of_kind};
use millrace_tests::{Kube, peers};
use serde_json::{Value, json};

/// The chart's tests of its templates, at least.
const LEAST: usize = 55;

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

/// What each documented combination of values makes is in the chart's own tests.
#[tokio::test]
async fn the_tests_of_the_templates_hold() -> anyhow::Result<()> {
    let Some(program) = peers::helm_unittest()? else {
        return Ok(());
    };
    let mut command = Command::new(program);
    command.arg("--strict").arg(helm::chart(CHARTS[0]));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    // Also a folder without tests would succeed.
    let passed = said.lines().find_map(|line| line.trim().strip_prefix("Tests:"));
    let passed = passed.and_then(|counts| counts.trim().split(' ').next()?.parse::<usize>().ok());
    ensure!(passed.is_some_and(|passed| passed >= LEAST), "{said}");
    Ok(())
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_in_a_sentence() -> anyhow::Result<()> {
    let Some(helm) = Helm::alone()? else {
        return Ok(());
    };
    let cases: [(&[&str], &str); 21] = [
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
        (
            &["access.existingSecret=a", "access.existingConfigMap=b"],
            "access takes existingSecret or existingConfigMap, not both",
        ),
        (&["tls.http=false"], "need tls.existingSecret"),
        (&["tls.showCa=true"], "need tls.existingSecret"),
        (&["tls.clientCa.existingSecret=a"], "need tls.existingSecret"),
        (
            &["tls.existingSecret=a", "tls.clients=required"],
            "tls.clients=required needs tls.clientCa",
        ),
        (&["tls.existingSecret=a", "tls.clients=some"], "clients"),
        (
            &["tls.existingSecret=a", "admin.enabled=true"],
            "admin.enabled needs access.existingSecret or access.existingConfigMap",
        ),
        (
            &["allowAnonymous=false"],
            "allowAnonymous=false needs access.existingSecret or access.existingConfigMap",
        ),
        (&["refs=none"], "refs"),
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
        (&[], 4, 0, false),
        (&[modern], 4, 5, true),
        (&[modern, "defaultClass=false"], 4, 4, false),
        (&[modern, "crds.eventing=skip"], 2, 0, false),
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
