//! From files to the mesh: every document read, every problem noted, references looked up.
//!
//! # Contract
//! Either all documents are valid and there is a whole mesh, or there is none: nothing is served half. Problems are
//! in the order of the files. Nothing that a text says makes this panic, and its work is bounded
//! ([`MAX_DOCUMENTS`], [`crate::input::MAX_FILE_BYTES`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_model::{Mesh, Source, SourceKind, Trigger};

use crate::broker::{self, BrokerDocument};
use crate::delivery::DeliverySpec;
use crate::destination::{Destination, EVENTING_V1};
use crate::field::{Field, MAX_PROBLEMS, Object, Report};
use crate::input::Input;
use crate::metadata::{Metadata, title};
use crate::node::Node;
use crate::parse::{Document, Documents};
use crate::problem::{Code, Mark, Problem, Remark, shown};
use crate::secret::{self, Secrets};
use crate::source::{self, SOURCES_V1ALPHA1, SourceDocument};
use crate::suggest;
use crate::trigger::{self, TriggerDocument};

/// The most documents of all files together.
pub const MAX_DOCUMENTS: usize = 100_000;

/// Kinds that are used by others and say nothing by themselves.
const SILENT: &[(&str, &str)] = &[("v1", "ConfigMap")];
/// The kinds of ours, for suggestions.
const KINDS: &[&str] = &[
    "Broker",
    "Trigger",
    "GitWebhookSource",
    "CronSource",
    "KafkaSource",
    "ApiServerSource",
];

/// The groups of these kinds.
const OURS: &[&str] = &["eventing.knative.dev", "sources.millrace.dev"];

/// What came of the files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The mesh, with revision 0 (who publishes it counts); `None` when there are problems.
    pub mesh: Option<Mesh>,
    /// What is wrong, at most 1 000 of it.
    pub problems: Vec<Problem>,
    /// What the author should know.
    pub remarks: Vec<Remark>,
}

/// The kinds that the mesh is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Broker,
    Trigger,
    Source(SourceKind),
    Secret,
}

/// Where a document stands.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    at: Mark,
}

/// What has been read so far.
#[derive(Default)]
struct Loader {
    report: Report,
    documents: usize,
    file: Arc<str>,
    /// All names, also of documents with problems: what exists is not missing.
    names: BTreeMap<(Kind, ObjectName), Place>,
    brokers: BTreeMap<ObjectName, BrokerDocument>,
    triggers: Vec<(Arc<str>, TriggerDocument)>,
    sources: Vec<(Arc<str>, SourceDocument)>,
    secrets: Secrets,
}

/// Loads the documents of these inputs.
pub fn load(inputs: &[Input]) -> Loaded {
    let mut loader = Loader::default();
    for input in inputs {
        loader.input(input);
        if loader.report.is_full() {
            let message = format!("more than {MAX_PROBLEMS} problems; the rest is not listed");
            let problem = Problem::of_file(&input.file, Code::TooManyProblems, message);
            loader.report.problems.push(problem);
            break;
        }
    }
    loader.finish()
}

// === impl Loader ===

impl Loader {
    fn input(&mut self, input: &Input) {
        self.file = input.file.as_str().into();
        self.report.file.clone_from(&input.file);
        for document in Documents::new(&input.text) {
            self.report.document = None;
            match document {
                Ok(document) => self.document(&document),
                Err(fault) => self.report.problem(fault.at, "", fault.code, fault.message),
            }
            if self.report.is_full() || self.documents > MAX_DOCUMENTS {
                break;
            }
        }
        self.report.document = None;
    }

    fn document(&mut self, document: &Document) {
        if document.root.is_null() {
            return;
        }
        if let Some(kind) = document.root.get("kind").and_then(Node::text) {
            self.report.document = Some(title(kind, &document.root));
        }
        for fault in &document.faults {
            self.report
                .problem(fault.at, "", fault.code, fault.message.clone());
        }
        self.resource(&document.root, "");
    }

    /// One resource, or a List of them.
    fn resource(&mut self, root: &Node, path: &str) {
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS {
            if self.documents == MAX_DOCUMENTS + 1 {
                let message = format!("there may be {MAX_DOCUMENTS} documents, and not more");
                self.report.problem(root.at, "", Code::TooManyDocuments, message);
            }
            return;
        }
        let field = Field {
            node: root,
            path: path.to_owned(),
        };
        let Some(mut object) = field.object(&mut self.report) else {
            return;
        };
        let version = object
            .require("apiVersion", &mut self.report)
            .and_then(|f| f.text(&mut self.report));
        let kind = object
            .require("kind", &mut self.report)
            .and_then(|f| f.text(&mut self.report));
        let (Some(version), Some(kind)) = (version, kind) else {
            return;
        };
        match (version, kind) {
            (EVENTING_V1, "Broker") => self.known(Kind::Broker, root, object),
            (EVENTING_V1, "Trigger") => self.known(Kind::Trigger, root, object),
            ("v1", "Secret") => self.known(Kind::Secret, root, object),
            ("v1", "List") if path.is_empty() => self.items(&mut object),
            (version, "Broker" | "Trigger") if version.starts_with("eventing.knative.dev") => {
                let message = format!("there is no {kind} of {}; write {EVENTING_V1}", shown(version));
                let at = root.get("apiVersion").map_or(root.at, |node| node.at);
                self.report.problem(
                    at,
                    &object.path_of("apiVersion"),
                    Code::UnsupportedVersion,
                    message,
                );
            }
            other if SILENT.contains(&other) => {}
            (version, other) => match source::kind(other).filter(|_| version == SOURCES_V1ALPHA1) {
                Some(kind) => self.known(Kind::Source(kind), root, object),
                None => self.skip(root, version, other),
            },
        }
    }

    fn items(&mut self, list: &mut Object<'_>) {
        let Some(items) = list.take("items").and_then(|field| field.list(&mut self.report)) else {
            return;
        };
        for item in items {
            self.report.document = item
                .node
                .get("kind")
                .and_then(Node::text)
                .map(|kind| title(kind, item.node));
            self.resource(item.node, &item.path);
            if self.report.is_full() || self.documents > MAX_DOCUMENTS {
                break;
            }
        }
    }

    fn skip(&mut self, root: &Node, version: &str, kind: &str) {
        let mut message = format!(
            "a {} of {} is nothing that Millrace serves: skipped",
            shown(kind),
            shown(version)
        );
        if let Some(near) = suggest::nearest(kind, KINDS)
            && OURS.iter().any(|group| version.starts_with(group))
        {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        self.report.remark(root.at, "", message);
    }

    /// A document of a kind of ours.
    fn known(&mut self, kind: Kind, root: &Node, mut object: Object<'_>) {
        let before = self.report.problems.len();
        let metadata = Metadata::read(&mut object, &mut self.report);
        let name = metadata.name.clone();
        let _set_by_the_controller = object.take("status");
        if let Some(name) = &name {
            self.register(kind, name, root.at);
        }
        match kind {
            Kind::Broker => {
                let read = broker::read(name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.brokers.insert(document.broker.name.clone(), document);
                }
            }
            Kind::Trigger => {
                let read = trigger::read(name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.triggers.push((Arc::clone(&self.file), document));
                }
            }
            Kind::Source(kind) => {
                let read = source::read(kind, name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.sources.push((Arc::clone(&self.file), document));
                }
            }
            Kind::Secret => {
                // Other fields of a Secret are Kubernetes' business.
                let entries = secret::entries(&mut object, &mut self.report);
                if let Some(name) = name {
                    self.secrets.insert(name, entries);
                }
            }
        }
    }

    fn register(&mut self, kind: Kind, name: &ObjectName, at: Mark) {
        let place = Place {
            file: Arc::clone(&self.file),
            at,
        };
        match self.names.entry((kind, name.clone())) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(place);
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                let Place { file, at: first } = entry.get();
                let message = format!("{kind} {name} is here twice, first in {file}:{}", first.line);
                self.report
                    .problem(at, "metadata.name", Code::DuplicateDocument, message);
            }
        }
    }

    fn finish(mut self) -> Loaded {
        let triggers = std::mem::take(&mut self.triggers);
        let mut mesh = Mesh::default();
        for (file, document) in triggers {
            self.report.file = file.as_ref().to_owned();
            self.report.document = Some(format!("Trigger {}", document.name));
            let trigger = self.trigger(document);
            mesh.triggers.insert(trigger.name.clone(), Arc::new(trigger));
        }
        for (file, document) in std::mem::take(&mut self.sources) {
            self.report.file = file.as_ref().to_owned();
            let source = self.source(document);
            mesh.sources.insert(source.key(), Arc::new(source));
        }
        for (name, document) in std::mem::take(&mut self.brokers) {
            if let Some(place) = self.names.get(&(Kind::Broker, name.clone())) {
                self.report.file = place.file.as_ref().to_owned();
            }
            self.report.document = Some(format!("Broker {name}"));
            self.remark_on_sink(&document.delivery);
            mesh.brokers.insert(name, Arc::new(document.broker));
        }
        let Report {
            problems, remarks, ..
        } = self.report;
        Loaded {
            mesh: problems.is_empty().then_some(mesh),
            problems,
            remarks,
        }
    }

    /// Looks up what a Trigger refers to, and remarks on what is not there.
    fn trigger(&mut self, document: TriggerDocument) -> Trigger {
        if !self.exists(&document.broker) {
            let message = format!(
                "there is no Broker {} in these files; the Trigger waits for it",
                document.broker
            );
            self.report.remark(document.broker_at, "spec.broker", message);
        }
        let subscriber = self.resolve(&document.subscriber);
        if let Err(why) = &subscriber {
            let message = format!("the Trigger is not ready: {why}");
            self.report
                .remark(document.subscriber_at, "spec.subscriber", message);
        }
        let broker = self.brokers.get(&document.broker).map(|broker| &broker.delivery);
        let dead_letter = document
            .delivery
            .dead_letter(broker)
            .map(|sink| self.resolve(&sink.destination));
        let delivery = document.delivery.policy(broker);
        self.remark_on_sink(&document.delivery);
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
    fn source(&mut self, document: SourceDocument) -> Source {
        let spec = (document.spec)(&mut self.secrets);
        self.report.document = Some(format!("{} {}", spec.kind(), document.name));
        for why in std::mem::take(&mut self.secrets.missing) {
            self.report
                .remark(document.sink_at, "spec", format!("a secret is missing: {why}"));
        }
        let sink = match &document.sink {
            Some(destination) => self.resolve(destination),
            None => Err("it has no `sink`".to_owned()),
        };
        if let Err(why) = &sink {
            let message = format!("the source does not run: {why}");
            self.report.remark(document.sink_at, "spec.sink", message);
        }
        Source {
            name: document.name,
            sink,
            overrides: document.overrides,
            spec,
        }
    }

    fn remark_on_sink(&mut self, delivery: &DeliverySpec) {
        if let Some(sink) = &delivery.dead_letter
            && let Err(why) = self.resolve(&sink.destination)
        {
            let message = format!("dead letters are parked: {why}");
            self.report
                .remark(sink.at, "spec.delivery.deadLetterSink", message);
        }
    }

    fn resolve(&self, destination: &Destination) -> Result<millrace_model::Target, String> {
        destination.resolve(|name| self.exists(name))
    }

    fn exists(&self, broker: &ObjectName) -> bool {
        self.names.contains_key(&(Kind::Broker, broker.clone()))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broker => f.write_str("Broker"),
            Self::Trigger => f.write_str("Trigger"),
            Self::Secret => f.write_str("Secret"),
            Self::Source(kind) => kind.fmt(f),
        }
    }
}

/// Reads one text by itself, as fuzzing does: no panic, whatever it is.
pub fn load_text(text: &str) -> Loaded {
    load(&[Input {
        file: "-".to_owned(),
        text: text.to_owned(),
    }])
}
