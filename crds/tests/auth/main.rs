//! What deliveries show: what the annotations mean, whose credentials go where, and every fault with its
//! field.

mod faults;
mod places;
mod ways;

use millrace_crds::{Loaded, load_text};
use millrace_model::{Auth, Mesh, Secret, Trigger};

const SECRET: &str = "{secretKeyRef: {name: s, key: k}}";

/// A Broker and a Secret `s`, and a Trigger with this annotation and what its `delivery` says.
fn text(name: &str, auth: &str, delivery: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, namespace: shop}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: t\n  namespace: shop\n  annotations:\n    \
         millrace.dev/{name}: |\n      {auth}\n\
         spec: {{broker: b, subscriber: {{uri: \"http://a/\"}}, delivery: {{{delivery}}}}}\n"
    )
}

fn load(name: &str, auth: &str, delivery: &str) -> Loaded {
    load_text(&text(name, auth, delivery))
}

fn trigger(mesh: &Mesh) -> &Trigger {
    mesh.triggers.values().next().expect("a Trigger")
}

fn subscriber_auth(auth: &str) -> Auth {
    let loaded = load("subscriber-auth", auth, "");
    let mesh = loaded
        .mesh
        .unwrap_or_else(|| panic!("{auth}: {:?}", loaded.problems));
    let found = trigger(&mesh).subscriber_auth.clone();
    (*found.expect("there is one")).clone()
}

fn hush() -> Secret {
    Secret::Value(b"hush".as_slice().into())
}
