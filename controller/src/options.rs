//! Which objects are served, and how they are shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use millrace_event::BROKER_AUDIENCE;
use millrace_model::event_policy::DefaultMode;
use millrace_model::{ObjectName, Reference};

use crate::kinds::CLASS;
use crate::public::Public;

/// What the controller is told. Inert data.
#[derive(Clone, Debug)]
pub struct Options {
    /// Also Brokers without a class are ours.
    pub default_class: bool,
    /// The namespaces that are watched; empty: all.
    pub namespaces: Vec<String>,
    /// Where producers reach the ingress.
    pub public: Public,
    /// The namespace in which Millrace itself is: its trust bundles count. `None`: that of the login.
    pub own_namespace: Option<String>,
    /// The domain of the cluster, as in `name.namespace.svc.<domain>`.
    pub cluster_domain: String,
    /// A Broker that is created where there is none; the first mesh waits for it.
    pub ensure_broker: Option<ObjectName>,
    /// References lead to no other namespace.
    pub same_namespace: bool,
    /// The ServiceAccounts whose tokens deliveries show, by their namespaces.
    pub accounts: BTreeMap<String, ObjectName>,
    /// Whether producers have to log in.
    pub authentication: Authentication,
    /// The folder where accepted documents are kept.
    pub kept: PathBuf,
}

/// What statuses say of the ingress that may change at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DoorsSaid {
    default_mode: Option<DefaultMode>,
    authorities: Option<String>,
}

/// Gives the default for Brokers without a policy, where producers have to log in.
#[derive(Clone)]
pub struct Authentication(pub Arc<dyn Fn() -> Option<DefaultMode> + Send + Sync>);

// === impl Authentication ===

impl Authentication {
    /// Nobody is asked.
    pub fn none() -> Self {
        Self(Arc::new(|| None))
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authentication").field(&(self.0)()).finish()
    }
}

// === impl Options ===

impl Options {
    /// Whether a Broker of this class is ours.
    pub(crate) fn is_ours(&self, class: Option<&str>) -> bool {
        match class {
            Some(class) => class == CLASS,
            None => self.default_class,
        }
    }

    /// Whether a document of a namespace may refer to that object.
    pub(crate) fn may_refer(&self, namespace: &str, reference: &Reference) -> bool {
        !self.same_namespace || reference.name.namespace() == namespace
    }

    /// What holds for Brokers without a policy; `None`: nobody is asked who they are.
    pub(crate) fn default_mode(&self) -> Option<DefaultMode> {
        (self.authentication.0)()
    }

    /// What statuses say of the ingress now.
    pub(crate) fn doors(&self) -> DoorsSaid {
        DoorsSaid {
            default_mode: self.default_mode(),
            authorities: self.public.authorities.now(),
        }
    }

    /// The audience of tokens for a Broker, where there are any.
    pub(crate) fn audience(&self, broker: &ObjectName) -> Option<String> {
        let mode = self.default_mode();
        mode.map(|_| format!("{BROKER_AUDIENCE}{broker}"))
    }

    /// Whether objects of a namespace are watched.
    pub(crate) fn watches(&self, namespace: Option<&str>) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|one| Some(one.as_str()) == namespace)
    }

    /// The scopes in which a kind is watched: each namespace, or the whole cluster.
    pub(crate) fn scopes(&self) -> Vec<Option<String>> {
        if self.namespaces.is_empty() {
            return vec![None];
        }
        self.namespaces.iter().cloned().map(Some).collect()
    }
}
