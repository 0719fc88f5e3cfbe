//! The documents of the meshes under test.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// More than any backlog here, so that no producer is turned away.
const ROOM: u64 = 64 << 30;

/// The Broker `bench/default` without triggers.
pub(crate) fn broker() -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: default\n  namespace: bench\n  \
         annotations: {{millrace.dev/backlog-bytes: \"{ROOM}\"}}\nspec: {{}}\n"
    )
}

/// Adds the trigger number `n` for events of the type `bench.t<of>`, which the load sends as `bench.t0`.
pub(crate) fn add_trigger(documents: &mut String, n: usize, of: usize, subscriber: SocketAddr) {
    // Writing to a string cannot fail. The policy keeps trying, and never for long apart: what is measured is
    // not backoff.
    let _ = write!(
        documents,
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t{n}, namespace: bench}}\nspec:\n  \
         broker: default\n  filters: [{{exact: {{type: bench.t{of}}}}}]\n  \
         delivery: {{retry: 100000, backoffPolicy: exponential, backoffDelay: PT0.5S, backoffMax: PT2S}}\n  \
         subscriber: {{uri: \"http://{subscriber}/{n}\"}}\n"
    );
}

/// `count` triggers, all for one sink, of which the first `matching` match.
pub(crate) fn triggers(count: usize, matching: usize, sink: SocketAddr) -> String {
    let mut documents = broker();
    for n in 0..count {
        add_trigger(&mut documents, n, if n < matching { 0 } else { n }, sink);
    }
    documents
}

/// One trigger, and an EventPolicy whose last entry of `count` is `sender`. Half of the others are names, and
/// half are the beginnings of names.
pub(crate) fn policy(count: usize, sender: &str, sink: SocketAddr) -> String {
    let mut documents = triggers(1, 1, sink);
    documents.push_str(
        "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {name: senders, namespace: bench}\n\
         spec:\n  to: [{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}]\n  from:\n",
    );
    for n in 1..count {
        let rest = if n % 2 == 0 { "" } else { ":*" };
        let _ = writeln!(
            documents,
            "    - {{sub: \"system:serviceaccount:team-{n}:service{rest}\"}}"
        );
    }
    let _ = writeln!(documents, "    - {{sub: \"{sender}\"}}");
    documents
}

/// `count` Brokers `bench/b0` and so on; each of the first `busy` has a trigger for everything.
pub(crate) fn brokers(count: usize, busy: usize, sink: SocketAddr) -> String {
    let mut documents = String::new();
    for n in 0..count {
        let _ = write!(
            documents,
            "---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b{n}, namespace: bench}}\nspec: {{}}\n"
        );
    }
    for n in 0..busy.min(count) {
        let _ = write!(
            documents,
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t{n}, namespace: bench}}\n\
             spec: {{broker: b{n}, subscriber: {{uri: \"http://{sink}/{n}\"}}}}\n"
        );
    }
    documents
}

/// The Broker, a trigger for everything, and the source `bench/github`, whose calls are signed with `secret`.
pub(crate) fn webhooks(secret: &str, sink: SocketAddr) -> String {
    let broker = broker();
    format!(
        "{broker}---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: all, namespace: bench}}\nspec:\n  \
         broker: default\n  subscriber: {{uri: \"http://{sink}/0\"}}\n\
         ---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: github, namespace: bench}}\n\
         spec:\n  forge: github\n  requestsPerSecond: 1000000\n  secrets: [{{secretKeyRef: {{name: hooks, key: github}}}}]\n  \
         sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: hooks, namespace: bench}}\nstringData: {{github: {secret}}}\n"
    )
}
