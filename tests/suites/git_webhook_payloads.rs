//! Promise: whatever GitHub sends becomes an event of its type, with the body as it came.
//!
//! The payloads are those that Octokit has recorded (npm `@octokit/webhooks-examples`).

use std::collections::BTreeMap;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::webhook::Call;
use millrace_tests::{Client, Mesh, Sink, peers};
use serde_json::Value;

const SOURCE: &str = "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {name: github, namespace: shop}\n\
    spec:\n  forge: github\n  requestsPerSecond: 1000000\n  secrets: [{secretKeyRef: {name: hooks, key: github}}]\n  \
    sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}\n\
    ---\napiVersion: v1\nkind: Secret\nmetadata: {name: hooks, namespace: shop}\nstringData: {github: hush}\n";

/// Events whose type does not end with their action, and what it ends with instead.
fn ending(event: &str, example: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match event {
        "create" | "delete" => text(&example["ref_type"]),
        "deployment_status" => text(&example["deployment_status"]["state"]),
        "status" => text(&example["state"]),
        "membership" => Some(format!(
            "{}.{}",
            text(&example["scope"])?,
            text(&example["action"])?
        )),
        "deployment" | "github_app_authorization" => None,
        _ => text(&example["action"]),
    }
}

#[tokio::test]
async fn every_recorded_payload_of_github_becomes_an_event() -> anyhow::Result<()> {
    let Some(kinds) = peers::webhooks()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(&format!("{}{SOURCE}", documents.text())).await?;
    let mut client = Client::new(mesh.listen());
    let mut sent = BTreeMap::new();
    for kind in &kinds {
        let event = kind["name"].as_str().unwrap_or_default();
        for (n, example) in kind["examples"].as_array().into_iter().flatten().enumerate() {
            let id = format!("{event}-{n}");
            let body = serde_json::to_vec_pretty(example)?;
            let call = Call::github(event, &id, body.clone()).signed_by_github("hush");
            let answer = client.post("/sources/shop/github", &call.message()).await?;
            anyhow::ensure!(answer.status == 202, "{id}: {}: {:?}", answer.status, answer.body);
            let ty = [Some(format!("com.github.{event}")), ending(event, example)];
            sent.insert(id, (ty.into_iter().flatten().collect::<Vec<_>>().join("."), body));
        }
    }
    assert!(sent.len() > 300, "only {} payloads", sent.len());
    for received in sink.wait_for("/all", sent.len()).await? {
        let event = received.event();
        let (ty, body) = sent.remove(event.id()).unwrap_or_default();
        assert_eq!(event.get("type"), Some(ty.as_str()), "{}", event.id());
        assert_eq!(received.body, body, "{}", event.id());
        assert_eq!(event.content_type.as_deref(), Some("application/json"));
    }
    assert!(sent.is_empty(), "{sent:?} did not come");
    Ok(())
}
