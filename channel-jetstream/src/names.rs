//! What streams and subjects are called. People read these names, and other programs publish to them.

use millrace_event::ObjectName;

/// The names of one Broker's streams and subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The Broker, as the streams' metadata have it.
    pub(crate) broker: String,
    /// The stream of the events.
    pub(crate) events: String,
    /// The stream of the state.
    pub(crate) state: String,
    prefix: String,
}

// === impl Names ===

impl Names {
    pub(crate) fn of(mesh: &str, broker: &ObjectName) -> Self {
        // Names of streams and tokens of subjects have no dots; names in Kubernetes have no underscores.
        let [mesh, namespace, name] =
            [mesh, broker.namespace(), broker.name()].map(|part| part.replace('.', "_"));
        Self {
            broker: broker.to_string(),
            events: format!("{mesh}-{namespace}-{name}"),
            state: format!("{mesh}-{namespace}-{name}-state"),
            prefix: format!("{mesh}.{namespace}.{name}"),
        }
    }

    /// Where we publish events of a partition, and where all of them are stored.
    pub(crate) fn partition(&self, partition: u32) -> String {
        format!("{}.p.{partition}", self.prefix)
    }

    /// Where others publish events: with a key of theirs behind it.
    pub(crate) fn intake(&self) -> String {
        format!("{}.in.*", self.prefix)
    }

    /// Where what is published to [`intake`](Self::intake) is stored.
    pub(crate) fn transformed(&self) -> String {
        format!("{}.p.{{{{partition(1,1)}}}}", self.prefix)
    }

    /// All subjects of the state.
    pub(crate) fn all_state(&self) -> String {
        format!("{}.state.>", self.prefix)
    }

    /// What the subjects of a partition's state begin with.
    pub(crate) fn state_prefix(&self, partition: u32) -> String {
        format!("{}.state.{partition}.", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_broker_and_have_no_dots_of_its_own() {
        let names = Names::of("millrace", &ObjectName::new("shop.eu", "default"));
        assert_eq!(names.events, "millrace-shop_eu-default");
        assert_eq!(names.partition(0), "millrace.shop_eu.default.p.0");
        assert_eq!(
            names.transformed(),
            "millrace.shop_eu.default.p.{{partition(1,1)}}"
        );
        assert_eq!(names.state_prefix(0), "millrace.shop_eu.default.state.0.");
    }
}
