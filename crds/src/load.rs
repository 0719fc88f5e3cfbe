//! From files to the mesh: every document read, every problem noted, and what was found put together.
//!
//! # Contract
//! Either all documents are valid and there is a whole mesh, or there is none: nothing is served half.
//! Problems are in the order of the files. Nothing that a text says makes this panic, and its work is bounded
//! ([`MAX_DOCUMENTS`], [`crate::input::MAX_FILE_BYTES`]).

use std::sync::Arc;

use millrace_model::Mesh;

use crate::broker;
use crate::field::{Field, MAX_PROBLEMS, Object, Report};
use crate::found::{Found, Kind};
use crate::input::Input;
use crate::metadata::{Metadata, title};
use crate::node::Node;
use crate::ours::{self, Standing};
use crate::parse::{Document, Documents, Fault};
use crate::problem::{Code, Problem, Remark, shown};
use crate::reference::Reference;
use crate::secret;
use crate::source;
use crate::trigger;

/// The most documents of all files together.
pub const MAX_DOCUMENTS: usize = 100_000;

/// Kinds of others that are skipped without a word.
const SILENT: &[(&str, &str)] = &[("v1", "ConfigMap")];

/// What came of the files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The mesh, with revision 0 (who publishes it counts); `None` when there are problems.
    pub mesh: Option<Mesh>,
    /// What is wrong, at most 1 000 of it.
    pub problems: Vec<Problem>,
    /// What the author should know.
    pub remarks: Vec<Remark>,
    /// What the documents name outside of themselves.
    pub references: Vec<Reference>,
}

/// What has been read so far.
#[derive(Default)]
struct Loader {
    report: Report,
    documents: usize,
    file: Arc<str>,
    found: Found,
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
        if let Some(why) = input.passed_over {
            self.report.remark_on_file(why);
            return;
        }
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
        let concerns = |fault: &&Fault| ours::concerns(&document.root, fault.at);
        let faults: Vec<&Fault> = document.faults.iter().filter(concerns).collect();
        let template = faults.iter().find(|fault| fault.code == Code::YamlTemplate);
        for fault in template.map_or(&faults[..], std::slice::from_ref) {
            self.report
                .problem(fault.at, "", fault.code, fault.message.clone());
        }
        if let Some(at) = document.cut.filter(|_| ours::may_be(&document.root)) {
            let message = format!(
                "this document has more than {MAX_PROBLEMS} faults of YAML: mend them, or keep what is not Millrace's \
                 in a document of its own"
            );
            self.report.problem(at, "", Code::TooManyProblems, message);
        }
        let hides = |fault: &&Fault| matches!(fault.code, Code::YamlTemplate | Code::YamlUnsupported);
        if faults.iter().any(hides) {
            // What its fields are is only known once that is mended.
            return;
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
        match ours::kind(version, kind) {
            Standing::Ours(kind) => self.known(kind, root, object),
            Standing::List if path.is_empty() => self.items(&mut object),
            Standing::OtherVersion(known) => {
                let message = format!("there is no {kind} of {}; write {known}", shown(version));
                let at = root.get("apiVersion").map_or(root.at, |node| node.at);
                let path = object.path_of("apiVersion");
                self.report.problem(at, &path, Code::UnsupportedVersion, message);
            }
            Standing::List | Standing::Foreign => self.skip(root, version, kind),
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
        if SILENT.contains(&(version, kind)) {
            return;
        }
        let mut message = format!(
            "skipped: Millrace does not use a {} of {}",
            shown(kind),
            shown(version)
        );
        if let Some(near) = ours::nearest(version, kind) {
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
            self.found.name(kind, name, &self.file, root.at, &mut self.report);
        }
        match kind {
            Kind::Broker => {
                let read = broker::read(name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.found.brokers.insert(document.broker.name.clone(), document);
                }
            }
            Kind::Trigger => {
                let read = trigger::read(name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.found.triggers.push((Arc::clone(&self.file), document));
                }
            }
            Kind::Source(kind) => {
                let read = source::read(kind, name.as_ref(), &metadata, &mut object, &mut self.report);
                object.close(&mut self.report);
                if let (Some(document), true) = (read, self.report.problems.len() == before) {
                    self.found.sources.push((Arc::clone(&self.file), document));
                }
            }
            Kind::Secret => {
                // Other fields of a Secret are Kubernetes' business.
                let entries = secret::entries(&mut object, &mut self.report);
                if let Some(name) = name {
                    self.found.secrets.insert(name, entries);
                }
            }
        }
    }

    fn finish(mut self) -> Loaded {
        let mesh = self.found.mesh(&mut self.report);
        let Report {
            problems,
            remarks,
            references,
            ..
        } = self.report;
        Loaded {
            mesh: problems.is_empty().then_some(mesh),
            problems,
            remarks,
            references,
        }
    }
}

/// Reads one text by itself, as fuzzing does: no panic, whatever it is.
pub fn load_text(text: &str) -> Loaded {
    load(&[Input {
        file: "-".to_owned(),
        text: text.to_owned(),
        passed_over: None,
    }])
}
