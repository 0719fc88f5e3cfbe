//! An EventPolicy document.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_filter::{Compiled, Filter};
use millrace_model::Reference;
use millrace_model::event_policy::Pattern;

use super::destination::{is_broker, reference};
use super::filters;
use super::kinds::EVENTING_V1;
use super::metadata::Metadata;
use super::source::selector::{self, Requirement};
use crate::field::{Field, Object};
use crate::problem::Code;
use crate::report::Report;

/// The most entries of `to`.
pub(crate) const MAX_TO: usize = 100;
/// The most entries of `from`.
pub(crate) const MAX_FROM: usize = 1_000;
/// The longest name of a sender.
pub(crate) const MAX_SUB: usize = 2_048;

/// An EventPolicy as written.
#[derive(Clone, Debug)]
pub(crate) struct PolicyDocument {
    pub(crate) name: ObjectName,
    /// Empty: all Brokers of its namespace.
    pub(crate) to: Vec<To>,
    pub(crate) from: Vec<From>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) compiled: Option<Arc<Compiled>>,
}

/// Brokers of the policy's namespace.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// One.
    Broker(ObjectName),
    /// Those whose labels meet all of these.
    Labels(Vec<Requirement>),
    /// Objects of another kind, to which events are not sent through here.
    Other,
}

/// Who may send.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// An object that sends.
    Object(Reference),
    /// By name.
    Named(Pattern),
}

/// Reads the rest of an EventPolicy document whose head has been read. Whether it is valid, the report tells.
pub(crate) fn read(
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<PolicyDocument> {
    metadata.refuse_unknown(&[], report);
    let mut spec = document.require("spec", report)?.object(report)?;
    let namespace = name.map_or("", ObjectName::namespace);
    let to = entries(&mut spec, "to", MAX_TO, report, |field, report| {
        to(field, namespace, report)
    });
    let from = entries(&mut spec, "from", MAX_FROM, report, |field, report| {
        from(field, namespace, report)
    });
    let filters = match spec.take("filters") {
        Some(field) => filters::list(field, report),
        None => Some((Vec::new(), Arc::new(Compiled::new(&[]).ok()?))),
    };
    spec.close(report);
    let (filters, compiled) = filters?;
    Some(PolicyDocument {
        name: name?.clone(),
        to,
        from,
        compiled: (!filters.is_empty()).then_some(compiled),
        filters,
    })
}

fn entries<'a, T>(
    spec: &mut Object<'a>,
    name: &'static str,
    most: usize,
    report: &mut Report,
    mut read: impl FnMut(&Field<'a>, &mut Report) -> Option<T>,
) -> Vec<T> {
    let Some(field) = spec.take(name) else {
        return Vec::new();
    };
    let items = field.list(report).unwrap_or_default();
    if items.len() > most {
        field.refuse(
            report,
            Code::OutOfRange,
            format!("at most {most} entries are expected"),
        );
        return Vec::new();
    }
    items.iter().filter_map(|item| read(item, report)).collect()
}

fn to(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<To> {
    let mut object = field.object(report)?;
    let (own, selected) = (object.take("ref"), object.take("selector"));
    object.close(report);
    match (own, selected) {
        (Some(own), None) => {
            let found = reference(&own, namespace, report)?.resource;
            if found.name.namespace() != namespace {
                own.refuse(
                    report,
                    Code::BadReference,
                    "a policy is about objects of its own namespace",
                );
                return None;
            }
            Some(match is_broker(&found) {
                true => To::Broker(found.name),
                false => {
                    let message = "only Brokers are served here: this entry means nothing";
                    report.remark(own.node.at, &own.path, message);
                    To::Other
                }
            })
        }
        (None, Some(selected)) => selector(&selected, report),
        (own, _) => {
            one_of(field, own.is_some(), ("ref", "selector"), report);
            None
        }
    }
}

/// A selector of labels, which also says of which kind.
fn selector(field: &Field<'_>, report: &mut Report) -> Option<To> {
    let mut object = field.object(report)?;
    let mut word = |name| {
        let found = object.take(name);
        found.and_then(|found| found.text(report)).map(str::to_owned)
    };
    let (version, kind) = (word("apiVersion"), word("kind"));
    let requirements = selector::requirements(field, &mut object, report);
    object.close(report);
    let is_ours = version.as_deref() == Some(EVENTING_V1) && kind.as_deref() == Some("Broker");
    let requirements = requirements?;
    if !is_ours && (version.is_some() || kind.is_some()) {
        let message = "only Brokers (eventing.knative.dev/v1) are served here: this entry means nothing";
        report.remark(field.node.at, &field.path, message);
        return Some(To::Other);
    }
    Some(To::Labels(requirements))
}

fn from(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<From> {
    let mut object = field.object(report)?;
    let (own, sub) = (object.take("ref"), object.take("sub"));
    object.close(report);
    match (own, sub) {
        (Some(own), None) => {
            let wanted = reference(&own, namespace, report)?;
            Some(From::Object(wanted.resource))
        }
        (None, Some(sub)) => {
            let text = sub.text(report)?;
            let begin = text.strip_suffix('*').unwrap_or(text);
            let is_good = !text.is_empty()
                && text.len() <= MAX_SUB
                && !begin.contains('*')
                && !text.chars().any(char::is_control);
            if !is_good {
                let message = format!(
                    "a name of up to {MAX_SUB} bytes is expected, and a `*` at its end if any rest may follow"
                );
                sub.refuse(report, Code::BadName, message);
                return None;
            }
            Some(From::Named(Pattern::of(text)))
        }
        (own, _) => {
            one_of(field, own.is_some(), ("ref", "sub"), report);
            None
        }
    }
}

fn one_of(field: &Field<'_>, both: bool, (one, other): (&str, &str), report: &mut Report) {
    let (code, message) = match both {
        true => (
            Code::ConflictingFields,
            format!("`{one}` and `{other}` exclude each other"),
        ),
        false => (Code::MissingField, format!("`{one}` or `{other}` is needed")),
    };
    field.refuse(report, code, message);
}

// === impl To ===

impl To {
    /// Whether it means a Broker with these labels, in the policy's namespace.
    pub(crate) fn fits(&self, broker: &ObjectName, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Broker(name) => name == broker,
            Self::Labels(all) => all.iter().all(|requirement| requirement.fits(labels)),
            Self::Other => false,
        }
    }
}
