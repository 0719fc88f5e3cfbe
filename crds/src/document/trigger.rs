//! A Trigger document.

use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_filter::{Compiled, Filter};
use millrace_model::Reference;

use crate::document::auth::{self, AuthRef};
use crate::document::delivery::{DeliverySpec, choose};
use crate::document::destination::{self, Destination, broker_ref};
use crate::document::filters;
use crate::document::metadata::{Metadata, subdomain};
use crate::field::{Object, whole};
use crate::problem::{Code, Mark};
use crate::report::Report;

/// Our annotations of a Trigger, without the prefix.
pub(crate) const ANNOTATIONS: &[&str] = &[
    "parallelism",
    "max-deferred",
    "max-parked",
    "resume",
    "subscriber-auth",
    "dead-letter-auth",
];
/// Attempts in flight at once: the default and the most.
const PARALLELISM: (u32, u32) = (32, 1_000);
/// Events waiting for another attempt, or parked: the default and the most.
const ROWS: (u32, u32) = (10_000, 10_000_000);
/// Annotations of Knative's that ask for something that is not done here.
const UNMET: &[(&str, &str)] = &[
    (
        "knative.dev/dependency",
        "the Trigger does not wait for its dependency: this annotation is ignored",
    ),
    (
        "kafka.eventing.knative.dev/delivery.order",
        "events are delivered in no particular order: this annotation is ignored",
    ),
];

/// A Trigger as written.
#[derive(Clone, Debug)]
pub(crate) struct TriggerDocument {
    pub(crate) name: ObjectName,
    pub(crate) broker: Reference,
    /// Where the document names its broker.
    pub(crate) broker_at: Mark,
    pub(crate) filters: Vec<Filter>,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) subscriber: Destination,
    pub(crate) subscriber_at: Mark,
    pub(crate) subscriber_auth: Option<AuthRef>,
    pub(crate) dead_letter_auth: Option<AuthRef>,
    pub(crate) delivery: DeliverySpec,
    pub(crate) parallelism: u32,
    pub(crate) max_deferred: u32,
    pub(crate) max_parked: u32,
    pub(crate) resume: bool,
}

/// Reads the rest of a Trigger document whose head has been read. Whether it is valid, the report tells.
pub(crate) fn read(
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<TriggerDocument> {
    metadata.refuse_unknown(ANNOTATIONS, report);
    for (name, message) in UNMET {
        if let Some(field) = metadata.annotation(name) {
            report.remark(field.node.at, &field.path, *message);
        }
    }
    let parallelism = count(metadata, "parallelism", PARALLELISM, report);
    let max_deferred = count(metadata, "max-deferred", ROWS, report);
    let max_parked = count(metadata, "max-parked", ROWS, report);
    let resume = metadata.ours("resume", report).and_then(|(field, text)| {
        let words = [("true", true), ("false", false)];
        choose(field, text, &words, report)
    });
    let mut spec = document.require("spec", report)?.object(report)?;
    let namespace = name.map_or("", ObjectName::namespace);
    let broker = broker(&mut spec, namespace, report);
    let filters = filters::read(&mut spec, report);
    let subscriber = spec.require("subscriber", report);
    let subscriber_at = subscriber.as_ref().map_or(spec.at(), |field| field.node.at);
    let subscriber = subscriber.and_then(|field| Destination::read(&field, namespace, report));
    let subscriber_auth = auth::read(auth::SUBSCRIBER, metadata, namespace, report);
    let dead_letter_auth = auth::read(auth::DEAD_LETTER, metadata, namespace, report);
    let delivery = DeliverySpec::read(&mut spec, namespace, report);
    let signed = [&subscriber_auth, &dead_letter_auth];
    delivery.refuse_binary(signed.into_iter().flatten().any(AuthRef::signs_body), report);
    delivery.refuse_strays(dead_letter_auth.is_some(), metadata, report);
    spec.close(report);
    let ((broker, broker_at), (filters, compiled)) = (broker?, filters?);
    Some(TriggerDocument {
        name: name?.clone(),
        broker,
        broker_at,
        filters,
        compiled,
        subscriber: subscriber?,
        subscriber_at,
        subscriber_auth,
        dead_letter_auth,
        delivery,
        parallelism,
        max_deferred,
        max_parked,
        resume: resume.unwrap_or_default(),
    })
}

/// The broker: `broker` or `brokerRef`, and not both.
fn broker(spec: &mut Object<'_>, namespace: &str, report: &mut Report) -> Option<(Reference, Mark)> {
    let name = spec.take("broker");
    let reference = spec.take("brokerRef");
    match (name, reference) {
        (Some(name), Some(_)) => {
            name.refuse(
                report,
                Code::ConflictingFields,
                "`broker` and `brokerRef` exclude each other",
            );
            None
        }
        (Some(name), None) => {
            let text = subdomain(&name, report)?;
            Some((
                destination::broker(ObjectName::new(namespace, text)),
                name.node.at,
            ))
        }
        (None, Some(field)) => Some((broker_ref(&field, namespace, report)?, field.node.at)),
        (None, None) => {
            let message = "a Trigger needs the name of its broker";
            report.problem(spec.at(), &spec.path_of("broker"), Code::MissingField, message);
            None
        }
    }
}

fn count(metadata: &Metadata<'_>, name: &str, (default, most): (u32, u32), report: &mut Report) -> u32 {
    let read = metadata
        .ours(name, report)
        .and_then(|(field, text)| whole(field, report, text, 1..=most));
    read.unwrap_or(default)
}
