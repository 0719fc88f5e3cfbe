//! KafkaSource, and what every kind that talks to Kafka has.

use super::{SINK_URI, bound, secret_key, source};
use crate::definition::parts::{NAME, delivery};
use crate::definition::rule::{Part, Rule};
use crate::definition::schema::{Schema, needed, optional, words};
use crate::definition::{Column, Definition};
use crate::document::source::kafka::{KEY_TYPES, MAX_NAMES, MAX_TEXT, MAX_TOPIC, OFFSETS, ORDERINGS};

/// `KafkaSource`.
pub(super) fn definition() -> Definition {
    let topics = "The topics that are read.";
    let pattern = "A regular expression, which begins with ^, of further topics that are read.";
    let group = "The consumer group. The default is made of namespace and name.";
    let offset = "Where partitions begin that are there already. The default is latest.";
    let ordering = "Whether the records of a partition follow one another. The default is ordered.";
    let keys = "The type of keys. The default is string.";
    let fields = vec![
        needed("bootstrapServers", bootstrap_servers()),
        optional(
            "topics",
            Schema::list(topics, topic("A topic."), 0, bound(MAX_NAMES)),
        ),
        optional("topicPattern", Schema::string(pattern, bound(MAX_TEXT))),
        optional("consumerGroup", Schema::string(group, bound(MAX_TEXT))),
        optional("initialOffset", Schema::word(offset, words(OFFSETS))),
        optional("ordering", Schema::word(ordering, words(ORDERINGS))),
        optional("keyType", Schema::word(keys, words(KEY_TYPES))),
        optional(
            "consumers",
            Schema::whole("The consumers. This version has 1.", 0, u16::MAX.into()),
        ),
        optional(
            "delivery",
            delivery("How events are tried again at a sink that is a URL.", false),
        ),
        optional("net", net()),
    ];
    let mut definition = source(
        "KafkaSource",
        "A KafkaSource makes an event of each record of topics of Kafka.",
        &[
            SINK_URI,
            Column {
                name: "Topics",
                path: ".spec.topics",
                is_wide: true,
            },
        ],
        fields,
        Vec::new(),
    );
    let read = vec![Part::NotEmpty("topics"), Part::Filled("topicPattern")];
    definition.spec = definition
        .spec
        .rule(Rule::at_least_one(read, "missing field(s): spec.topics").required("topics"));
    definition
}

/// `bootstrapServers` of what talks to Kafka.
pub(crate) fn bootstrap_servers() -> Schema {
    let server = Schema::string("A server, as host:port.", NAME + 6).rule(Rule::matches(
        r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        "host:port is expected",
    ));
    Schema::list("The servers of Kafka to ask first.", server, 1, bound(MAX_NAMES))
}

/// The name of a topic.
pub(crate) fn topic(says: &str) -> Schema {
    Schema::string(says, bound(MAX_TOPIC)).rule(Rule::matches(
        "^[A-Za-z0-9._-]+$",
        "the name of a topic has letters, digits, dots, underscores and hyphens",
    ))
}

/// `net` of what talks to Kafka: encryption and login.
pub(crate) fn net() -> Schema {
    let tls = vec![
        needed("enable", Schema::truth("Whether connections are encrypted.")),
        optional(
            "caCert",
            secret_key("The authorities, in PEM. The default are the system's."),
        ),
        optional(
            "cert",
            secret_key("Our certificate, in PEM; together with `key`."),
        ),
        optional("key", secret_key("The key of our certificate, in PEM.")),
    ];
    let mechanism = "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or {secretKeyRef: {name, key}} of a Secret that says it. \
                     The default is PLAIN.";
    let user = "The name of the user, or {secretKeyRef: {name, key}} of a Secret that has it.";
    let sasl = vec![
        needed("enable", Schema::truth("Whether connections log in.")),
        optional("type", Schema::anything(mechanism)),
        optional("user", Schema::anything(user)),
        optional("password", secret_key("The password.")),
    ];
    let fields = vec![
        optional("tls", Schema::object("Encryption.", tls)),
        optional("sasl", Schema::object("Login.", sasl)),
    ];
    Schema::object("Encryption and login.", fields)
}
