//! A ConfigMap that a Broker names: where its channel is kept. In files only one that has an entry `backend`
//! is Millrace's; any other is skipped without a word. In a cluster only those are read that Brokers name.

use millrace_event::ObjectName;
use millrace_model::{Backend, DurabilityWanted, JetStream, KafkaTopics, quantity};

use super::delivery::choose;
use super::metadata::{Metadata, subdomain};
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::{Origin, Report};
use crate::tree::Node;

/// The longest list of servers.
pub(crate) const MAX_SERVERS: usize = 100;
/// The least of `max-bytes`, and its part for each partition: some events of the largest size.
const LEAST_BYTES: u64 = 16 << 20;
const LEAST_OF_PARTITION: u64 = 4 << 20;
/// Entries by which ConfigMaps of Knative's own Brokers are known: of those on its channels, as it calls the
/// entry now and as it did, and of those on Kafka.
const KNATIVE: [&str; 3] = [
    "channel-template-spec",
    "channelTemplateSpec",
    "bootstrap.servers",
];

/// What the document says, before its Secret is looked up.
#[derive(Clone, Debug)]
pub(crate) struct ConfigDocument {
    /// The local disk where the ConfigMap is one of Knative's own Brokers.
    pub(crate) backend: Backend,
    /// The Secret of the same namespace.
    pub(crate) secret: Option<ObjectName>,
}

/// The kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    JetStream,
    Kafka,
}

/// Whether a ConfigMap with that root is Millrace's.
pub(crate) fn is_ours(root: &Node, origin: &Origin) -> bool {
    let backend = root.get("data").and_then(|data| data.get("backend"));
    backend.is_some() || *origin == Origin::Cluster
}

/// Reads the rest of the document. Whether it is valid, the report tells.
pub(crate) fn read(
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<ConfigDocument> {
    metadata.refuse_unknown(&[], report);
    let _immutable = document.take("immutable");
    let data = document.require("data", report)?;
    if is_knatives(data.node) {
        return Some(ConfigDocument {
            backend: Backend::Embedded,
            secret: None,
        });
    }
    let mut data = data.object(report)?;
    let field = data.require("backend", report)?;
    let words = [("jetstream", On::JetStream), ("kafka", On::Kafka)];
    let backend = match choose(&field, field.text(report)?, &words, report)? {
        On::JetStream => jetstream(&mut data, report).map(|on| Backend::JetStream(Box::new(on))),
        On::Kafka => kafka(&mut data, report).map(|on| Backend::Kafka(Box::new(on))),
    };
    let secret = data
        .take("auth-secret")
        .and_then(|field| subdomain(&field, report));
    data.close(report);
    let name = name?;
    Some(ConfigDocument {
        backend: backend?,
        secret: secret.map(|secret| ObjectName::new(name.namespace(), secret)),
    })
}

/// Whether that is the data of a ConfigMap of Knative's own Brokers. They moved here with their `config`.
fn is_knatives(data: &Node) -> bool {
    data.get("backend").is_none() && KNATIVE.iter().any(|entry| data.get(entry).is_some())
}

fn jetstream(data: &mut Object<'_>, report: &mut Report) -> Option<JetStream> {
    let servers = data.require("servers", report);
    let servers = servers.map(|field| servers_of(&field, On::JetStream, report));
    let partitions = number(data, "partitions", report);
    if let Some((field, number)) = &partitions
        && !(1..=JetStream::MAX_PARTITIONS).contains(number)
    {
        let message = format!("from 1 to {} partitions are expected", JetStream::MAX_PARTITIONS);
        field.refuse(report, Code::OutOfRange, message);
    }
    let replicas = replicas(data, report);
    let of_partitions = partitions.as_ref().map_or(1, |(_, number)| *number);
    let least = LEAST_BYTES.max(u64::from(of_partitions) * LEAST_OF_PARTITION);
    let max_bytes = data
        .take("max-bytes")
        .and_then(|field| bytes(&field, least, report));
    let durability = durability(data, report);
    Some(JetStream {
        servers: servers?,
        partitions: of_partitions,
        replicas,
        max_bytes: max_bytes.unwrap_or(JetStream::MAX_BYTES),
        durability,
        secrets: Default::default(),
        missing: None,
    })
}

fn kafka(data: &mut Object<'_>, report: &mut Report) -> Option<KafkaTopics> {
    let servers = data.require("servers", report);
    let servers = servers.map(|field| servers_of(&field, On::Kafka, report));
    if let Some((field, partitions)) = number(data, "partitions", report)
        && partitions != 1
    {
        let message = "a channel on Kafka has one partition for now: leave it out, or write \"1\"";
        field.refuse(report, Code::NotSupported, message);
    }
    let replicas = replicas(data, report);
    let durability = durability(data, report);
    let tls = data.take("tls").and_then(|field| {
        let words = [("true", true), ("false", false)];
        choose(&field, field.text(report)?, &words, report)
    });
    Some(KafkaTopics {
        servers: servers?,
        replicas,
        durability,
        tls: tls.unwrap_or(false),
        secrets: Default::default(),
        missing: None,
    })
}

fn replicas(data: &mut Object<'_>, report: &mut Report) -> u32 {
    let replicas = number(data, "replicas", report);
    if let Some((field, number)) = &replicas
        && !matches!(number, 1 | 3 | 5)
    {
        field.refuse(report, Code::OutOfRange, "1, 3 or 5 replicas are expected");
    }
    replicas.map_or(1, |(_, number)| number)
}

fn durability(data: &mut Object<'_>, report: &mut Report) -> Option<DurabilityWanted> {
    let field = data.take("durability")?;
    let words = [
        ("synced", DurabilityWanted::Synced),
        ("replicated", DurabilityWanted::Replicated),
        ("single-copy", DurabilityWanted::SingleCopy),
    ];
    choose(&field, field.text(report)?, &words, report)
}

/// Servers between commas.
fn servers_of(field: &Field<'_>, on: On, report: &mut Report) -> Vec<String> {
    let text = field.text(report).unwrap_or_default();
    let servers: Vec<String> = text.split(',').map(|server| server.trim().to_owned()).collect();
    if servers.len() > MAX_SERVERS {
        field.refuse(
            report,
            Code::OutOfRange,
            format!("there may be {MAX_SERVERS} of them"),
        );
    }
    for server in servers.iter().filter(|server| !is_server(server, on)) {
        let expected = match on {
            On::JetStream => "`nats://host:port` or `tls://host:port`",
            On::Kafka => "`host:port`",
        };
        // A login in a URL would be shown.
        let message = format!(
            "`{}` is not {expected}; a login goes into a Secret (`auth-secret`)",
            shown(server.split('@').next_back().unwrap_or_default())
        );
        field.refuse(report, Code::BadAddress, message);
    }
    servers
}

fn is_server(text: &str, on: On) -> bool {
    let rest = match on {
        On::JetStream => text
            .strip_prefix("nats://")
            .or_else(|| text.strip_prefix("tls://")),
        On::Kafka => {
            let port = text
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse::<u16>().ok());
            port.map(|_| text)
        }
    };
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(':')
            && rest.len() <= 512
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte))
    })
}

/// A whole number, which a ConfigMap has as a text.
fn number<'a>(data: &mut Object<'a>, name: &'static str, report: &mut Report) -> Option<(Field<'a>, u32)> {
    let field = data.take(name)?;
    let text = field.text(report)?;
    match text.parse() {
        Ok(number) => Some((field, number)),
        Err(_) => {
            field.refuse(
                report,
                Code::BadNumber,
                format!("`{}` is not a whole number", shown(text)),
            );
            None
        }
    }
}

fn bytes(field: &Field<'_>, least: u64, report: &mut Report) -> Option<u64> {
    match quantity::parse(field.text(report)?) {
        Ok(bytes) if bytes < least => {
            let message = format!("at least {}Mi is expected", least >> 20);
            field.refuse(report, Code::OutOfRange, message);
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) => {
            field.refuse(report, Code::BadNumber, error.to_string());
            None
        }
    }
}
