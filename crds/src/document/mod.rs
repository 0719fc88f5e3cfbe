//! One document by itself: its verdict, its name, and what it refers to. Nothing here depends on another
//! document.
//!
//! [`metadata`] reads the head, and a file for each kind ([`broker`], [`trigger`], [`event_policy`],
//! [`source`], [`kafka_sink`], [`secret`], [`config`]) the rest, with parts that several kinds have
//! ([`filters`], [`delivery`], [`destination`], [`kafka_net`]). [`kinds`] says which documents are Millrace's
//! own.

pub(crate) mod auth;
pub(crate) mod broker;
pub(crate) mod config;
pub(crate) mod delivery;
pub(crate) mod destination;
pub(crate) mod event_policy;
pub(crate) mod filters;
pub(crate) mod kafka_net;
pub(crate) mod kafka_sink;
pub(crate) mod kinds;
mod metadata;
pub(crate) mod secret;
pub(crate) mod source;
pub(crate) mod trigger;

use millrace_event::ObjectName;
use millrace_model::{Backend, JetStream, KafkaTopics};
use serde_json::Value;

use self::auth::{AuthRef, Word};
use self::broker::BrokerDocument;
use self::config::ConfigDocument;
use self::destination::Destination;
use self::event_policy::PolicyDocument;
use self::kafka_sink::KafkaSinkDocument;
use self::kinds::{Key, Kind, Whose};
use self::metadata::Metadata;
use self::secret::{Entries, SecretRef};
use self::source::SourceDocument;
use self::trigger::TriggerDocument;
use crate::definition::judge::both;
use crate::external::External;
use crate::field::{Field, Object};
use crate::problem::{Code, Mark, Problem, Remark, shown};
use crate::report::{Origin, Report};
use crate::resolve::Wanted;
use crate::tree::{self, Node};

/// Kinds of others that are skipped without a word.
const SILENT: &[(&str, &str)] = &[("v1", "ConfigMap")];

/// A document, valid or not.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it comes from.
    pub origin: Origin,
    /// Its kind and name; `None` when it is not of a kind of Millrace's, or has no valid name. Those of an
    /// object that is too large or too deep to be read are taken as they stand.
    pub key: Option<Key>,
    /// The uid that the cluster gave it; `None` from a file, where it may be a copy of another's.
    pub uid: Option<String>,
    /// The generation that the cluster counts; `None` from a file.
    pub generation: Option<i64>,
    /// What is wrong with it: at most 1 000 problems, or 20 of an object of a cluster. It is valid when there
    /// is nothing.
    pub problems: Vec<Problem>,
    /// What its author should know.
    pub remarks: Vec<Remark>,
    /// What it names outside of all documents.
    pub external: Vec<External>,
    /// Where it begins.
    pub(crate) at: Mark,
    /// What it says; `None` when it is invalid, or not of a kind of Millrace's.
    pub(crate) content: Option<Content>,
}

/// What a valid document of a kind of Millrace's says.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Broker(Box<BrokerDocument>),
    Trigger(Box<TriggerDocument>),
    EventPolicy(Box<PolicyDocument>),
    Source(Box<SourceDocument>),
    KafkaSink(Box<KafkaSinkDocument>),
    Secret(Entries),
    Config(Box<ConfigDocument>),
}

// === impl Document ===

impl Document {
    /// Reads an object as the API of Kubernetes gives it. What the cluster adds (`metadata.managedFields`,
    /// `status`) is passed over.
    pub fn of_object(object: &Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let uid = text("/metadata/uid").map(str::to_owned);
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let mut report = Report::new(Origin::Cluster, None);
        let read = match tree::tree(object) {
            Ok(root) => {
                report.title = metadata::title(&root);
                Self::read(&root, "", report)
            }
            Err(fault) => {
                report.problem(fault.at, "", fault.code, fault.message);
                Self {
                    key: key(object),
                    ..Self::unread(report)
                }
            }
        };
        Self {
            uid,
            generation,
            ..read
        }
    }

    /// Reads the document with that root, which stands at `path` of its file.
    pub(crate) fn read(root: &Node, path: &str, mut report: Report) -> Self {
        let field = Field {
            node: root,
            path: path.to_owned(),
        };
        let (key, content) = resource(&field, &mut report).unwrap_or_default();
        if matches!(report.origin, Origin::Manifest(_)) {
            both::add(root, &mut report);
        }
        Self {
            key,
            at: root.at,
            content: content.filter(|_| report.problems.is_empty()),
            ..Self::unread(report)
        }
    }

    /// A document of which no more is known than that report.
    pub(crate) fn unread(report: Report) -> Self {
        Self {
            origin: report.origin,
            key: None,
            uid: None,
            generation: None,
            problems: report.problems,
            remarks: report.remarks,
            external: report.external,
            at: Mark::NONE,
            content: None,
        }
    }

    /// Whether nothing is wrong with it.
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// Refuses it for something that was found out later.
    pub(crate) fn refuse(&mut self, path: &str, code: Code, message: String) {
        let title = self.key.as_ref().map(ToString::to_string);
        let mut report = Report::new(self.origin.clone(), title);
        report.problem(self.at, path, code, message);
        self.problems.append(&mut report.problems);
        self.content = None;
    }

    /// Whether it has a status: it is of a kind of ours, valid or not.
    pub(crate) fn has_status(&self) -> bool {
        matches!(&self.key, Some(key) if !matches!(key.kind, Kind::Secret | Kind::Config))
    }

    /// The resources where it sends events to, each as often as it does; also Brokers.
    pub fn wanted(&self) -> Vec<&Wanted> {
        let destinations = match &self.content {
            Some(Content::Broker(broker)) => vec![broker.delivery.own_sink()],
            Some(Content::Trigger(trigger)) => vec![Some(&trigger.subscriber), trigger.delivery.own_sink()],
            Some(Content::Source(source)) => vec![source.sink.as_ref()],
            Some(
                Content::EventPolicy(_) | Content::KafkaSink(_) | Content::Secret(_) | Content::Config(_),
            )
            | None => Vec::new(),
        };
        let destinations = destinations.into_iter().flatten();
        destinations.filter_map(Destination::wanted).collect()
    }

    /// The entries of Secrets that it refers to, each as often as it does: the Secret, and the name of the
    /// entry.
    pub fn secrets(&self) -> Vec<(&ObjectName, &str)> {
        match &self.content {
            Some(Content::Source(source)) => {
                let secrets = source.spec.secrets().into_iter();
                secrets
                    .chain(of_auth([&source.sink_auth]))
                    .filter_map(SecretRef::entry)
                    .collect()
            }
            Some(Content::Trigger(trigger)) => {
                let secrets = of_auth([&trigger.subscriber_auth, &trigger.dead_letter_auth]);
                secrets.filter_map(SecretRef::entry).collect()
            }
            Some(Content::Broker(broker)) => {
                let secrets = of_auth([&broker.dead_letter_auth]);
                secrets.filter_map(SecretRef::entry).collect()
            }
            Some(Content::KafkaSink(sink)) => {
                let secrets = sink.secrets().into_iter();
                secrets.filter_map(SecretRef::entry).collect()
            }
            Some(Content::Config(config)) => {
                let keys: &[&str] = match config.backend {
                    Backend::JetStream(_) => &JetStream::SECRETS,
                    Backend::Kafka(_) => &KafkaTopics::SECRETS,
                    Backend::Embedded | Backend::Unknown(_) => &[],
                };
                let secret = config.secret.iter();
                secret
                    .flat_map(|secret| keys.iter().map(move |key| (secret, *key)))
                    .collect()
            }
            Some(Content::EventPolicy(_) | Content::Secret(_)) | None => Vec::new(),
        }
    }

    /// The ConfigMap that says where a Broker's channel is kept.
    pub fn config(&self) -> Option<&ObjectName> {
        match &self.content {
            Some(Content::Broker(broker)) => {
                let config = broker.config.as_ref()?.as_ref().ok()?;
                Some(&config.name)
            }
            _ => None,
        }
    }
}

/// The secrets that deliveries show.
fn of_auth<const N: usize>(all: [&Option<AuthRef>; N]) -> impl Iterator<Item = &SecretRef> {
    let words = all.into_iter().flatten().flat_map(AuthRef::secrets);
    words.filter_map(Word::secret)
}

/// The kind and name of an object that is too large to be read, so that its status can say so.
fn key(object: &Value) -> Option<Key> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let Whose::Ours(kind) = kinds::kind(text("/apiVersion")?, text("/kind")?) else {
        return None;
    };
    let name = ObjectName::new(text("/metadata/namespace")?, text("/metadata/name")?);
    Some(Key { kind, name })
}

/// One resource: its kind and name as far as it has them, and what it says.
fn resource(field: &Field<'_>, report: &mut Report) -> Option<(Option<Key>, Option<Content>)> {
    let mut object = field.object(report)?;
    let version = object.require("apiVersion", report).and_then(|f| f.text(report));
    let kind = object.require("kind", report).and_then(|f| f.text(report));
    let (version, kind) = (version?, kind?);
    match kinds::kind(version, kind) {
        Whose::Foreign
            if (version, kind) == ("v1", "ConfigMap") && config::is_ours(field.node, &report.origin) =>
        {
            return Some(known(Kind::Config, object, report));
        }
        Whose::Ours(kind) => return Some(known(kind, object, report)),
        Whose::OtherVersion(known) => {
            let message = format!("there is no {kind} of {}; write {known}", shown(version));
            let at = field.node.get("apiVersion").map_or(field.node.at, |node| node.at);
            let path = object.path_of("apiVersion");
            report.problem(at, &path, Code::UnsupportedVersion, message);
        }
        Whose::List | Whose::Foreign => skip(field.node, version, kind, report),
    }
    None
}

/// A document of a kind of ours.
fn known(kind: Kind, mut object: Object<'_>, report: &mut Report) -> (Option<Key>, Option<Content>) {
    let metadata = Metadata::read(&mut object, report);
    let name = metadata.name.clone();
    let _set_by_the_controller = object.take("status");
    let content = match kind {
        Kind::Broker => broker::read(name.as_ref(), &metadata, &mut object, report)
            .map(|broker| Content::Broker(Box::new(broker))),
        Kind::Trigger => trigger::read(name.as_ref(), &metadata, &mut object, report)
            .map(|trigger| Content::Trigger(Box::new(trigger))),
        Kind::EventPolicy => event_policy::read(name.as_ref(), &metadata, &mut object, report)
            .map(|policy| Content::EventPolicy(Box::new(policy))),
        Kind::Source(kind) => source::read(kind, name.as_ref(), &metadata, &mut object, report)
            .map(|source| Content::Source(Box::new(source))),
        Kind::KafkaSink => kafka_sink::read(name.as_ref(), &metadata, &mut object, report)
            .map(|sink| Content::KafkaSink(Box::new(sink))),
        Kind::Secret => Some(Content::Secret(secret::entries(&mut object, report))),
        Kind::Config => config::read(name.as_ref(), &metadata, &mut object, report)
            .map(|config| Content::Config(Box::new(config))),
    };
    if kind != Kind::Secret {
        // Other fields of a Secret are Kubernetes' business.
        object.close(report);
    }
    (name.map(|name| Key { kind, name }), content)
}

/// A document of another kind.
fn skip(root: &Node, version: &str, kind: &str, report: &mut Report) {
    if SILENT.contains(&(version, kind)) {
        return;
    }
    let mut message = format!(
        "skipped: Millrace does not use a {} of {}",
        shown(kind),
        shown(version)
    );
    if let Some(near) = kinds::nearest(version, kind) {
        message.push_str(&format!("; did you mean `{near}`?"));
    }
    report.remark(root.at, "", message);
}

/// A report on a document of that origin, which is titled as its root says.
pub(crate) fn report(origin: Origin, root: &Node) -> Report {
    Report::new(origin, metadata::title(root))
}
