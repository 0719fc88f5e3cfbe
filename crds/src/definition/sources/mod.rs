//! The sources of Millrace, a file for each kind. Where Knative has a kind for the same, fields have its
//! names.

mod api_server;
mod cron;
mod git_webhook;
mod kafka;

pub(super) use self::kafka::{bootstrap_servers, net, topic};

use super::parts::{NAME, TEXT, URL, auth, bound, destination, resolved, status};
use super::rule::Rule;
use super::schema::{Field, Schema, needed, optional};
use super::{Column, Definition, SOURCE};

/// The most extensions of `ceOverrides`.
const EXTENSIONS: u32 = 100;

/// The columns of every source but those of its kind.
const SINK_URI: Column = Column {
    name: "Sink",
    path: ".status.sinkUri",
    is_wide: false,
};

/// All of them, in the order in which the reference has them.
pub(super) fn definitions() -> [Definition; 4] {
    [
        git_webhook::definition(),
        cron::definition(),
        kafka::definition(),
        api_server::definition(),
    ]
}

/// A kind of source: what all have, and these fields.
fn source(
    kind: &'static str,
    says: &'static str,
    columns: &'static [Column],
    mut of_kind: Vec<Field>,
    of_status: Vec<Field>,
) -> Definition {
    let mut fields = vec![
        needed("sink", destination("Where the events go.", "spec.sink")),
        optional("ceOverrides", overrides()),
    ];
    fields.append(&mut of_kind);
    let mut resolved = resolved("sink", ["sinkUri", "sinkCACerts", "sinkAudience"]);
    let attributes = vec![
        optional("type", Schema::string("The type of the events.", URL)),
        optional("source", Schema::string("The source of the events.", URL)),
    ];
    let attributes = Schema::object("The attributes of some of the events.", attributes);
    let says_events = "What events the source makes.";
    resolved.push(optional(
        "ceAttributes",
        Schema::list(says_events, attributes, 0, 1_000),
    ));
    resolved.push(optional("auth", auth()));
    resolved.extend(of_status);
    Definition {
        group: "sources.millrace.dev",
        version: "v1alpha1",
        kind,
        says,
        categories: &["all", "knative", "eventing", "sources"],
        labels: &[SOURCE],
        columns,
        selectable: &[],
        spec: Schema::object("What the source is to do.", fields),
        needs_spec: true,
        status: status(kind, resolved),
    }
}

/// Extension attributes that a source adds to its events.
fn overrides() -> Schema {
    let says = "Extension attributes that every event gets, and their values.";
    let value = Schema::string("The value.", TEXT);
    Schema::object(
        "What every event gets besides.",
        vec![optional("extensions", extensions(says, value, EXTENSIONS))],
    )
}

/// Extension attributes by their names, at most so many.
fn extensions(says: &str, values: Schema, most: u32) -> Schema {
    Schema::map(says, values, most).rule(Rule::keys_match(
        "^[a-z0-9]+$",
        "the name of an attribute has lower-case letters and digits",
    ))
}

/// An entry of a Secret of the object's own namespace.
fn secret_key(says: &str) -> Schema {
    let fields = vec![
        needed("name", Schema::string("The name of the Secret.", NAME)),
        needed("key", Schema::string("The name of its entry.", NAME)),
    ];
    let entry = Schema::object("An entry of a Secret in the namespace of this object.", fields);
    Schema::object(says, vec![needed("secretKeyRef", entry)])
}
