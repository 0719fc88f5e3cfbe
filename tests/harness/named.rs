//! Sources that name what they may not, and how they report it: documents short enough for a table, and a
//! wait for the reason.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{Mesh, wait_until};

/// The content of every file and variable that is not open; it must never be shown.
pub const HUSH: &str = "hush-hush-hush";
/// The Broker of [`MESH`], as a sink.
pub const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
/// A mesh of one Broker.
pub const MESH: &str =
    "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default, namespace: shop}\n";

/// A GitWebhookSource with this secret.
pub fn hook(name: &str, secret: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{forge: github, sink: {BROKER}, secrets: [{secret}]}}\n"
    )
}

/// An ApiServerSource with this kubeconfig.
pub fn watch(name: &str, kubeconfig: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: ApiServerSource\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{kubeconfig: {kubeconfig}, resources: [{{apiVersion: v1, kind: ConfigMap}}], sink: {BROKER}}}\n"
    )
}

/// A kubeconfig whose cluster and user have these fields.
pub fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
          clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1', {cluster}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
    )
}

async fn source(mesh: &Mesh, name: &str) -> anyhow::Result<Value> {
    let sources = mesh.admin().get("sources").await?;
    let name = format!("shop/{name}");
    let mut all = sources.as_array().into_iter().flatten();
    let found = all.find(|source| source["name"] == name).cloned();
    found.with_context(|| format!("there is no source {name} in {sources}"))
}

/// Waits until a source is not ready for this reason.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_refused(mesh: &Mesh, name: &str, reason: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} to be refused: {reason}"), || async {
        let source = source(mesh, name).await?;
        let said = source["reason"].as_str().unwrap_or_default();
        ensure!(
            source["state"] == "not-ready" && said.contains(reason),
            "{source}"
        );
        Ok(Some(()))
    })
    .await
}

/// Waits until a source is ready.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_ready(mesh: &Mesh, name: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} to be ready"), || async {
        let source = source(mesh, name).await?;
        ensure!(source["state"] == "ready", "{source}");
        Ok(Some(()))
    })
    .await
}

/// Checks that nothing secret is in the log or in answers of the admin API, and that SIGTERM ends the process
/// properly.
///
/// # Errors
/// When the admin API does not answer, or the process does not end before the deadline.
pub async fn assert_silent_and_stop(mesh: &mut Mesh) -> anyhow::Result<()> {
    let said = mesh.process().stderr() + &mesh.admin().get("sources").await?.to_string();
    assert!(!said.contains(HUSH), "{said}");
    let status = mesh.stop().await?;
    assert_eq!(status.code(), Some(0), "{}", mesh.process().stderr());
    Ok(())
}
