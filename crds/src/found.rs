//! Makes the mesh of the documents found. References are looked up, and missing targets are remarked on: they
//! may come later, so they are not problems.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_model::{Mesh, Source, SourceKind, SourceSpec, Target, Trigger};

use crate::broker::BrokerDocument;
use crate::delivery::DeliverySpec;
use crate::destination::Destination;
use crate::field::Report;
use crate::problem::{Code, Mark};
use crate::reference::Named;
use crate::secret::Secrets;
use crate::source::SourceDocument;
use crate::trigger::TriggerDocument;

/// The kinds that the mesh is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Broker,
    Trigger,
    Source(SourceKind),
    Secret,
}

/// What has been read so far.
#[derive(Default)]
pub(crate) struct Found {
    /// All names, also of documents with problems: what exists is not missing.
    names: BTreeMap<(Kind, ObjectName), Place>,
    pub(crate) brokers: BTreeMap<ObjectName, BrokerDocument>,
    pub(crate) triggers: Vec<(Arc<str>, TriggerDocument)>,
    pub(crate) sources: Vec<(Arc<str>, SourceDocument)>,
    pub(crate) secrets: Secrets,
}

/// Where a document stands.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    at: Mark,
}

// === impl Found ===

impl Found {
    /// Notes that there is a document of this name, valid or not; a second one is a problem.
    pub(crate) fn name(
        &mut self,
        kind: Kind,
        name: &ObjectName,
        file: &Arc<str>,
        at: Mark,
        report: &mut Report,
    ) {
        match self.names.entry((kind, name.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(Place {
                    file: Arc::clone(file),
                    at,
                });
            }
            Entry::Occupied(entry) => {
                let Place { file, at: first } = entry.get();
                let message = format!("{kind} {name} is here twice, first in {file}:{}", first.line);
                report.problem(at, "metadata.name", Code::DuplicateDocument, message);
            }
        }
    }

    /// The mesh of all that was found.
    pub(crate) fn mesh(mut self, report: &mut Report) -> Mesh {
        let mut mesh = Mesh::default();
        for (file, document) in std::mem::take(&mut self.triggers) {
            report.file = file.as_ref().to_owned();
            report.document = Some(format!("Trigger {}", document.name));
            let trigger = self.trigger(document, report);
            mesh.triggers.insert(trigger.name.clone(), Arc::new(trigger));
        }
        for (file, document) in std::mem::take(&mut self.sources) {
            report.file = file.as_ref().to_owned();
            let source = self.source(document, report);
            mesh.sources.insert(source.key(), Arc::new(source));
        }
        for (name, document) in std::mem::take(&mut self.brokers) {
            if let Some(place) = self.names.get(&(Kind::Broker, name.clone())) {
                report.file = place.file.as_ref().to_owned();
            }
            report.document = Some(format!("Broker {name}"));
            self.remark_on_sink(&document.delivery, &name, report);
            mesh.brokers.insert(name, Arc::new(document.broker));
        }
        mesh
    }

    /// Looks up what a Trigger refers to, and remarks on what is not there.
    fn trigger(&self, document: TriggerDocument, report: &mut Report) -> Trigger {
        if !self.exists(&document.broker) {
            let message = format!(
                "there is no Broker {} in these files; the Trigger waits for it",
                document.broker
            );
            report.remark(document.broker_at, "spec.broker", message);
        }
        let subscriber = self.resolve(&document.subscriber);
        if let Err(why) = &subscriber {
            let message = format!("the Trigger is not ready: {why}");
            report.remark(document.subscriber_at, "spec.subscriber", message);
        }
        let broker = self.brokers.get(&document.broker).map(|broker| &broker.delivery);
        let dead_letter = document
            .delivery
            .dead_letter(broker)
            .map(|sink| self.resolve(&sink.destination));
        let delivery = document.delivery.policy(broker);
        self.remark_on_sink(&document.delivery, &document.broker, report);
        Trigger {
            name: document.name,
            uid: None,
            broker: document.broker,
            filters: document.filters,
            compiled: document.compiled,
            subscriber,
            dead_letter,
            delivery,
            parallelism: document.parallelism,
            max_deferred: document.max_deferred,
            max_parked: document.max_parked,
        }
    }

    /// Looks up what a source refers to, and remarks on what is not there.
    fn source(&mut self, document: SourceDocument, report: &mut Report) -> Source {
        let spec = (document.spec)(&mut self.secrets);
        report.document = Some(format!("{} {}", spec.kind(), document.name));
        for why in std::mem::take(&mut self.secrets.missing) {
            report.remark(document.sink_at, "spec", format!("a secret is missing: {why}"));
        }
        if let SourceSpec::GitWebhook(webhook) = &spec {
            for (index, (secret, at)) in webhook.secrets.iter().zip(&document.secrets_at).enumerate() {
                let (forge, verification) = (webhook.forge, webhook.verification.clone());
                let named = Named::WebhookSecret(forge, verification, secret.clone());
                report.reference_at(*at, format!("spec.secrets[{index}]"), named);
            }
        }
        let sink = match &document.sink {
            Some(destination) => self.resolve(destination),
            None => Err("it has no `sink`".to_owned()),
        };
        if let Err(why) = &sink {
            let message = format!("the source does not run: {why}");
            report.remark(document.sink_at, "spec.sink", message);
        }
        Source {
            name: document.name,
            sink,
            overrides: document.overrides,
            spec,
        }
    }

    /// Remarks on a dead-letter sink that is not there, or that is the Broker itself.
    fn remark_on_sink(&self, delivery: &DeliverySpec, own: &ObjectName, report: &mut Report) {
        let Some(sink) = &delivery.dead_letter else {
            return;
        };
        let message = match self.resolve(&sink.destination) {
            Err(why) => format!("dead letters are parked: {why}"),
            Ok(Target::Broker(broker)) if broker == *own => format!(
                "dead letters go back to the Broker {own} itself: matching Triggers get them again, until the TTL ends"
            ),
            Ok(_) => return,
        };
        report.remark(sink.at, "spec.delivery.deadLetterSink", message);
    }

    fn resolve(&self, destination: &Destination) -> Result<Target, String> {
        destination.resolve(|name| self.exists(name))
    }

    fn exists(&self, broker: &ObjectName) -> bool {
        self.names.contains_key(&(Kind::Broker, broker.clone()))
    }
}

// === impl Kind ===

impl Kind {
    /// The kind as in documents.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Trigger => "Trigger",
            Self::Secret => "Secret",
            Self::Source(kind) => kind.as_str(),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
