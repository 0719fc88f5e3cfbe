//! Promise: whatever GitHub sends becomes an event of its type, with the body as it came.
//!
//! The payloads are all that Octokit has recorded (npm `@octokit/webhooks-examples`): those of github.com,
//! and those of GitHub Enterprise Server 3.1 to 3.5, which say in their headers which server they come from.

use std::collections::BTreeMap;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::peers::Payloads;
use millrace_tests::webhook::{Call, ENTERPRISE};
use millrace_tests::{Client, Mesh, Sink, peers};
use serde_json::Value;

const SOURCE: &str = "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {name: github, namespace: shop}\n\
    spec:\n  forge: github\n  requestsPerSecond: 1000000\n  secrets: [{secretKeyRef: {name: hooks, key: github}}]\n  \
    sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}\n\
    ---\napiVersion: v1\nkind: Secret\nmetadata: {name: hooks, namespace: shop}\nstringData: {github: hush}\n";

/// The sets of the version that is pinned, and how many payloads each has: none is overlooked.
const SETS: [(&str, usize); 6] = [
    ("api.github.com", 329),
    ("ghes-31", 49),
    ("ghes-32", 49),
    ("ghes-33", 50),
    ("ghes-34", 124),
    ("ghes-35", 125),
];

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

/// An example, signed, as the GitHub of its set calls with it.
fn call(github: &str, event: &str, id: &str, body: Vec<u8>) -> Call {
    let call = match github.strip_prefix("ghes-3") {
        Some(minor) => Call::github_enterprise(event, id, &format!("3.{minor}.0"), body),
        None => Call::github(event, id, body),
    };
    call.signed_by_github("hush")
}

#[tokio::test]
async fn every_recorded_payload_of_github_and_of_its_enterprise_servers_becomes_an_event()
-> anyhow::Result<()> {
    let Some(sets) = peers::webhooks()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(&format!("{}{SOURCE}", documents.text())).await?;
    let mut client = Client::new(mesh.listen());
    let mut sent = BTreeMap::new();
    for Payloads { github, kinds } in &sets {
        let before = sent.len();
        for kind in kinds {
            let event = kind["name"].as_str().unwrap_or_default();
            for (n, example) in kind["examples"].as_array().into_iter().flatten().enumerate() {
                let id = format!("{github}-{event}-{n}");
                let body = serde_json::to_vec_pretty(example)?;
                let call = call(github, event, &id, body.clone());
                let answer = client.post("/sources/shop/github", &call.message()).await?;
                anyhow::ensure!(answer.status == 202, "{id}: {}: {:?}", answer.status, answer.body);
                let ty = [Some(format!("com.github.{event}")), ending(event, example)];
                sent.insert(id, (ty.into_iter().flatten().collect::<Vec<_>>().join("."), body));
            }
        }
        let count = sent.len() - before;
        let expected = SETS
            .iter()
            .find(|(name, _)| name == github)
            .map(|&(_, count)| count);
        assert_eq!(Some(count), expected, "payloads of {github}");
    }
    assert_eq!(sets.len(), SETS.len(), "{sets:?}");
    for received in sink.wait_for("/all", sent.len()).await? {
        let event = received.event();
        let (ty, body) = sent.remove(event.id()).unwrap_or_default();
        assert_eq!(event.get("type"), Some(ty.as_str()), "{}", event.id());
        assert_eq!(received.body, body, "{}", event.id());
        assert_eq!(event.content_type.as_deref(), Some("application/json"));
        // These name no repository and no account: what is left is the server that called.
        if ty.starts_with("com.github.enterprise.") {
            let server = format!("https://{ENTERPRISE}");
            assert_eq!(event.get("source"), Some(server.as_str()), "{}", event.id());
        }
    }
    assert!(sent.is_empty(), "{sent:?} did not come");
    Ok(())
}
