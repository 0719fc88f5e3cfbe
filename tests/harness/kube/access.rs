//! Access rights: kubeconfig files, and accounts with few rights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::Kube;
use crate::certificates::Certificates;
use crate::wait_until;

/// The token of a user who may do everything.
pub(super) const ADMIN: &str = "a-token-for-the-tests-only";

/// Writes `<user>.kubeconfig`. The data of the authority is in it, so that it can be moved.
pub(super) fn kubeconfig(
    folder: &Path,
    user: &str,
    port: u16,
    certificates: &Certificates,
    token: &str,
) -> anyhow::Result<PathBuf> {
    use base64::Engine as _;

    let authority = base64::prelude::BASE64_STANDARD.encode(fs::read(&certificates.authority)?);
    let server = format!("https://127.0.0.1:{port}");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user, "namespace": "default" } }],
        "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority-data": authority } }],
        "users": [{ "name": user, "user": { "token": token } }],
    });
    let file = folder.join(format!("{user}.kubeconfig"));
    // JSON is YAML, and needs no library.
    fs::write(&file, serde_json::to_string_pretty(&config)?)?;
    Ok(file)
}

/// A client with the credentials of a kubeconfig.
///
/// # Errors
/// When the file cannot be read or does not say enough.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Waits until the account may do in a namespace what `rules` allow: the API applies an object a little
/// later.
async fn until_granted(client: Client, namespace: &str, rules: &Value) -> anyhow::Result<()> {
    let api: Api<SelfSubjectRulesReview> = Api::all(client);
    let question = serde_json::from_value(json!({ "spec": { "namespace": namespace } }))?;
    wait_until(&format!("the rules {rules} to hold"), || async {
        let answer = api.create(&PostParams::default(), &question).await?;
        let held = serde_json::to_value(answer.status)?["resourceRules"].take();
        let holds = |rule: &Value| {
            held.as_array().is_some_and(|held| {
                let has = |held: &Value| {
                    ["verbs", "apiGroups", "resources"]
                        .iter()
                        .all(|part| held[part] == rule[part])
                };
                held.iter().any(has)
            })
        };
        Ok(rules
            .as_array()
            .is_some_and(|rules| rules.iter().all(holds))
            .then_some(()))
    })
    .await
}

/// Whether the user of a client may do something: `verb`, `group`, `resource` (with a subresource behind a
/// slash), in a namespace or, with an empty one, everywhere.
///
/// # Errors
/// When the API does not answer.
pub async fn may(client: &Client, action: [&str; 4]) -> anyhow::Result<bool> {
    let [verb, group, resource, namespace] = action;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let question = serde_json::from_value(json!({ "spec": { "resourceAttributes": {
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
    } } }))?;
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &question).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

// === impl Kube ===

impl Kube {
    /// Makes a service account that may do only what `rules` say (as in a ClusterRole, on resources); gives
    /// its kubeconfig. With a namespace they hold only there, and without one everywhere. Given again, the
    /// rules replace the earlier ones. What they grant is in force when this returns; what they no longer
    /// grant ends soon after.
    ///
    /// # Errors
    /// When the API refuses it, or does not grant it before the deadline.
    pub async fn account(
        &self,
        name: &str,
        namespace: Option<&str>,
        rules: &Value,
    ) -> anyhow::Result<PathBuf> {
        let (role, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let home = namespace.unwrap_or("default");
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let metadata = json!({ "name": name, "namespace": namespace });
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": home },
        });
        let role_object =
            json!({ "apiVersion": version, "kind": role, "metadata": metadata, "rules": rules });
        let binding_object = json!({
            "apiVersion": version,
            "kind": binding,
            "metadata": metadata,
            "roleRef": { "apiGroup": group, "kind": role, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": home }],
        });
        for object in [account, role_object, binding_object] {
            self.apply(&object).await?;
        }
        let kubeconfig = self.kubeconfig_of(home, name).await?;
        until_granted(client(&kubeconfig).await?, home, rules).await?;
        Ok(kubeconfig)
    }

    /// The kubeconfig of a service account that is there.
    ///
    /// # Errors
    /// When the API gives no token, or the file cannot be written.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let token = self.token(namespace, account).await?;
        kubeconfig(self.folder.path(), account, self.port, &self.certificates, &token)
    }

    /// A token of a service account, for an hour.
    pub(super) async fn token(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } }))?;
        let answer = api
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(answer.status.context("the API gave no token")?.token)
    }
}
