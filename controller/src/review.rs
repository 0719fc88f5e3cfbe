//! What an ApiServerSource may read: its own ServiceAccount must be allowed to, not only Millrace's.
//!
//! The source reads with the rights of this process, and its author is a tenant. So the API server is asked
//! (SubjectAccessReview) whether the ServiceAccount that the source names may get, list and watch each of its
//! kinds where it looks, and asked again from time to time.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::{Api, Client};
use millrace_crds::Kind;
use millrace_model::{ObjectName, SourceKind};
use serde_json::Value;

use crate::objects::Entry;
use crate::options::Options;
use crate::targets::TargetKind;
use crate::watch::{self, Trouble};

/// What is asked for one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    account: ObjectName,
    /// `None`: in every namespace.
    namespace: Option<String>,
    kinds: Vec<TargetKind>,
    /// It is asked within the namespace: this process may ask about no other.
    is_local: bool,
}

/// `Err`: what the account may not do, as a sentence.
pub(crate) type Verdict = Result<(), String>;

/// How long a permission counts, and how soon one that is missing is asked for again.
pub(crate) const AGAIN: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(15));
/// The account of a source that names none, as in Pods.
const DEFAULT: &str = "default";
const VERBS: [&str; 3] = ["get", "list", "watch"];

// === impl Question ===

impl Question {
    /// What is to be asked for an object, if it is an ApiServerSource.
    pub(crate) fn of(entry: &Entry, options: &Options) -> Option<Self> {
        if entry.key.kind != Kind::Source(SourceKind::ApiServer) {
            return None;
        }
        let spec = entry.valid.as_ref()?.object.get("spec")?;
        let home = entry.key.name.namespace();
        let account = spec["serviceAccountName"]
            .as_str()
            .filter(|name| !name.is_empty());
        let kind = |resource: &Value| {
            Some(TargetKind {
                api_version: resource["apiVersion"].as_str()?.to_owned(),
                kind: resource["kind"].as_str()?.to_owned(),
            })
        };
        let resources = spec["resources"].as_array().into_iter().flatten();
        Some(Self {
            account: ObjectName::new(home, account.unwrap_or(DEFAULT)),
            namespace: spec["namespaceSelector"].is_null().then(|| home.to_owned()),
            kinds: resources.filter_map(kind).collect(),
            is_local: !options.namespaces.is_empty(),
        })
    }

    /// Asks the API server.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub(crate) async fn ask(&self, client: &Client) -> Result<Verdict, Trouble> {
        if self.is_local && self.namespace.is_none() {
            let why = "Millrace serves some namespaces only (--watch-namespace), so a source reads its own: \
                       leave out `namespaceSelector`";
            return Ok(Err(why.to_owned()));
        }
        for kind in &self.kinds {
            let resource = match watch::look_up(client, kind).await {
                Err(Trouble::Missing) => {
                    let TargetKind { api_version, kind } = kind;
                    return Ok(Err(format!("this cluster has no {kind} of {api_version}")));
                }
                found => found?,
            };
            for verb in VERBS {
                if !self.may(client, verb, &resource).await? {
                    return Ok(Err(self.denied(verb, &resource)));
                }
            }
        }
        Ok(Ok(()))
    }

    async fn may(&self, client: &Client, verb: &str, resource: &ApiResource) -> Result<bool, Trouble> {
        let spec = self.spec(verb, resource);
        let params = PostParams::default();
        let answer = match self.namespace.as_deref().filter(|_| self.is_local) {
            Some(namespace) => {
                let metadata = ObjectMeta {
                    namespace: Some(namespace.to_owned()),
                    ..ObjectMeta::default()
                };
                let question = LocalSubjectAccessReview {
                    metadata,
                    spec,
                    ..LocalSubjectAccessReview::default()
                };
                let api: Api<LocalSubjectAccessReview> = Api::namespaced(client.clone(), namespace);
                api.create(&params, &question).await.map(|answer| answer.status)
            }
            None => {
                let question = SubjectAccessReview {
                    spec,
                    ..SubjectAccessReview::default()
                };
                let api: Api<SubjectAccessReview> = Api::all(client.clone());
                api.create(&params, &question).await.map(|answer| answer.status)
            }
        };
        let status = answer.map_err(|error| watch::of_client(&error).unwrap_or(Trouble::Missing))?;
        Ok(status.is_some_and(|status| status.allowed))
    }

    fn spec(&self, verb: &str, resource: &ApiResource) -> SubjectAccessReviewSpec {
        let (namespace, name) = (self.account.namespace(), self.account.name());
        SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{name}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                namespace: self.namespace.clone(),
                verb: Some(verb.to_owned()),
                group: Some(resource.group.clone()),
                resource: Some(resource.plural.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        }
    }

    fn denied(&self, verb: &str, resource: &ApiResource) -> String {
        let (home, account) = (self.account.namespace(), self.account.name());
        let group = match resource.group.as_str() {
            "" => String::new(),
            group => format!(".{group}"),
        };
        let plural = format!("{}{group}", resource.plural);
        let (place, role, binding, within) = match &self.namespace {
            Some(namespace) => (
                format!("in the namespace {namespace}"),
                "role",
                "rolebinding",
                format!(" -n {namespace}"),
            ),
            None => (
                "in all namespaces".to_owned(),
                "clusterrole",
                "clusterrolebinding",
                String::new(),
            ),
        };
        let name = format!("millrace-{account}-{}", resource.plural);
        format!(
            "the ServiceAccount {home}/{account} may not {verb} {plural} {place}. To permit it: \
             kubectl{within} create {role} {name} --verb=get,list,watch --resource={plural} && \
             kubectl{within} create {binding} {name} --{role}={name} --serviceaccount={home}:{account}"
        )
    }
}
