//! The documents of sources (`sources.millrace.dev/v1alpha1`): what all kinds share here, and a file for each
//! kind.

pub(crate) mod api_server;
pub(crate) mod cron;
pub(crate) mod git_webhook;
pub(crate) mod kafka;
pub(crate) mod selector;

use millrace_event::{Event, ObjectName, SpecVersion};
use millrace_model::source::{GitWebhook, Kafka};
use millrace_model::{Secret, SourceKind, SourceSpec};

use super::auth::{self, AuthRef};
use super::secret::SecretRef;
use crate::document::destination::Destination;
use crate::document::kafka_net::Net;
use crate::document::metadata::Metadata;
use crate::field::Object;
use crate::problem::{Code, Mark, shown};
use crate::report::Report;
use crate::tree::{Node, Shape};

/// The group and version of the kinds.
pub(crate) const SOURCES_V1ALPHA1: &str = "sources.millrace.dev/v1alpha1";
/// Our annotations of a source, without the prefix.
pub(crate) const ANNOTATIONS: &[&str] = &["sink-auth"];
/// Attributes that `ceOverrides` must not touch: the specification's own (Knative's source contract).
const CORE: &[&str] = &[
    "id",
    "source",
    "type",
    "specversion",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
];

/// A source as written.
#[derive(Clone, Debug)]
pub(crate) struct SourceDocument {
    pub(crate) name: ObjectName,
    /// `None`: the document names no sink, and one is given from outside (`K_SINK`) or the source does not
    /// run.
    pub(crate) sink: Option<Destination>,
    /// Where the document names its sink.
    pub(crate) sink_at: Mark,
    pub(crate) sink_auth: Option<AuthRef>,
    /// Where the document names its secrets, if it has a list of them.
    pub(crate) secrets_at: Vec<Mark>,
    pub(crate) overrides: Vec<(String, String)>,
    pub(crate) spec: Spec,
}

/// What only one kind has, before the secrets that it refers to are looked up.
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    /// It refers to no secret.
    Whole(SourceSpec),
    /// A GitWebhookSource without secrets, and its secrets.
    GitWebhook(Box<GitWebhook>, Vec<SecretRef>),
    /// A KafkaSource without encryption and login, and these.
    Kafka(Box<Kafka>, Box<Net>),
}

// === impl Spec ===

impl Spec {
    /// The secrets that it refers to.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::GitWebhook(_, secrets) => secrets.iter().collect(),
            Self::Kafka(_, net) => net.secrets(),
        }
    }

    /// The specification with its secrets, each as `find` finds it.
    pub(crate) fn with_secrets(&self, find: &mut dyn FnMut(&SecretRef) -> Secret) -> SourceSpec {
        match self {
            Self::Whole(spec) => spec.clone(),
            Self::GitWebhook(webhook, secrets) => SourceSpec::GitWebhook(Box::new(GitWebhook {
                secrets: secrets.iter().map(find).collect(),
                ..(**webhook).clone()
            })),
            Self::Kafka(kafka, net) => {
                let (tls, login) = net.with_secrets(find);
                SourceSpec::Kafka(Box::new(Kafka {
                    tls,
                    login,
                    ..(**kafka).clone()
                }))
            }
        }
    }
}

/// Reads the rest of a source's document whose head has been read. Whether it is valid, the report tells.
pub(crate) fn read(
    kind: SourceKind,
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<SourceDocument> {
    metadata.refuse_unknown(ANNOTATIONS, report);
    let spec = document.require("spec", report)?;
    let secrets_at = marks(spec.node.get("secrets"));
    let mut spec = spec.object(report)?;
    let namespace = name.map_or("", ObjectName::namespace);
    let sink = spec.take("sink");
    let sink_at = sink.as_ref().map_or(spec.at(), |field| field.node.at);
    let sink = sink.map(|field| Destination::read(&field, namespace, report));
    let sink_auth = auth::read(auth::SINK, metadata, namespace, report);
    let overrides = overrides(&mut spec, report);
    let read = match kind {
        SourceKind::GitWebhook => git_webhook::read(&mut spec, namespace, report),
        SourceKind::Cron => cron::read(&mut spec, report),
        SourceKind::Kafka => kafka::read(&mut spec, name, metadata, report),
        SourceKind::ApiServer => api_server::read(&mut spec, report),
    };
    spec.close(report);
    Some(SourceDocument {
        name: name?.clone(),
        sink: match sink {
            Some(read) => Some(read?),
            None => None,
        },
        sink_at,
        sink_auth,
        secrets_at,
        overrides,
        spec: read?,
    })
}

/// The places of a list's items.
fn marks(list: Option<&Node>) -> Vec<Mark> {
    match list.map(|list| &list.shape) {
        Some(Shape::List(items)) => items.iter().map(|item| item.at).collect(),
        Some(Shape::Scalar(_) | Shape::Map(_)) | None => Vec::new(),
    }
}

/// Whether `ceOverrides` may set an attribute of that name to that value.
///
/// # Errors
/// A sentence that says why not.
pub fn check_override(name: &str, value: &str) -> Result<(), String> {
    if CORE.contains(&name) {
        return Err("`ceOverrides` sets extensions, not the attributes of the specification".to_owned());
    }
    if !is_name(name) {
        return Err("an attribute's name has lower-case letters and digits".to_owned());
    }
    check_attribute(name, value)
}

/// Whether every event may have this attribute, as far as that can be known without the event.
fn check_attribute(name: &str, value: &str) -> Result<(), String> {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/")
        .attribute("type", "t")
        .attribute(name, value);
    event.build().map(|_| ()).map_err(|invalid| invalid.message)
}

/// `ceOverrides: {extensions: {name: text}}`.
fn overrides(spec: &mut Object<'_>, report: &mut Report) -> Vec<(String, String)> {
    let mut overrides = Vec::new();
    let Some(mut object) = spec.take("ceOverrides").and_then(|field| field.object(report)) else {
        return overrides;
    };
    if let Some(field) = object.take("extensions") {
        for entry in field.entries(report).unwrap_or_default() {
            let name = entry.key.text.as_str();
            let field = crate::field::Field {
                node: &entry.value,
                path: format!("{}.{}", field.path, shown(name)),
            };
            let Some(text) = field.text(report) else { continue };
            match check_override(name, text) {
                Ok(()) => overrides.push((name.to_owned(), text.to_owned())),
                Err(message) => field.refuse(report, Code::BadOverride, message),
            }
        }
    }
    object.close(report);
    overrides
}

/// Whether a text is an attribute's name.
fn is_name(name: &str) -> bool {
    let is_made_of = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    !name.is_empty() && name.len() <= 255 && name.bytes().all(is_made_of)
}
