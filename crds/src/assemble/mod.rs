//! The second step: documents become the mesh, and each gets the draft of its status.
//!
//! # Contract
//! Every valid document is in the mesh, whatever the others are: what cannot be resolved is in it with the
//! reason, so that its events wait (where its Broker is missing, for the grace period). An invalid document
//! is not in the mesh, and its draft says why. Nothing is read or asked for but what [`Resolve`] answers, so
//! equal documents and equal answers make an equal mesh.
//!
//! [`lookup`] finds what a document refers to, among the documents or with [`Resolve`]; [`relative`] joins a
//! URL to the address that was found.

mod lookup;
mod relative;

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_event::{InnerSender, ObjectName};
use millrace_model::event_policy::Pattern;
use millrace_model::{
    Broker, EventPolicy, Mesh, MissingSecret, NoTarget, Reference, Source, Trigger, Unresolved,
};

use self::lookup::{Lookup, Proven};
use crate::document::broker::BrokerDocument;
use crate::document::event_policy::{From, PolicyDocument, To};
use crate::document::kinds::{self, Kind, Whose};
use crate::document::source::SourceDocument;
use crate::document::trigger::TriggerDocument;
use crate::document::{Content, Document};
use crate::resolve::Resolve;
use crate::status::{Draft, Standing, TriggerTokens};

/// What becomes of documents.
#[derive(Debug, Default)]
pub struct Assembled {
    /// The mesh, with revision 0 (who publishes it counts).
    pub mesh: Mesh,
    /// A draft for each Broker, Trigger and source that has a name, valid or not, in the order of the
    /// documents.
    pub drafts: Vec<Draft>,
}

/// Makes the mesh of these documents. No two have the same kind and name: in files that is a fault, and a
/// cluster cannot have them.
pub fn assemble<'a>(documents: impl IntoIterator<Item = &'a Document>, resolve: &dyn Resolve) -> Assembled {
    let documents: Vec<&Document> = documents.into_iter().collect();
    let lookup = Lookup::new(&documents, resolve);
    let mut assembled = Assembled::default();
    for &document in &documents {
        let Some(key) = document.key.as_ref().filter(|_| document.has_status()) else {
            continue;
        };
        let standing = match &document.content {
            Some(Content::Broker(broker)) => assembled.broker(document, broker, &lookup),
            Some(Content::Trigger(trigger)) => assembled.trigger(document, trigger, &lookup),
            Some(Content::Source(source)) => assembled.source(source, &lookup),
            Some(Content::KafkaSink(_)) => assembled.kafka_sink(&key.name, &lookup),
            Some(Content::EventPolicy(policy)) => assembled.policy(document, policy, &documents),
            Some(Content::Secret(_) | Content::Config(_)) => continue,
            None => Standing::Invalid(document.problems.clone()),
        };
        assembled.drafts.push(Draft {
            key: key.clone(),
            uid: document.uid.clone(),
            generation: document.generation,
            standing,
        });
    }
    assembled.bind();
    assembled
}

// === impl Assembled ===

impl Assembled {
    fn broker(&mut self, document: &Document, read: &BrokerDocument, lookup: &Lookup<'_>) -> Standing {
        let (backend, configured) = lookup.backend(read.config.as_ref());
        let broker = Broker {
            uid: document.uid.clone(),
            backend,
            ..read.broker.clone()
        };
        self.mesh
            .brokers
            .entry(broker.name.clone())
            .or_insert_with(|| Arc::new(broker));
        let (home, auth) = (read.broker.name.namespace(), read.dead_letter_auth.as_ref());
        let sink = read.delivery.own_sink();
        let sink = sink.map(|sink| lookup.proven(Some(sink), home, auth));
        Standing::Broker {
            dead_letter: sink.as_ref().map(Proven::target),
            dead_letter_token: sink.map(|sink| sink.token).unwrap_or_default(),
            policies: Vec::new(),
            configured,
        }
    }

    fn trigger(&mut self, document: &Document, read: &TriggerDocument, lookup: &Lookup<'_>) -> Standing {
        let broker = lookup.broker(&read.broker);
        let defaults = broker.as_ref().ok().map(|broker| &broker.delivery);
        let sink = read.delivery.dead_letter(defaults);
        let home = read.name.namespace();
        let subscriber = lookup.proven(Some(&read.subscriber), home, read.subscriber_auth.as_ref());
        // Whoever names a sink says what it is shown.
        let of_sink = match (read.delivery.own_sink(), &broker) {
            (Some(_), _) => read.dead_letter_auth.as_ref(),
            (None, Ok(broker)) => broker.dead_letter_auth.as_ref(),
            (None, Err(_)) => None,
        };
        let sink = sink.map(|sink| lookup.proven(Some(&sink.destination), home, of_sink));
        let dead_letter = sink.as_ref().map(Proven::target);
        let (dead_letter_auth, dead_letter_token) = sink.map(|sink| (sink.auth, sink.token)).unzip();
        let trigger = Trigger {
            name: read.name.clone(),
            uid: document.uid.clone(),
            resume: read.resume,
            broker: read.broker.name.clone(),
            filters: read.filters.clone(),
            compiled: Arc::clone(&read.compiled),
            subscriber: subscriber.target(),
            subscriber_auth: subscriber.auth.clone(),
            dead_letter: dead_letter.clone(),
            dead_letter_auth: dead_letter_auth.flatten(),
            delivery: read.delivery.policy(defaults),
            parallelism: read.parallelism,
            max_deferred: read.max_deferred,
            max_parked: read.max_parked,
        };
        self.mesh
            .triggers
            .entry(trigger.name.clone())
            .or_insert_with(|| Arc::new(trigger));
        Standing::Trigger {
            broker: broker.map(|broker| broker.broker.name.clone()),
            subscriber: subscriber.target(),
            dead_letter,
            tokens: Box::new(TriggerTokens {
                subscriber: subscriber.token,
                dead_letter: dead_letter_token.unwrap_or_default(),
            }),
        }
    }

    fn policy(&mut self, document: &Document, read: &PolicyDocument, documents: &[&Document]) -> Standing {
        let home = read.name.namespace();
        let brokers = documents.iter().filter_map(|other| match &other.content {
            Some(Content::Broker(broker)) if broker.broker.name.namespace() == home => Some(broker),
            _ => None,
        });
        let bound = brokers.filter(|broker| {
            let fits = |to: &To| to.fits(&broker.broker.name, &broker.labels);
            read.to.is_empty() || read.to.iter().any(fits)
        });
        let mut missing = Vec::new();
        let from = read.from.iter().filter_map(|from| match from {
            From::Named(pattern) => Some(pattern.clone()),
            From::Object(reference) => sender(reference, documents)
                .map_err(|why| missing.push(NoTarget::Unresolved(reference.clone(), why)))
                .ok(),
        });
        let policy = EventPolicy {
            name: read.name.clone(),
            uid: document.uid.clone(),
            from: from.collect(),
            brokers: bound.map(|broker| broker.broker.name.clone()).collect(),
            filters: read.filters.clone(),
            compiled: read.compiled.clone(),
        };
        let from = policy.from.iter().map(ToString::to_string).collect();
        self.mesh
            .policies
            .entry(policy.name.clone())
            .or_insert_with(|| Arc::new(policy));
        Standing::EventPolicy { from, missing }
    }

    /// Tells each Broker the policies that are bound to it.
    fn bind(&mut self) {
        let lacking: BTreeSet<ObjectName> = self
            .drafts
            .iter()
            .filter(|draft| matches!(&draft.standing, Standing::EventPolicy { missing, .. } if !missing.is_empty()))
            .map(|draft| draft.key.name.clone())
            .collect();
        for draft in &mut self.drafts {
            let Standing::Broker { policies, .. } = &mut draft.standing else {
                continue;
            };
            let bound = self.mesh.policies.values();
            let bound = bound.filter(|policy| policy.brokers.contains(&draft.key.name));
            *policies = bound
                .map(|policy| (policy.name.clone(), !lacking.contains(&policy.name)))
                .collect();
        }
    }

    fn source(&mut self, read: &SourceDocument, lookup: &Lookup<'_>) -> Standing {
        let mut missing: Vec<MissingSecret> = Vec::new();
        let spec = read
            .spec
            .with_secrets(&mut |secret| lookup.secret(secret, &mut missing));
        let home = read.name.namespace();
        let sink = lookup.proven(read.sink.as_ref(), home, read.sink_auth.as_ref());
        missing.extend(sink.missing.clone());
        let source = Source {
            name: read.name.clone(),
            sink: sink.target(),
            sink_auth: sink.auth,
            overrides: read.overrides.clone(),
            spec,
        };
        self.mesh
            .sources
            .entry(source.key())
            .or_insert_with(|| Arc::new(source));
        Standing::Source {
            sink: sink.target,
            token: sink.token,
            missing,
        }
    }

    fn kafka_sink(&mut self, name: &ObjectName, lookup: &Lookup<'_>) -> Standing {
        let Some((sink, missing)) = lookup.kafka_sink(name) else {
            return Standing::Invalid(Vec::new());
        };
        let sinks = &mut self.mesh.kafka_sinks;
        sinks.entry(name.clone()).or_insert_with(|| Arc::clone(sink));
        Standing::KafkaSink {
            missing: missing.to_vec(),
        }
    }
}

/// The name by which a Trigger or a source of ours sends events.
fn sender(reference: &Reference, documents: &[&Document]) -> Result<Pattern, Unresolved> {
    let Whose::Ours(kind @ (Kind::Trigger | Kind::Source(_))) =
        kinds::kind(&reference.api_version, &reference.kind)
    else {
        return Err(Unresolved::NotASender);
    };
    let is_there = documents
        .iter()
        .filter_map(|document| document.key.as_ref())
        .any(|key| key.kind == kind && key.name == reference.name);
    if !is_there {
        return Err(Unresolved::NotFound);
    }
    let sender = InnerSender {
        kind: kind.as_str(),
        name: reference.name.clone(),
    };
    Ok(Pattern::Exact(sender.to_string().into()))
}
