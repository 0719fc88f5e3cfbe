//! The documents of files: each text is taken apart, and each document read by itself.
//!
//! # Contract
//! The documents are in the order of the files, together with what stands in their place where a text cannot
//! be taken apart: the problems are then a document without a name. A second document of the same kind and
//! name is invalid. Nothing that a text says makes this panic, and its work is bounded ([`MAX_DOCUMENTS`],
//! [`crate::input::MAX_FILE_BYTES`]): reading stops after 1 000 problems.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::document::kinds::{self, Key};
use crate::document::{self, Document};
use crate::field::Field;
use crate::input::Input;
use crate::problem::{Code, MAX_PROBLEMS, Mark};
use crate::report::{Origin, Report};
use crate::tree::{Malformed, Node, Tree, Trees};

/// The most documents of all files together.
pub const MAX_DOCUMENTS: usize = 100_000;

/// What has been read so far.
struct Reader {
    file: Arc<str>,
    /// What a document of that file is.
    origin: fn(Arc<str>) -> Origin,
    documents: Vec<Document>,
    /// The place of the first document of each name, valid or not.
    first: BTreeMap<Key, (Arc<str>, Mark)>,
    /// Documents, also those of others.
    count: usize,
    problems: usize,
}

/// Reads the documents of these inputs.
pub fn documents(inputs: &[Input]) -> Vec<Document> {
    of_origin(inputs, Origin::File)
}

/// Reads the documents of these inputs as objects of a cluster.
pub(crate) fn manifests(inputs: &[Input]) -> Vec<Document> {
    of_origin(inputs, Origin::Manifest)
}

fn of_origin(inputs: &[Input], origin: fn(Arc<str>) -> Origin) -> Vec<Document> {
    let mut reader = Reader {
        file: "".into(),
        origin,
        documents: Vec::new(),
        first: BTreeMap::new(),
        count: 0,
        problems: 0,
    };
    for input in inputs {
        reader.input(input);
        if reader.is_full() {
            break;
        }
    }
    reader.documents
}

// === impl Reader ===

impl Reader {
    fn input(&mut self, input: &Input) {
        self.file = input.file.as_str().into();
        if let Some(why) = input.passed_over {
            let mut report = self.report();
            report.remark(Mark::NONE, "", why);
            return self.put(Document::unread(report));
        }
        for tree in Trees::new(&input.text) {
            match tree {
                Ok(tree) => self.tree(&tree),
                Err(fault) => {
                    let mut report = self.report();
                    report.problem(fault.at, "", fault.code, fault.message);
                    self.put(Document::unread(report));
                }
            }
            if self.is_full() {
                break;
            }
        }
    }

    /// A report on what has no name.
    fn report(&self) -> Report {
        Report::new((self.origin)(Arc::clone(&self.file)), None)
    }

    /// A report on the document with that root.
    fn report_on(&self, root: &Node) -> Report {
        document::report((self.origin)(Arc::clone(&self.file)), root)
    }

    fn is_full(&self) -> bool {
        self.problems >= MAX_PROBLEMS || self.count > MAX_DOCUMENTS
    }

    /// One document of YAML: a resource, or a List of them.
    fn tree(&mut self, tree: &Tree) {
        let root = &tree.root;
        if root.is_null() {
            return;
        }
        let mut report = self.report_on(root);
        if faults(tree, &mut report) {
            self.put(Document::unread(report));
        } else if kinds::is_list(root) {
            self.list(root, report);
        } else {
            self.resource(root, "", report);
        }
    }

    fn list(&mut self, root: &Node, mut report: Report) {
        if !self.counts(root, &mut report) {
            return self.put(Document::unread(report));
        }
        let list = Field {
            node: root,
            path: String::new(),
        };
        let items = list.object(&mut report).and_then(|mut list| list.take("items"));
        let items = items
            .and_then(|items| items.list(&mut report))
            .unwrap_or_default();
        self.put(Document::unread(report));
        for item in items {
            self.resource(item.node, &item.path, self.report_on(item.node));
            if self.is_full() {
                break;
            }
        }
    }

    fn resource(&mut self, root: &Node, path: &str, mut report: Report) {
        let document = if self.counts(root, &mut report) {
            Document::read(root, path, report)
        } else {
            Document::unread(report)
        };
        self.put(document);
    }

    /// Counts a document. The one beyond the bound is reported, and not read.
    fn counts(&mut self, root: &Node, report: &mut Report) -> bool {
        self.count += 1;
        if self.count <= MAX_DOCUMENTS {
            return true;
        }
        let message = format!("there may be {MAX_DOCUMENTS} documents, and not more");
        report.problem(root.at, "", Code::TooManyDocuments, message);
        false
    }

    /// Keeps a document of which there is something to say.
    fn put(&mut self, mut document: Document) {
        if let Some(key) = &document.key {
            match self.first.entry(key.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert((Arc::clone(&self.file), document.at));
                }
                Entry::Occupied(entry) => {
                    let (file, first) = entry.get();
                    let message = format!("{key} is here twice, first in {file}:{}", first.line);
                    document.refuse("metadata.name", Code::DuplicateDocument, message);
                }
            }
        }
        self.problems += document.problems.len();
        if document.key.is_some() || !document.is_valid() || !document.remarks.is_empty() {
            self.documents.push(document);
        }
    }
}

/// Notes the faults of YAML in what Millrace may read. Whether they hide what the fields are.
fn faults(tree: &Tree, report: &mut Report) -> bool {
    let concerns = |fault: &&Malformed| kinds::concerns(&tree.root, fault.at);
    let faults: Vec<&Malformed> = tree.faults.iter().filter(concerns).collect();
    let template = faults.iter().find(|fault| fault.code == Code::YamlTemplate);
    for fault in template.map_or(&faults[..], std::slice::from_ref) {
        report.problem(fault.at, "", fault.code, fault.message.clone());
    }
    if let Some(at) = tree.cut.filter(|_| kinds::may_be(&tree.root)) {
        let message = format!(
            "this document has more than {MAX_PROBLEMS} faults of YAML: mend them, or keep what is not Millrace's \
             in a document of its own"
        );
        report.problem(at, "", Code::TooManyProblems, message);
    }
    let hides = |fault: &&Malformed| matches!(fault.code, Code::YamlTemplate | Code::YamlUnsupported);
    faults.iter().any(hides)
}
