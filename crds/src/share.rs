//! What did not change between two loads stays the same value, so that who watches the mesh sees at once what did.

use std::sync::Arc;

use millrace_model::{Mesh, Trigger};

/// Replaces every broker and trigger of `mesh` that is as it was in `before` by the one of `before`.
pub fn share(mesh: &mut Mesh, before: &Mesh) {
    for (name, broker) in &mut mesh.brokers {
        if let Some(old) = before.brokers.get(name)
            && old == broker
        {
            *broker = Arc::clone(old);
        }
    }
    for (name, trigger) in &mut mesh.triggers {
        if let Some(old) = before.triggers.get(name)
            && same(old, trigger)
        {
            *trigger = Arc::clone(old);
        }
    }
}

/// Whether two meshes have the same brokers and triggers, whatever their revisions.
pub fn same_mesh(a: &Mesh, b: &Mesh) -> bool {
    let triggers = a.triggers.values().zip(b.triggers.values());
    a.brokers == b.brokers
        && a.triggers.len() == b.triggers.len()
        && triggers.into_iter().all(|(a, b)| same(a, b))
}

/// Whether two triggers are the same in every field. What filters compile to follows from the filters.
fn same(a: &Trigger, b: &Trigger) -> bool {
    let Trigger {
        name,
        uid,
        broker,
        filters,
        compiled: _,
        subscriber,
        dead_letter,
        delivery,
        parallelism,
        max_deferred,
        max_parked,
    } = a;
    (name, uid, broker, filters, subscriber) == (&b.name, &b.uid, &b.broker, &b.filters, &b.subscriber)
        && (dead_letter, delivery) == (&b.dead_letter, &b.delivery)
        && (parallelism, max_deferred, max_parked) == (&b.parallelism, &b.max_deferred, &b.max_parked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load_text;

    const BROKER: &str = "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\n";

    fn mesh(subscribers: &[(&str, &str)]) -> Mesh {
        let mut text = BROKER.to_owned();
        for (name, uri) in subscribers {
            text.push_str(&format!(
                "{{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {{name: {name}}}, spec: {{broker: b, subscriber: {{uri: \"{uri}\"}}}}}}\n---\n"
            ));
        }
        load_text(&text).mesh.expect("valid")
    }

    #[test]
    fn only_what_changed_is_new() {
        let before = mesh(&[("a", "http://a/"), ("b", "http://b/")]);
        let mut after = mesh(&[("a", "http://a/"), ("b", "http://other/"), ("c", "http://c/")]);
        assert!(same_mesh(
            &before,
            &mesh(&[("a", "http://a/"), ("b", "http://b/")])
        ));
        assert!(!same_mesh(&before, &after));
        share(&mut after, &before);
        let kept: Vec<bool> = after
            .triggers
            .iter()
            .map(|(name, trigger)| {
                before
                    .triggers
                    .get(name)
                    .is_some_and(|old| Arc::ptr_eq(old, trigger))
            })
            .collect();
        assert_eq!(kept, [true, false, false]);
        assert!(
            before
                .brokers
                .iter()
                .all(|(name, old)| Arc::ptr_eq(old, &after.brokers[name]))
        );
    }
}
