//! Where a delivery goes.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use millrace_event::ObjectName;

use crate::{Authorities, KafkaSink};

/// A target of deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A URL.
    Http {
        /// An absolute `http` or `https` URL.
        uri: Uri,
        /// Who vouches for it, beside those whom the machine trusts (`CACerts`).
        authorities: Option<Authorities>,
    },
    /// A Broker of this mesh: through its intake, without HTTP.
    Broker(ObjectName),
    /// A topic of Kafka.
    Kafka(Arc<KafkaSink>),
}

// === impl Target ===

impl Target {
    /// A URL behind which nobody is trusted but those whom the machine trusts.
    pub fn http(uri: Uri) -> Self {
        let authorities = None;
        Self::Http { uri, authorities }
    }
}

impl fmt::Display for Target {
    /// The URL, or `broker:namespace/name`, or `kafkasink:namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { uri, .. } => write!(f, "{uri}"),
            Self::Broker(name) => write!(f, "broker:{name}"),
            Self::Kafka(sink) => write!(f, "kafkasink:{}", sink.name),
        }
    }
}
