//! What only an ApiServerSource has.

use std::sync::Arc;

use millrace_filter::{Compiled, Filter};
use millrace_model::source::ApiServer;
use millrace_model::source::api_server::{Namespaces, ObjectKind, ObjectMode, WatchedKind};
use millrace_model::{NamedFile, SourceSpec};

use super::selector;
use crate::document::metadata::subdomain;
use crate::document::{filters, secret};
use crate::external::Named;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::suggest;

/// The most kinds that one source watches.
pub(crate) const MAX_RESOURCES: usize = 100;
/// What `mode` may be.
pub(crate) const MODES: &[&str] = &["Reference", "Resource"];

/// Reads what is left of the `spec`.
pub(super) fn read(spec: &mut Object<'_>, report: &mut Report) -> Option<super::Spec> {
    let before = report.problems.len();
    let kubeconfig = spec
        .take("kubeconfig")
        .and_then(|field| kubeconfig(&field, report));
    let mode = spec.take("mode").and_then(|field| mode(&field, report));
    let resources = spec
        .require("resources", report)
        .and_then(|field| resources(&field, report));
    let namespaces = spec
        .take("namespaceSelector")
        .and_then(|field| selector::read(&field, report));
    let owner = spec.take("owner").and_then(|field| owner(&field, report));
    let filters = spec.take("filters").map(|field| filters::list(field, report));
    let initial_list = spec.take("initialList").and_then(|field| field.truth(report));
    if let Some(field) = spec.take("serviceAccountName") {
        service_account(&field, report);
    }
    if report.problems.len() != before {
        return None;
    }
    let (filters, compiled) = match filters {
        Some(read) => read?,
        None => everything()?,
    };
    let spec = ApiServer {
        kubeconfig,
        mode: mode.unwrap_or_default(),
        resources: resources?,
        namespaces: match namespaces {
            None => Namespaces::Own,
            Some(selector) if selector.is_empty() => Namespaces::All,
            Some(selector) => Namespaces::Matching(selector),
        },
        owner,
        filters,
        compiled,
        initial_list: initial_list.unwrap_or_default(),
    };
    Some(super::Spec::Whole(SourceSpec::ApiServer(Box::new(spec))))
}

fn kubeconfig(field: &Field<'_>, report: &mut Report) -> Option<NamedFile> {
    secret::only_in_files(field, report)?;
    let path = field.text(report)?;
    let named = report.named_file(path);
    report.external(field, Named::Kubeconfig(named.clone()));
    Some(named)
}

/// In a cluster the controller asks whether this account may read what the source reads.
fn service_account(field: &Field<'_>, report: &mut Report) {
    if report.origin.is_cluster() {
        subdomain(field, report);
    } else {
        let message = "it is not used: the source is who the `kubeconfig` says";
        report.remark(field.node.at, &field.path, message);
    }
}

/// No filter, which passes everything.
fn everything() -> Option<(Vec<Filter>, Arc<Compiled>)> {
    Some((Vec::new(), Arc::new(Compiled::new(&[]).ok()?)))
}

fn mode(field: &Field<'_>, report: &mut Report) -> Option<ObjectMode> {
    match field.text(report)? {
        "Reference" => Some(ObjectMode::Reference),
        "Resource" => Some(ObjectMode::Resource),
        other => {
            let message = match suggest::nearest(other, MODES) {
                Some(near) => format!("there is no such mode; did you mean `{near}`?"),
                None => format!("the modes are {}", MODES.join(" and ")),
            };
            field.refuse(report, Code::UnknownValue, message);
            None
        }
    }
}

fn resources(field: &Field<'_>, report: &mut Report) -> Option<Vec<WatchedKind>> {
    let items = field.list(report)?;
    if items.is_empty() || items.len() > MAX_RESOURCES {
        let message = format!("a source watches from 1 to {MAX_RESOURCES} kinds");
        field.refuse(report, Code::OutOfRange, message);
        return None;
    }
    // Every one is read, so that every fault is found.
    let read: Vec<_> = items.iter().map(|item| resource(item, report)).collect();
    read.into_iter().collect()
}

fn resource(field: &Field<'_>, report: &mut Report) -> Option<WatchedKind> {
    let mut object = field.object(report)?;
    let kind = object_kind(&mut object, report);
    let selector = object
        .take("selector")
        .map(|field| selector::read(&field, report));
    object.close(report);
    Some(WatchedKind {
        object: kind?,
        selector: selector.unwrap_or_else(|| Some(String::new()))?,
    })
}

fn owner(field: &Field<'_>, report: &mut Report) -> Option<ObjectKind> {
    let mut object = field.object(report)?;
    let kind = object_kind(&mut object, report);
    object.close(report);
    kind
}

/// `apiVersion` and `kind`.
fn object_kind(object: &mut Object<'_>, report: &mut Report) -> Option<ObjectKind> {
    let version = object.require("apiVersion", report);
    let kind = object.require("kind", report);
    let version = version.and_then(|field| {
        let text = field.text(report)?;
        let is_valid = match text.split_once('/') {
            Some((group, version)) => is_group(group) && is_version(version),
            None => is_version(text),
        };
        if is_valid {
            return Some(text);
        }
        let message = format!("`{}` is not as `v1` or `apps/v1`", shown(text));
        field.refuse(report, Code::BadReference, message);
        None
    });
    let kind = kind.and_then(|field| {
        let text = field.text(report)?;
        if text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|c| c.is_ascii_alphanumeric())
        {
            return Some(text);
        }
        let message = format!("`{}` is not a kind, as `ConfigMap` is one", shown(text));
        field.refuse(report, Code::BadReference, message);
        None
    });
    Some(ObjectKind {
        api_version: version?.to_owned(),
        kind: kind?.to_owned(),
    })
}

fn is_group(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_version)
}

fn is_version(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|c| inner(c) || c == b'-')
}
