//! What the loader promises: a valid text becomes the mesh that it says, every fault is told with its line,
//! and no text is too much for it. This file has the documents that the parts share.

mod bounds;
mod config;
mod faults;
mod valid;

use millrace_crds::{Loaded, Problem, load_text};
use millrace_model::{Mesh, ObjectName, Trigger};

const SHOP: &str = r#"
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: shop}
spec:
  delivery: {retry: 5, backoffPolicy: exponential, backoffDelay: PT0.2S, deadLetterSink: {uri: "http://127.0.0.1:9009/dead"}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ship, namespace: shop}
spec:
  broker: default
  filters: [{exact: {type: order.paid}}, {prefix: {source: /shop/}}]
  subscriber: {uri: "http://127.0.0.1:9001/ship"}
"#;

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

fn mesh(text: &str) -> Mesh {
    let Loaded { mesh, problems, .. } = load_text(text);
    mesh.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// A Broker `default` and a Trigger `t` in the namespace `default`, whose `spec` begins in line 6.
fn with_trigger(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "{{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: default}}}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nspec:\n{indented}\nmetadata: {{name: t}}\n"
    )
}

fn trigger(spec: &str) -> Trigger {
    (*mesh(&with_trigger(spec)).triggers[&name("default/t")]).clone()
}

/// A document of one line each for head and spec; the spec is in line 4.
fn broker(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {{{annotations}}}}}\nspec: {{{spec}}}\n"
    )
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
