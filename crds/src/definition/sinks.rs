//! KafkaSink, with the names that Knative's kind has.

use super::parts::status;
use super::schema::{Schema, needed, optional, words};
use super::sources::{bootstrap_servers, net, topic};
use super::{Column, Definition, SINK};
use crate::document::kafka_sink::MODES;

/// `KafkaSink`.
pub(super) fn kafka() -> Definition {
    let mode = "How events become records: binary has attributes as headers, structured has all in the value. The \
                default is binary.";
    let spec = vec![
        needed("topic", topic("The topic that events are written to.")),
        needed("bootstrapServers", bootstrap_servers()),
        optional("contentMode", Schema::word(mode, words(MODES))),
        optional("net", net()),
    ];
    Definition {
        group: "sinks.millrace.dev",
        version: "v1alpha1",
        kind: "KafkaSink",
        says: "A KafkaSink writes events to a topic of Kafka.",
        categories: &["all", "knative", "eventing", "sinks"],
        labels: &[SINK],
        columns: &[Column {
            name: "Topic",
            path: ".spec.topic",
            is_wide: false,
        }],
        selectable: &[],
        spec: Schema::object("What the sink is to do.", spec),
        needs_spec: true,
        status: status("KafkaSink", Vec::new()),
    }
}
