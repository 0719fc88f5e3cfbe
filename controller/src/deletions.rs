//! Which Triggers are gone, so that what they were owed can go.
//!
//! # Contract
//! A Trigger is gone when neither a complete view nor the mesh in effect has its uid: a Broker that cannot be
//! served for now keeps its Triggers in effect. The place of one that is gone stays for one of its name that
//! resumes (`millrace.dev/resume`), until another of its name is in effect.

use std::collections::BTreeMap;

use millrace_model::{Mesh, ObjectName};
use tokio::sync::mpsc;

use crate::events::{Events, Told};

/// A Trigger whose deletion is in effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gone {
    /// The Trigger.
    pub trigger: ObjectName,
    /// The Broker that it read.
    pub broker: ObjectName,
    /// The uid that it had.
    pub uid: String,
    /// Another Trigger of its name is in effect: nobody can take over its place any more.
    pub is_replaced: bool,
}

/// Names whose places may still be taken over that are remembered. More stay for their grace.
const PLACES: usize = 10_000;

/// The Triggers that exist, and those that do no more.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    /// By uid.
    known: BTreeMap<String, Gone>,
    /// Those that are gone and not replaced, by name: the last of each.
    places: BTreeMap<ObjectName, Gone>,
    gone: Vec<Gone>,
}

// === impl Gone ===

impl Gone {
    fn is_in(&self, mesh: &Mesh) -> bool {
        let of_name = mesh.triggers.get(&self.trigger);
        of_name.is_some_and(|trigger| trigger.uid.as_ref() == Some(&self.uid))
    }

    fn is_replaced(&self, mesh: &Mesh) -> bool {
        let other = mesh.triggers.get(&self.trigger);
        // One without its Broker has no lane, so it has not taken over anything yet.
        mesh.brokers.contains_key(&self.broker)
            && other.is_some_and(|other| other.broker == self.broker && other.uid.as_ref() != Some(&self.uid))
    }
}

// === impl Deletions ===

impl Deletions {
    /// These Triggers were there at the end of the last run.
    pub(crate) fn begin(&mut self, triggers: BTreeMap<String, Gone>) {
        self.known = triggers;
    }

    /// Compares the Triggers that exist now, by uid, with those that were known. The mesh is in effect.
    pub(crate) fn note(&mut self, now: BTreeMap<String, Gone>, mesh: &Mesh) {
        let before = std::mem::replace(&mut self.known, now);
        for (uid, gone) in before {
            if self.known.contains_key(&uid) {
                continue;
            }
            if gone.is_in(mesh) {
                self.known.insert(uid, gone);
                continue;
            }
            let is_replaced = gone.is_replaced(mesh);
            if !is_replaced && self.places.len() < PLACES {
                self.places.insert(gone.trigger.clone(), gone.clone());
            }
            self.gone.push(Gone { is_replaced, ..gone });
        }
        self.places.retain(|_, gone| {
            let is_replaced = gone.is_replaced(mesh);
            if is_replaced {
                self.gone.push(Gone {
                    is_replaced,
                    ..gone.clone()
                });
            }
            !is_replaced
        });
    }

    /// What was noted since the last time.
    pub(crate) fn take(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }
}

/// Tells what was dropped, as Events of Kubernetes.
pub(crate) async fn tell(events: Events, mut dropped: mpsc::Receiver<(Gone, u64)>) {
    while let Some((gone, rows)) = dropped.recv().await {
        let what = match rows {
            1 => "1 event that waited".to_owned(),
            rows => format!("{rows} events that waited"),
        };
        let told = Told {
            is_warning: true,
            reason: "DebtsDropped".to_owned(),
            note: format!(
                "{what} for another attempt was dropped with the Trigger. Parked events stay, and its place is \
                 kept for a Trigger of its name with millrace.dev/resume"
            ),
            action: "Forget",
        };
        events
            .tell(millrace_crds::Kind::Trigger, &gone.trigger, &gone.uid, told)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_crds::{Document, assemble};
    use serde_json::{Value, json};

    use super::*;

    fn object(kind: &str, name: &str, uid: &str, spec: &Value) -> Document {
        Document::of_object(&json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "generation": 1}, "spec": spec,
        }))
    }

    /// A mesh with these Triggers of the Broker `b`, each a name and a uid.
    fn mesh(triggers: &[(&str, &str)]) -> (BTreeMap<String, Gone>, Mesh) {
        let spec = json!({"broker": "b", "subscriber": {"uri": "http://sink.example/"}});
        let trigger = |(name, uid): &(&str, &str)| object("Trigger", name, uid, &spec);
        let mut all: Vec<Document> = triggers.iter().map(trigger).collect();
        all.push(object("Broker", "b", "b", &json!({})));
        let known = triggers.iter().map(|(name, uid)| {
            let gone = Gone {
                trigger: ObjectName::new("shop", *name),
                broker: ObjectName::new("shop", "b"),
                uid: (*uid).to_owned(),
                is_replaced: false,
            };
            ((*uid).to_owned(), gone)
        });
        (known.collect(), assemble(&all, &Nothing).mesh)
    }

    struct Nothing;

    impl millrace_crds::Resolve for Nothing {
        fn address(
            &self,
            _: &millrace_crds::Wanted,
        ) -> Result<millrace_crds::Address, millrace_model::Unresolved> {
            Err(millrace_model::Unresolved::NotFound)
        }

        fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, millrace_model::NoSecret> {
            Err(millrace_model::NoSecret::NotFound)
        }
    }

    /// What is gone after each step, as `uid` or, if it is replaced, `uid!`.
    fn steps(steps: &[&[(&str, &str)]]) -> Vec<String> {
        let mut deletions = Deletions::default();
        let mut said = Vec::new();
        for triggers in steps {
            let (now, mesh) = mesh(triggers);
            deletions.note(now, &mesh);
            let gone = deletions.take().into_iter();
            let gone = gone.map(|gone| format!("{}{}", gone.uid, if gone.is_replaced { "!" } else { "" }));
            said.push(gone.collect::<Vec<_>>().join(" "));
        }
        said
    }

    #[test]
    fn a_place_can_be_taken_over_until_another_of_its_name_is_in_effect() {
        let seen = steps(&[
            &[("a", "1"), ("b", "2")],
            &[("b", "2")],
            &[("b", "2"), ("c", "3")],
            &[("b", "2"), ("a", "4")],
            &[("a", "5")],
            &[],
            &[],
        ]);
        assert_eq!(seen, ["", "1", "", "3 1!", "2 4!", "5", ""]);
    }

    /// Whether each that is gone was replaced.
    fn replaced(deletions: &mut Deletions) -> Vec<bool> {
        let gone = deletions.take();
        gone.iter().map(|gone| gone.is_replaced).collect()
    }

    #[test]
    fn one_that_is_not_in_effect_replaces_nothing() {
        let mut deletions = Deletions::default();
        let (first, _) = mesh(&[("a", "1")]);
        deletions.begin(first);
        let (now, mut mesh) = mesh(&[("a", "2")]);
        let broker = mesh
            .brokers
            .remove(&ObjectName::new("shop", "b"))
            .expect("it is there");
        deletions.note(now.clone(), &mesh);
        assert_eq!(replaced(&mut deletions), [false]);
        mesh.brokers
            .insert(ObjectName::new("shop", "b"), Arc::clone(&broker));
        deletions.note(now, &mesh);
        assert_eq!(replaced(&mut deletions), [true]);
    }

    #[test]
    fn one_that_is_still_in_effect_is_not_gone() {
        let mut deletions = Deletions::default();
        let (first, before) = mesh(&[("a", "1")]);
        deletions.begin(first);
        let (now, after) = mesh(&[]);
        deletions.note(now.clone(), &before);
        assert_eq!(deletions.take(), [], "its Broker cannot be served for now");
        deletions.note(now, &after);
        assert_eq!(deletions.take().len(), 1);
    }
}
