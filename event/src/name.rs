//! The name of a resource: a namespace and a name in it. Brokers, triggers and sources all have one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `namespace/name` of a Broker, Trigger or source. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// What the audience of a Broker begins with, as Knative derives it; its name follows.
pub const BROKER_AUDIENCE: &str = "eventing.knative.dev/broker/";

/// The text is not of the form `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form namespace/name")]
pub struct NotAName(String);

// === impl ObjectName ===

impl ObjectName {
    /// A name of its two parts, taken as they are.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ObjectName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(NotAName(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_two_parts_and_reads_back_as_written() {
        let name: ObjectName = "shop/default".parse().unwrap();
        assert_eq!(
            (name.namespace(), name.name(), name.to_string().as_str()),
            ("shop", "default", "shop/default")
        );
        for text in ["", "/", "a/", "/b", "a", "a/b/c"] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }
}
