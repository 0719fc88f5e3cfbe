//! The head of a document: its name, and the annotations that are ours.

use std::collections::BTreeMap;

use millrace_event::ObjectName;

use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::suggest;
use crate::tree::{Node, ReadsAs, Shape};

/// The prefix of our annotations.
const OURS: &str = "millrace.dev/";
/// The namespace of a document that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// The head of a document.
pub(crate) struct Metadata<'a> {
    /// Its name; `None` when there is none that is valid (which has been reported).
    pub(crate) name: Option<ObjectName>,
    annotations: Vec<(&'a str, Field<'a>)>,
    labels: Option<Field<'a>>,
}

// === impl Metadata ===

impl<'a> Metadata<'a> {
    /// Reads `metadata` of a document. Fields of Kubernetes' that mean nothing here are ignored.
    pub(crate) fn read(document: &mut Object<'a>, report: &mut Report) -> Self {
        let mut this = Self {
            name: None,
            annotations: Vec::new(),
            labels: None,
        };
        let Some(mut metadata) = document
            .require("metadata", report)
            .and_then(|field| field.object(report))
        else {
            return this;
        };
        let namespace = match metadata.take("namespace") {
            Some(field) => label(&field, report),
            None => Some(DEFAULT_NAMESPACE),
        };
        let name = metadata
            .require("name", report)
            .and_then(|field| subdomain(&field, report));
        if let (Some(namespace), Some(name)) = (namespace, name) {
            this.name = Some(ObjectName::new(namespace, name));
        }
        this.labels = metadata.take("labels");
        if let Some(field) = metadata.take("annotations") {
            for entry in field.entries(report).unwrap_or_default() {
                let path = format!("{}[{}]", field.path, shown(&entry.key.text));
                this.annotations.push((
                    &entry.key.text,
                    Field {
                        node: &entry.value,
                        path,
                    },
                ));
            }
        }
        this
    }

    /// A label of any name.
    pub(crate) fn label(&self, name: &str, report: &mut Report) -> Option<Field<'a>> {
        let labels = self.labels.as_ref()?;
        let entry = labels
            .entries(report)?
            .iter()
            .find(|entry| entry.key.text == name)?;
        Some(Field {
            node: &entry.value,
            path: format!("{}[{}]", labels.path, shown(name)),
        })
    }

    /// The labels that are texts. Others are a cluster's to refuse.
    pub(crate) fn texts_of_labels(&self) -> BTreeMap<String, String> {
        let Some(Shape::Map(entries)) = self.labels.as_ref().map(|labels| &labels.node.shape) else {
            return BTreeMap::new();
        };
        let texts = entries.iter().filter_map(|entry| {
            let value = entry.value.text()?;
            Some((entry.key.text.clone(), value.to_owned()))
        });
        texts.collect()
    }

    /// An annotation of any name.
    pub(crate) fn annotation(&self, name: &str) -> Option<&Field<'a>> {
        self.annotations
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, field)| field)
    }

    /// The text of one of our annotations, named without the prefix. A number without quotes is taken, with a
    /// remark.
    pub(crate) fn ours(&self, name: &str, report: &mut Report) -> Option<(&Field<'a>, &'a str)> {
        let field = self.annotation(&format!("{OURS}{name}"))?;
        if let Shape::Scalar(scalar) = &field.node.shape
            && scalar.reads_as == ReadsAs::Number
        {
            // For a cluster it is a problem, which the judge of the API server adds.
            if !report.origin.is_cluster() {
                let message = "write it in quotes: Kubernetes refuses an annotation that is a number";
                report.remark(field.node.at, &field.path, message);
            }
            return Some((field, &scalar.text));
        }
        field.text(report).map(|text| (field, text))
    }

    /// Refuses annotations of ours that do not exist. The names are without the prefix.
    pub(crate) fn refuse_unknown(&self, known: &[&str], report: &mut Report) {
        for (key, field) in &self.annotations {
            let Some(name) = key.strip_prefix(OURS).filter(|name| !known.contains(name)) else {
                continue;
            };
            let message = match suggest::nearest(name, known) {
                Some(near) => format!("there is no such annotation; did you mean `{OURS}{near}`?"),
                None if known.is_empty() => {
                    format!("there is no such annotation here; there is none of {OURS}")
                }
                None => format!(
                    "there is no such annotation here; there are {OURS}{{{}}}",
                    known.join(", ")
                ),
            };
            field.refuse(report, Code::UnknownAnnotation, message);
        }
    }
}

/// Whose document this is, for messages: `Trigger shop/ship`, as far as it can be read at all.
pub(crate) fn title(root: &Node) -> Option<String> {
    let kind = root.get("kind").and_then(Node::text)?;
    let metadata = root.get("metadata");
    let part = |name| metadata.and_then(|m| m.get(name)).and_then(Node::text).map(shown);
    Some(match part("name") {
        Some(name) => {
            let namespace = part("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
            format!("{} {namespace}/{name}", shown(kind))
        }
        None => shown(kind),
    })
}

/// A DNS label (RFC 1123), as namespaces are.
pub(crate) fn label<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if is_label(text) {
        return Some(text);
    }
    let rule = "a namespace has 1 to 63 lower-case letters, digits and hyphens, and begins and ends with a letter or digit";
    field.refuse(
        report,
        Code::BadName,
        format!("`{}` is not a namespace: {rule}", shown(text)),
    );
    None
}

/// A DNS subdomain (RFC 1123), as the names of resources are.
pub(crate) fn subdomain<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if text.len() <= 253 && text.split('.').all(is_part) {
        return Some(text);
    }
    let rule = "a name has 1 to 253 lower-case letters, digits, hyphens and dots, and each part begins and ends with a letter or digit";
    field.refuse(
        report,
        Code::BadName,
        format!("`{}` is not a name: {rule}", shown(text)),
    );
    None
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

fn is_part(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|c| inner(c) || c == b'-')
}
