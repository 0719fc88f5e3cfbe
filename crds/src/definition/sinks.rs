//! KafkaSink, with the names that Knative's kind has.

use super::parts::{addresses, unserved};
use super::schema::{Schema, needed, optional};
use super::sources::{bootstrap_servers, net, topic};
use super::{ADDRESS, ADDRESSABLE, Column, Definition, SINK};

/// `KafkaSink`.
pub(super) fn kafka() -> Definition {
    let mode = "How events become records: binary has attributes as headers, structured has all in the value. The \
                default is structured, as in Knative.";
    let partitions = "The partitions of the topic, where it is made. The default is the servers' own.";
    let replicas = "The replicas of the topic, where it is made. The default is the servers' own.";
    let spec = vec![
        needed("topic", topic("The topic that events are written to.")),
        needed("bootstrapServers", bootstrap_servers()),
        optional("contentMode", Schema::word(mode, vec!["structured", "binary"])),
        optional("numPartitions", Schema::whole(partitions, 1, 10_000)),
        optional("replicationFactor", Schema::whole(replicas, 1, 1_000)),
        optional("net", net()),
    ];
    Definition {
        group: "sinks.millrace.dev",
        version: "v1alpha1",
        kind: "KafkaSink",
        says: "A KafkaSink writes events to a topic of Kafka. This version stores it, and does not serve it yet.",
        categories: &["all", "knative", "eventing", "sinks"],
        labels: &[ADDRESSABLE, SINK],
        columns: &[
            ADDRESS,
            Column {
                name: "Topic",
                path: ".spec.topic",
                is_wide: true,
            },
        ],
        selectable: &[],
        spec: Schema::object("What the sink is to do.", spec),
        needs_spec: true,
        status: unserved("KafkaSink", addresses()),
    }
}
