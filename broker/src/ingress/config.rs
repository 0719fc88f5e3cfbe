//! How the ingress listens, and under which hosts it may be called.

use std::time::Duration;

use millrace_serve::{Address, Hosts, ServeOptions};

/// How the ingress listens. Inert data; the sizes of events and batches are [`crate::Limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressConfig {
    /// The hosts under which it may be called.
    pub hosts: HostRule,
    /// The bounds of connections and headers.
    pub serve: ServeOptions,
    /// How long a whole body may take to arrive; then 408. 30 s.
    pub body_timeout: Duration,
}

/// The hosts under which the ingress may be called. Whatever the rule, every request must name one valid
/// host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRule {
    /// Any host. Producers of a mesh call it by whatever name its operator gave it.
    #[default]
    Any,
    /// Its own address, `localhost` and these names.
    Named(Vec<String>),
    /// As `Named`, and `*.localhost` and `host.docker.internal`: for a laptop, where web pages run beside
    /// it.
    Laptop(Vec<String>),
}

// === impl IngressConfig ===

impl Default for IngressConfig {
    /// The configuration that Millrace ships.
    fn default() -> Self {
        Self {
            hosts: HostRule::Any,
            serve: ServeOptions::default(),
            body_timeout: Duration::from_secs(30),
        }
    }
}

// === impl HostRule ===

impl HostRule {
    pub(super) fn at(&self, own: &[Address]) -> Hosts {
        match self {
            Self::Any => Hosts::any(),
            Self::Named(names) => Hosts::own(own, names),
            Self::Laptop(names) => Hosts::own(own, names).with_local_names(),
        }
    }
}
