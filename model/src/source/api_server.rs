//! What an ApiServerSource does: an event for each change of Kubernetes objects.

use std::sync::Arc;

use millrace_filter::{Compiled, Filter};

use crate::NamedFile;

/// An event for each change of the objects of some kinds.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// How to reach the API server from outside of its cluster; `None`: from inside, as the pod's service
    /// account.
    pub kubeconfig: Option<NamedFile>,
    /// What the events carry.
    pub mode: ObjectMode,
    /// The kinds that are watched; at least one.
    pub resources: Vec<WatchedKind>,
    /// Where their objects lie. Kinds that know no namespaces are watched in any case.
    pub namespaces: Namespaces,
    /// Only objects whose controller is of this kind.
    pub owner: Option<ObjectKind>,
    /// Only events that pass these; empty: all.
    pub filters: Vec<Filter>,
    /// The filters ready to run.
    pub compiled: Arc<Compiled>,
    /// Whether what exists when a kind is first looked at is told as added.
    pub initial_list: bool,
}

/// What the events of objects carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectMode {
    /// The name of the object.
    #[default]
    Reference,
    /// The whole object.
    Resource,
}

/// A kind of objects as its documents name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKind {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `ConfigMap`.
    pub kind: String,
}

/// A kind that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKind {
    /// The kind.
    pub object: ObjectKind,
    /// A label selector in the form of Kubernetes' API (`a=b,c in (d,e)`); empty: all objects.
    pub selector: String,
}

/// Which namespaces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// That of the source.
    Own,
    /// All, at once.
    All,
    /// Those whose labels match, in the form of Kubernetes' API, each by itself.
    Matching(String),
}

/// Two are equal when they behave alike; the compiled filter follows from the written one.
impl PartialEq for ApiServer {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            kubeconfig,
            mode,
            resources,
            namespaces,
            owner,
            filters,
            compiled: _,
            initial_list,
        } = self;
        *kubeconfig == other.kubeconfig
            && *mode == other.mode
            && *resources == other.resources
            && *namespaces == other.namespaces
            && *owner == other.owner
            && *filters == other.filters
            && *initial_list == other.initial_list
    }
}
