//! Promise: for each faulty or odd document the messages are exactly these: all problems and remarks. Where
//! the documents are served all the same, so is what is served.
//!
//! The words are part of the product. A change of them is a change of this table, to be read as its user
//! reads it.

mod values;
mod words;
mod yaml;

use millrace_crds::{Loaded, load_text};
use millrace_model::Mesh;

/// Documents, and all that is said of them.
type Case = (String, &'static [&'static str]);

/// A Broker `b`, and a Trigger `t` with this `spec`, which begins in line 7.
fn trigger(spec: &str) -> String {
    with_broker("eventing.knative.dev/v1", "Trigger", "t", spec)
}

/// A Broker `b`, and a CronSource `c` with this `spec`, which begins in line 7. Its sink is the Broker.
fn cron(spec: &str) -> String {
    let sink = "sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}";
    let spec = format!("{spec}\n{sink}");
    with_broker("sources.millrace.dev/v1alpha1", "CronSource", "c", &spec)
}

/// A Broker `b` with these annotations in line 3 and this `spec` in line 4.
fn broker(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {{{annotations}}}}}\n\
         spec: {{{spec}}}\n"
    )
}

fn with_broker(version: &str, kind: &str, name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "{{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: b}}}}\n---\n\
         apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}"
    )
}

/// Checks each case. A problem stands as it is printed, a remark with `(warning)` behind it, as `check`
/// prints it. Where a mesh comes of the documents, what is in it stands first.
fn say(cases: &[Case]) {
    for (text, expected) in cases {
        let Loaded {
            mesh,
            problems,
            remarks,
            ..
        } = load_text(text);
        assert_eq!(mesh.is_none(), !problems.is_empty(), "{text}");
        let problems = problems.iter().map(ToString::to_string);
        let remarks = remarks.iter().map(|remark| format!("{remark} (warning)"));
        let said: Vec<String> = mesh.iter().map(names).chain(problems).chain(remarks).collect();
        assert_eq!(said, *expected, "{text}");
    }
}

/// The names of all that is in a mesh.
fn names(mesh: &Mesh) -> String {
    let brokers = mesh.brokers.keys().map(|name| format!("Broker {name}"));
    let triggers = mesh.triggers.keys().map(|name| format!("Trigger {name}"));
    let sources = mesh.sources.keys().map(ToString::to_string);
    let names: Vec<String> = brokers.chain(triggers).chain(sources).collect();
    match &names[..] {
        [] => "serves nothing".to_owned(),
        names => format!("serves {}", names.join(", ")),
    }
}
