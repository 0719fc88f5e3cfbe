//! Broker and Trigger, as Knative defines them: the same fields, columns and labels, and its messages where
//! its own tests look for them. Beside these are the optional fields of Millrace.

use super::parts::{
    NAME, addresses, auth, bound, delivery, destination, filter, filters, reference, resolved, selector,
    status,
};
use super::rule::{Part, Rule};
use super::schema::{Field, Schema, optional};
use super::{ADDRESS, ADDRESSABLE, Column, Definition};
use crate::document::event_policy::{MAX_FROM, MAX_SUB, MAX_TO};

const GROUP: &str = "eventing.knative.dev";
const CATEGORIES: &[&str] = &["all", "knative", "eventing"];
const DEAD_LETTERS: [&str; 3] = [
    "deadLetterSinkUri",
    "deadLetterSinkCACerts",
    "deadLetterSinkAudience",
];

/// `Broker`.
pub(super) fn broker() -> Definition {
    let config = "The ConfigMap of the same namespace that says where the channel is kept, on NATS JetStream or Kafka. \
                  Without one, and if it is another's, the channel is on the local disk. It cannot change.";
    let spec = vec![
        optional("config", reference(config, "spec.config")),
        optional(
            "delivery",
            delivery(
                "How events are delivered to Triggers that do not say it themselves.",
                true,
            ),
        ),
    ];
    let spec = Schema::object("What the Broker is to do.", spec).rule(Rule::unchanged(
        "config",
        "Immutable fields changed (-old +new): spec (spec.config cannot change: delete the Broker and create it anew)",
    ));
    let mut of_status = addresses();
    of_status.extend(resolved("dead-letter sink", DEAD_LETTERS));
    of_status.push(optional("policies", policies()));
    Definition {
        group: GROUP,
        version: "v1",
        kind: "Broker",
        says: "A Broker stores events durably, and brings each of them to the Triggers that want it.",
        categories: CATEGORIES,
        labels: &[ADDRESSABLE],
        columns: &[
            ADDRESS,
            Column {
                name: "Class",
                path: ".metadata.annotations.eventing\\.knative\\.dev/broker\\.class",
                is_wide: true,
            },
        ],
        selectable: &[],
        spec,
        needs_spec: false,
        status: status("Broker", of_status),
    }
}

/// `status.policies`.
fn policies() -> Schema {
    let policy = vec![
        optional(
            "apiVersion",
            Schema::string("The group and version of the policy.", NAME),
        ),
        optional("name", Schema::string("The name of the policy.", NAME)),
    ];
    let policy = Schema::object("A policy.", policy);
    Schema::list(
        "The policies that say who may send events here.",
        policy,
        0,
        1_000,
    )
}

/// `EventPolicy`.
pub(super) fn event_policy() -> Definition {
    let object = |says, path| reference(says, path);
    let to = vec![
        optional("ref", object("A Broker of the same namespace.", "spec.to[].ref")),
        optional("selector", broker_selector()),
    ];
    let to = Schema::object("Brokers.", to)
        .rule(Rule::at_least_one(
            both("ref", "selector"),
            "expected exactly one, got neither: ref, selector",
        ))
        .rule(Rule::at_most_one(
            both("ref", "selector"),
            "expected exactly one, got both: ref, selector",
        ));
    let names = "The name of a sender, as the subject of its token. A `*` at the end stands for any rest.";
    let sub = Schema::string(names, bound(MAX_SUB))
        .rule(Rule::matches("^[^*]*[*]?$", "'*' is only allowed as suffix: sub"));
    let from = vec![
        optional(
            "ref",
            object("A Trigger, or a source of Millrace.", "spec.from[].ref"),
        ),
        optional("sub", sub),
    ];
    let from = Schema::object("Senders.", from)
        .rule(Rule::at_least_one(
            both("ref", "sub"),
            "expected exactly one, got neither: ref, sub",
        ))
        .rule(Rule::at_most_one(
            both("ref", "sub"),
            "expected exactly one, got both: ref, sub",
        ));
    let spec = vec![
        optional(
            "to",
            Schema::list(
                "Where events are sent to. The default are all Brokers of the namespace.",
                to,
                0,
                bound(MAX_TO),
            ),
        ),
        optional(
            "from",
            Schema::list("Who may send. Without any nobody may.", from, 0, bound(MAX_FROM)),
        ),
        optional(
            "filters",
            filters("Which events may be sent: every filter must hold. Without filters all may."),
        ),
    ];
    let of_status = vec![optional(
        "from",
        Schema::list(
            "Who may send, by name.",
            Schema::string("A name.", bound(MAX_SUB)),
            0,
            bound(MAX_FROM),
        ),
    )];
    Definition {
        group: GROUP,
        version: "v1alpha1",
        kind: "EventPolicy",
        says: "An EventPolicy says who may send events to Brokers.",
        categories: CATEGORIES,
        labels: &[],
        columns: &[],
        selectable: &[],
        spec: Schema::object("Who may send what, and where.", spec),
        needs_spec: true,
        status: status("EventPolicy", of_status),
    }
}

fn both(one: &'static str, other: &'static str) -> Vec<Part> {
    vec![Part::There(one), Part::There(other)]
}

/// A selector of Brokers by their labels.
fn broker_selector() -> Schema {
    let word = |says| Schema::string(says, NAME);
    selector(
        "Brokers of the same namespace, by their labels.",
        vec![
            optional(
                "apiVersion",
                word("The group and version: eventing.knative.dev/v1."),
            ),
            optional("kind", word("The kind: Broker.")),
        ],
    )
}

/// `Trigger`.
pub(super) fn trigger() -> Definition {
    let mut of_status = resolved(
        "subscriber",
        ["subscriberUri", "subscriberCACerts", "subscriberAudience"],
    );
    of_status.extend(resolved("dead-letter sink", DEAD_LETTERS));
    of_status.push(optional("auth", auth()));
    Definition {
        group: GROUP,
        version: "v1",
        kind: "Trigger",
        says: "A Trigger asks a Broker for events, and says where they go.",
        categories: CATEGORIES,
        labels: &[],
        columns: &[
            Column {
                name: "Broker",
                path: ".spec.broker",
                is_wide: false,
            },
            Column {
                name: "Subscriber_URI",
                path: ".status.subscriberUri",
                is_wide: false,
            },
        ],
        selectable: &[".spec.broker"],
        spec: trigger_spec(),
        needs_spec: true,
        status: status("Trigger", of_status),
    }
}

fn trigger_spec() -> Schema {
    let broker = "The name of the Broker, in the same namespace. It may come later, and it cannot change.";
    let broker_ref = "The Broker as a reference, instead of `broker`. It cannot change.";
    let wanted = "Which events are wanted: every filter must hold. Without filters all are.";
    let subscriber = "Where the events go.";
    let fields: Vec<Field> = vec![
        optional("broker", Schema::string(broker, NAME)),
        optional("brokerRef", reference(broker_ref, "spec.brokerRef")),
        optional("filter", filter()),
        optional("filters", filters(wanted)),
        optional("subscriber", destination(subscriber, "spec.subscriber")),
        optional(
            "delivery",
            delivery(
                "How events are delivered. The default is what the Broker says.",
                true,
            ),
        ),
    ];
    let either = vec![Part::Filled("broker"), Part::There("brokerRef")];
    let unchanged = "Immutable fields changed (-old +new): broker, spec (a Trigger stays with its Broker: delete it and \
                     create it anew)";
    let nowhere = "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri";
    Schema::object("What the Trigger is to do.", fields)
        .keeping_others()
        .rule(Rule::at_least_one(vec![Part::There("subscriber")], nowhere).required("subscriber"))
        .rule(Rule::at_least_one(either.clone(), "missing field(s): spec.broker").required("broker"))
        .rule(
            Rule::at_most_one(
                either,
                "expected exactly one, got both: spec.broker, spec.brokerRef",
            )
            .at("broker"),
        )
        .rule(Rule::unchanged("broker", unchanged).at("broker"))
        .rule(Rule::unchanged("brokerRef", unchanged).at("brokerRef"))
}
