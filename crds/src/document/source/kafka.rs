//! What only a KafkaSource has. Names of fields are those of Knative's kind.

use millrace_event::ObjectName;
use millrace_model::source::{InitialOffset, Kafka, KeyType, Ordering, Patience};

use crate::document::delivery::{DeliverySpec, choice};
use crate::document::kafka_net;
use crate::document::metadata::Metadata;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::tree::Shape;

/// Knative's label for the type of the keys.
const KEY_TYPE: &str = "kafkasources.sources.knative.dev/key-type";
/// The longest name of a topic, by Kafka's own rule.
pub(crate) const MAX_TOPIC: usize = 249;
/// The most servers, and the most topics, that one document names.
pub(crate) const MAX_NAMES: usize = 1_000;
/// The longest name of a group, and the longest pattern, in bytes.
pub(crate) const MAX_TEXT: usize = 1_000;

/// Reads what is left of the `spec`.
pub(super) fn read(
    spec: &mut Object<'_>,
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    report: &mut Report,
) -> Option<super::Spec> {
    let name = name?;
    let bootstrap_servers = spec
        .require("bootstrapServers", report)
        .map(|field| names(&field, address, report));
    let topics = spec.take("topics").map(|field| names(&field, topic, report));
    let topic_pattern = spec
        .take("topicPattern")
        .and_then(|field| pattern(&field, report));
    if topics.as_ref().is_none_or(Vec::is_empty) && topic_pattern.is_none() {
        let message = "a KafkaSource reads `topics`, or what matches `topicPattern`, or both";
        report.problem(spec.at(), &spec.path_of("topics"), Code::MissingField, message);
    }
    let group = spec
        .take("consumerGroup")
        .and_then(|field| bounded(&field, report));
    let initial_offset = spec.take("initialOffset");
    let ordering = spec.take("ordering");
    one_consumer(spec, report);
    // Every field is taken before the first that is missing ends this: else `close` would not know it.
    let key_type = key_type(spec, metadata, report);
    let delivery = delivery(spec, name, report);
    let net = kafka_net::read(spec, name.namespace(), report);
    let kafka = Kafka {
        bootstrap_servers: bootstrap_servers?,
        topics: topics.unwrap_or_default(),
        topic_pattern: topic_pattern.map(str::to_owned),
        // A namespace has no dot in it, so this is the group of no other source.
        group: group.map_or_else(
            || format!("millrace.{}.{}", name.namespace(), name.name()),
            str::to_owned,
        ),
        initial_offset: choice(initial_offset, OFFSETS, report).unwrap_or_default(),
        ordering: choice(ordering, ORDERINGS, report).unwrap_or_default(),
        key_type: key_type.unwrap_or_default(),
        tls: None,
        login: None,
        delivery,
    };
    Some(super::Spec::Kafka(Box::new(kafka), Box::new(net)))
}

/// What `initialOffset` may be.
pub(crate) const OFFSETS: &[(&str, InitialOffset)] = &[
    ("earliest", InitialOffset::Earliest),
    ("latest", InitialOffset::Latest),
];
/// What `ordering` may be.
pub(crate) const ORDERINGS: &[(&str, Ordering)] =
    &[("ordered", Ordering::Ordered), ("unordered", Ordering::Unordered)];
/// What `keyType` may be.
pub(crate) const KEY_TYPES: &[(&str, KeyType)] = &[
    ("string", KeyType::Text),
    ("int", KeyType::Int),
    ("float", KeyType::Float),
    ("byte-array", KeyType::Bytes),
];

/// `keyType`, or Knative's label.
fn key_type(spec: &mut Object<'_>, metadata: &Metadata<'_>, report: &mut Report) -> Option<KeyType> {
    let label = metadata.label(KEY_TYPE, report);
    let field = spec.take("keyType");
    if let (Some(_), Some(label)) = (&field, &label) {
        let message = "the label and the field `keyType` say the same; write one of them";
        label.refuse(report, Code::ConflictingFields, message);
    }
    choice(field.or(label), KEY_TYPES, report)
}

/// Knative's `consumers` is the number of pods.
fn one_consumer(spec: &mut Object<'_>, report: &mut Report) {
    let Some(field) = spec.take("consumers") else {
        return;
    };
    if field
        .whole(report, 0..=u32::from(u16::MAX))
        .is_some_and(|many| many != 1)
    {
        let message = "a process is one consumer of the group; for more, run more processes";
        field.refuse(report, Code::NotSupported, message);
    }
}

/// The parts of Knative's delivery spec that a source can honour.
fn delivery(spec: &mut Object<'_>, name: &ObjectName, report: &mut Report) -> Option<Patience> {
    let written = DeliverySpec::read(spec, name.namespace(), report);
    if let Some(sink) = &written.dead_letter {
        let path = format!("{}.deadLetterSink", spec.path_of("delivery"));
        let message =
            "a source has no dead-letter sink: give it a Broker as its sink, whose Triggers have one";
        report.problem(sink.at, &path, Code::NotSupported, message);
    }
    (written != DeliverySpec::default()).then(|| Patience {
        policy: written.policy(None),
        retry: written.retry,
    })
}

/// A list of texts that is not empty.
pub(crate) fn names(
    field: &Field<'_>,
    is_good: fn(&Field<'_>, &str, &mut Report),
    report: &mut Report,
) -> Vec<String> {
    let items = field.list(report).unwrap_or_default();
    if items.len() > MAX_NAMES {
        field.refuse(
            report,
            Code::OutOfRange,
            format!("there may be {MAX_NAMES} of them"),
        );
        return Vec::new();
    }
    if items.is_empty() && matches!(field.node.shape, Shape::List(_)) {
        field.refuse(report, Code::MissingField, "the list is empty");
    }
    let mut names = Vec::new();
    for item in items {
        if let Some(text) = item.text(report) {
            is_good(&item, text, report);
            names.push(text.to_owned());
        }
    }
    names
}

/// `host:port`; an IPv6 address is in brackets.
pub(crate) fn address(field: &Field<'_>, text: &str, report: &mut Report) {
    let is_host = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    if !text
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && is_port(port))
    {
        let message = format!("`{}` is not `host:port`", shown(text));
        field.refuse(report, Code::BadAddress, message);
    }
}

/// The name of a topic, by Kafka's own rule.
pub(crate) fn topic(field: &Field<'_>, text: &str, report: &mut Report) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.starts_with('^') {
        let message = "a pattern of names goes into `topicPattern`";
        field.refuse(report, Code::BadTopic, message);
    } else if matches!(text, "" | "." | "..") || text.len() > MAX_TOPIC || !text.bytes().all(good) {
        let message = format!(
            "`{}` is not the name of a topic: up to {MAX_TOPIC} letters, digits, dots, underscores and hyphens",
            shown(text)
        );
        field.refuse(report, Code::BadTopic, message);
    }
}

/// A regular expression that names of topics are matched with.
fn pattern<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = bounded(field, report)?;
    if !text.starts_with('^') {
        let message = "a pattern begins with `^`, as in `^orders-.*`";
        field.refuse(report, Code::BadTopic, message);
    } else if regex::Regex::new(text).is_err() {
        // Which topics it means is also asked here, to know those that are new.
        let message = format!(
            "`{}` is not a supported regular expression; look-around and backreferences cannot be used",
            shown(text)
        );
        field.refuse(report, Code::BadTopic, message);
    }
    Some(text)
}

/// A text that is neither empty nor longer than anybody needs.
fn bounded<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        let message = format!("1 to {MAX_TEXT} bytes are expected, without control characters");
        field.refuse(report, Code::OutOfRange, message);
    }
    Some(text)
}
