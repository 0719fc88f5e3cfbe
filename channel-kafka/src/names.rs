//! What topics, and what stands for us at the cluster, are called. People read these names, and other
//! programs write to the topic of the events.

use millrace_event::ObjectName;

/// The names of one Broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The topic of the events. Readers bear its name as their group, which has no members.
    pub(crate) events: String,
    /// The topic of the state.
    pub(crate) state: String,
}

// === impl Names ===

impl Names {
    pub(crate) fn of(mesh: &str, broker: &ObjectName) -> Self {
        // Parts are between dots; names in Kubernetes have no underscores.
        let [mesh, namespace, name] =
            [mesh, broker.namespace(), broker.name()].map(|part| part.replace('.', "_"));
        Self {
            events: format!("{mesh}.{namespace}.{name}"),
            state: format!("{mesh}.{namespace}.{name}.state"),
        }
    }

    /// The `transactional.id` of whoever owns a partition.
    pub(crate) fn owner_of(&self, partition: i32) -> String {
        format!("{}.{partition}", self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_broker_and_have_no_dots_of_its_own() {
        let names = Names::of("millrace", &ObjectName::new("shop.eu", "default"));
        assert_eq!(names.events, "millrace.shop_eu.default");
        assert_eq!(names.state, "millrace.shop_eu.default.state");
        assert_eq!(names.owner_of(0), "millrace.shop_eu.default.0");
    }
}
