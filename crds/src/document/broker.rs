//! A Broker document.

use std::collections::BTreeMap;

use millrace_event::ObjectName;
use millrace_model::{Backend, Broker, OnFull, Retention, quantity};

use super::auth::{self, AuthRef};
use super::delivery::{DeliverySpec, choose, parse_short_period};
use super::metadata::{Metadata, subdomain};
use crate::field::{Field, Object};
use crate::problem::{Code, Mark};
use crate::report::{Origin, Report};

/// The annotation that says which implementation serves a Broker, and our name in it.
pub(crate) const CLASS: (&str, &str) = ("eventing.knative.dev/broker.class", "Millrace");
/// Our annotations of a Broker, without the prefix.
pub(crate) const ANNOTATIONS: &[&str] = &[
    "retention-age",
    "retention-bytes",
    "backlog-bytes",
    "on-full",
    "dead-letter-auth",
];

/// A Broker as written.
#[derive(Clone, Debug)]
pub(crate) struct BrokerDocument {
    /// The Broker, without a uid.
    pub(crate) broker: Broker,
    pub(crate) delivery: DeliverySpec,
    pub(crate) dead_letter_auth: Option<AuthRef>,
    /// Its labels, by which policies select it.
    pub(crate) labels: BTreeMap<String, String>,
    /// The ConfigMap that says where its channel is kept; or why what it names is not Millrace's.
    pub(crate) config: Option<Result<ConfigRef, String>>,
}

/// `spec.config`.
#[derive(Clone, Debug)]
pub(crate) struct ConfigRef {
    pub(crate) name: ObjectName,
    pub(crate) at: Mark,
}

/// Reads the rest of a Broker document whose head has been read. Whether it is valid, the report tells.
pub(crate) fn read(
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<BrokerDocument> {
    remark_on_class(metadata, report);
    metadata.refuse_unknown(ANNOTATIONS, report);
    let retention = retention(metadata, report);
    let backlog_bytes = bytes(metadata, "backlog-bytes", 1, report);
    let on_full = metadata.ours("on-full", report).and_then(|(field, text)| {
        choose(
            field,
            text,
            &[("refuse", OnFull::Refuse), ("drop-oldest", OnFull::DropOldest)],
            report,
        )
    });
    let namespace = name.map_or("", ObjectName::namespace);
    let dead_letter_auth = auth::read(auth::DEAD_LETTER, metadata, namespace, report);
    let (delivery, config) = spec(document, namespace, report);
    delivery.refuse_binary(dead_letter_auth.as_ref().is_some_and(AuthRef::signs_body), report);
    delivery.refuse_strays(dead_letter_auth.is_some(), metadata, report);
    let on_full = on_full.unwrap_or_default();
    let broker = Broker {
        name: name?.clone(),
        uid: None,
        backend: Backend::Embedded,
        retention,
        backlog_bytes,
        on_full,
    };
    Some(BrokerDocument {
        broker,
        delivery,
        dead_letter_auth,
        config,
        labels: metadata.texts_of_labels(),
    })
}

/// Files are served whatever class they name. In a cluster another class is another's.
fn remark_on_class(metadata: &Metadata<'_>, report: &mut Report) {
    let message = match &report.origin {
        Origin::File(_) => "this Broker is of another class; Millrace serves it all the same",
        Origin::Manifest(_) => {
            "this Broker is of another class; in a cluster Millrace leaves it to its owner"
        }
        // The controller knows which Brokers are its own.
        Origin::Cluster => return,
    };
    if let Some(class) = metadata.annotation(CLASS.0)
        && class.node.text().is_some_and(|text| text != CLASS.1)
    {
        report.remark(class.node.at, &class.path, message);
    }
}

fn spec(
    document: &mut Object<'_>,
    namespace: &str,
    report: &mut Report,
) -> (DeliverySpec, Option<Result<ConfigRef, String>>) {
    let Some(mut spec) = document.take("spec").and_then(|field| field.object(report)) else {
        return Default::default();
    };
    let field = spec.take("config");
    let config = field.as_ref().map(|field| config(field, namespace, report));
    if let (Some(field), Some(Err(why))) = (field, &config) {
        report.remark(field.node.at, &field.path, why);
    }
    let delivery = DeliverySpec::read(&mut spec, namespace, report);
    spec.close(report);
    (delivery, config)
}

/// The ConfigMap that `config` names. In a cluster one of another namespace is never read: whoever may write
/// a Broker need not be allowed to read what is there.
///
/// # Errors
/// It names something else, which is its owner's business.
fn config(field: &Field<'_>, namespace: &str, report: &mut Report) -> Result<ConfigRef, String> {
    let text = |name| field.node.get(name).and_then(|node| node.text());
    let is_map = text("apiVersion") == Some("v1") && text("kind") == Some("ConfigMap");
    let Some(name) = text("name").filter(|_| is_map) else {
        return Err("`config` is for brokers of other classes, and is ignored".to_owned());
    };
    let home = text("namespace").filter(|home| !home.is_empty());
    let name = ObjectName::new(home.unwrap_or(namespace), name);
    if report.origin.is_cluster() {
        if name.namespace() != namespace {
            return Err(format!(
                "the ConfigMap {name} is in another namespace: it is not read, and the channel is on the local disk"
            ));
        }
        if let Some(node) = field.node.get("name") {
            let path = format!("{}.name", field.path);
            let _is_told = subdomain(&Field { node, path }, report);
        }
    }
    let at = field.node.at;
    Ok(ConfigRef { name, at })
}

fn retention(metadata: &Metadata<'_>, report: &mut Report) -> Retention {
    let default = Retention::default();
    let age = metadata
        .ours("retention-age", report)
        .and_then(|(field, text)| parse_short_period(field, text, report));
    let bytes = bytes(metadata, "retention-bytes", 0, report);
    Retention {
        age: age.unwrap_or(default.age),
        bytes: bytes.unwrap_or(default.bytes),
    }
}

fn bytes(metadata: &Metadata<'_>, name: &str, least: u64, report: &mut Report) -> Option<u64> {
    let (field, text) = metadata.ours(name, report)?;
    match quantity::parse(text) {
        Ok(bytes) if bytes < least => {
            field.refuse(report, Code::OutOfRange, format!("at least {least} is expected"));
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) => {
            field.refuse(report, Code::BadNumber, error.to_string());
            None
        }
    }
}
