//! What streams and subjects are called. People read these names, and other programs publish to them.

use millrace_event::ObjectName;

/// The names of one partition's streams and subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The Broker, as the streams' metadata have it.
    pub(crate) broker: String,
    /// The partition.
    pub(crate) partition: u32,
    /// How many the Broker has.
    pub(crate) partitions: u32,
    /// The stream of the events.
    pub(crate) events: String,
    /// The stream of the state.
    pub(crate) state: String,
    /// The stream that tells who owns which partition: one for all of them.
    pub(crate) owners: String,
    /// A stream of events that is there if the Broker was made with another number of partitions: with one,
    /// or with several.
    pub(crate) of_other_number: String,
    prefix: String,
}

// === impl Names ===

impl Names {
    pub(crate) fn of(mesh: &str, broker: &ObjectName, partition: u32, partitions: u32) -> Self {
        // Names of streams and tokens of subjects have no dots; names in Kubernetes have no underscores.
        let [mesh, namespace, name] =
            [mesh, broker.namespace(), broker.name()].map(|part| part.replace('.', "_"));
        let alone = format!("{mesh}-{namespace}-{name}");
        let one_of_several = |partition| format!("{alone}-p{partition}");
        let (events, of_other_number) = match partitions {
            1 => (alone.clone(), one_of_several(0)),
            _ => (one_of_several(partition), alone.clone()),
        };
        Self {
            broker: broker.to_string(),
            partition,
            partitions,
            state: format!("{events}-state"),
            owners: format!("{alone}-owners"),
            events,
            of_other_number,
            prefix: format!("{mesh}.{namespace}.{name}"),
        }
    }

    /// Where we publish events, and where all of them are stored.
    pub(crate) fn stored(&self) -> String {
        format!("{}.p.{}", self.prefix, self.partition)
    }

    /// Where others publish events, with a key of theirs behind it: partition 0 takes them, unless the
    /// servers map them to the others.
    pub(crate) fn intake(&self) -> Option<String> {
        (self.partition == 0).then(|| format!("{}.in.*", self.prefix))
    }

    /// Where what is published to [`intake`](Self::intake) is stored.
    pub(crate) fn transformed(&self) -> String {
        format!("{}.p.{{{{partition(1,1)}}}}", self.prefix)
    }

    /// All subjects of the state.
    pub(crate) fn all_state(&self) -> String {
        match self.partitions {
            1 => format!("{}.state.>", self.prefix),
            _ => format!("{}>", self.state_prefix()),
        }
    }

    /// Where the lanes of the state are.
    pub(crate) fn lanes(&self) -> String {
        format!("{}l.*", self.state_prefix())
    }

    /// Where a process says that it is there.
    pub(crate) fn member(&self, id: &str) -> String {
        format!("{}.owners.member.{id}", self.prefix)
    }

    /// Where the partition's owner says that it has it.
    pub(crate) fn lease(&self) -> String {
        format!("{}.owners.lease.{}", self.prefix, self.partition)
    }

    /// All subjects of members and leases.
    pub(crate) fn all_owners(&self) -> String {
        format!("{}.owners.>", self.prefix)
    }

    /// What a subject of [`all_owners`](Self::all_owners) is about: `member` or `lease`, and which.
    pub(crate) fn of_owners<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.strip_prefix(self.prefix.as_str())?;
        rest.strip_prefix(".owners.")?.split_once('.')
    }

    /// What the subjects of the state begin with.
    pub(crate) fn state_prefix(&self) -> String {
        format!("{}.state.{}.", self.prefix, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_broker_and_have_no_dots_of_its_own() {
        let names = Names::of("millrace", &ObjectName::new("shop.eu", "default"), 0, 1);
        assert_eq!(names.events, "millrace-shop_eu-default");
        assert_eq!(names.state, "millrace-shop_eu-default-state");
        assert_eq!(names.stored(), "millrace.shop_eu.default.p.0");
        assert_eq!(names.intake().as_deref(), Some("millrace.shop_eu.default.in.*"));
        assert_eq!(
            names.transformed(),
            "millrace.shop_eu.default.p.{{partition(1,1)}}"
        );
        assert_eq!(names.state_prefix(), "millrace.shop_eu.default.state.0.");
        assert_eq!(names.all_state(), "millrace.shop_eu.default.state.>");
    }

    #[test]
    fn each_of_several_partitions_has_streams_and_subjects_of_its_own() {
        let of = |partition, partitions| {
            Names::of(
                "millrace",
                &ObjectName::new("shop", "default"),
                partition,
                partitions,
            )
        };
        let names = of(3, 8);
        assert_eq!(names.events, "millrace-shop-default-p3");
        assert_eq!(names.state, "millrace-shop-default-p3-state");
        assert_eq!(names.stored(), "millrace.shop.default.p.3");
        assert_eq!(names.all_state(), "millrace.shop.default.state.3.>");
        assert_eq!(names.intake(), None);
        assert_eq!(
            (names.owners.as_str(), of(0, 1).owners.as_str()),
            ("millrace-shop-default-owners", "millrace-shop-default-owners")
        );
        assert_eq!(names.of_owners(&names.lease()), Some(("lease", "3")));
        assert_eq!(names.of_owners(&names.member("a")), Some(("member", "a")));
        assert_eq!(names.of_owners(&names.stored()), None);
        assert_eq!(names.of_other_number, of(0, 1).events);
        assert_eq!(of(0, 1).of_other_number, of(0, 8).events);
    }
}
