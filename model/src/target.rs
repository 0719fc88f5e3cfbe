//! Where a delivery goes.

use std::fmt;

use http::Uri;
use millrace_event::ObjectName;

/// A target of deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An absolute `http` or `https` URL.
    Http(Uri),
    /// A Broker of this mesh: through its intake, without HTTP.
    Broker(ObjectName),
}

impl fmt::Display for Target {
    /// The URL, or `broker:namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(uri) => write!(f, "{uri}"),
            Self::Broker(name) => write!(f, "broker:{name}"),
        }
    }
}
