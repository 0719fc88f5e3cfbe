//! All objects together become one mesh and a draft of each status.
//!
//! # Contract
//! Pure: equal objects and equal answers make an equal mesh. Only Brokers of our class are in it, the
//! Triggers of these, and the sources. A Trigger whose Broker does not exist is in it as well where it is
//! ours to say so: we are the default class, or we have written its status before.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use millrace_crds::{Document, Draft, Key, Kind, Resolve, Standing, Wanted, assemble};
use millrace_model::{Broker, Mesh, ObjectName, Reference, SourceKey};
use serde_json::Value;

use crate::configs::Configs;
use crate::dependency;
use crate::objects::{Entry, Objects};
use crate::options::Options;
use crate::resolve::{Reviews, is_broker, is_kafka_sink};
use crate::review::Question;

/// What became of all objects.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) mesh: Mesh,
    pub(crate) drafts: Vec<Draft>,
    /// What is in the mesh: uids with the generation that counts.
    pub(crate) members: BTreeMap<Key, (String, i64)>,
}

/// What the objects refer to, beside Brokers and each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) addresses: BTreeSet<Wanted>,
    pub(crate) secrets: BTreeSet<ObjectName>,
    pub(crate) configs: BTreeSet<ObjectName>,
    pub(crate) reviews: BTreeSet<Question>,
}

// === impl Needs ===

impl Needs {
    /// The objects whose addresses are needed.
    pub(crate) fn references(&self) -> BTreeSet<Reference> {
        let resources = self.addresses.iter().map(|wanted| &wanted.resource);
        resources.cloned().collect()
    }

    /// Whether all of it is also needed there.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.addresses.is_subset(&other.addresses)
            && self.secrets.is_subset(&other.secrets)
            && self.configs.is_subset(&other.configs)
            && self.reviews.is_subset(&other.reviews)
    }
}

/// The annotation by which a Trigger asks for its Broker, and the only name that such a Broker has.
const INJECTION: &str = "/metadata/annotations/eventing.knative.dev~1injection";
const INJECTED: &str = "default";

/// Makes the mesh. `beside` are the Secrets and ConfigMaps that can be read. An ApiServerSource is in the
/// mesh only if its own account may read what it reads.
pub(crate) fn build<'a>(
    objects: &'a Objects,
    beside: impl Iterator<Item = &'a Document>,
    resolve: &dyn Resolve,
    options: &'a Options,
    reviews: &Reviews,
) -> Built {
    let entries: Vec<&Entry> = served(objects, options).collect();
    let documents = entries.iter().map(|entry| entry.document());
    let assembled = assemble(documents.chain(beside), resolve);
    let mut built = Built {
        mesh: assembled.mesh,
        drafts: assembled.drafts,
        members: BTreeMap::new(),
    };
    let by_key: BTreeMap<_, &Entry> = entries.iter().map(|entry| (&entry.key, *entry)).collect();
    built.mesh.sources.retain(|source, _| {
        let key = Key {
            kind: Kind::Source(source.kind),
            name: source.name.clone(),
        };
        let entry = by_key.get(&key);
        let question = entry.and_then(|entry| Question::of(entry, options));
        question.is_none_or(|question| matches!(reviews.get(&question), Some(Ok(()))))
    });
    for draft in &mut built.drafts {
        let Some(entry) = by_key.get(&draft.key) else {
            continue;
        };
        // Its last valid generation is in the mesh, and its status is about the newest.
        if !entry.current.document.is_valid() {
            draft.standing = Standing::Invalid(entry.current.document.problems.clone());
            draft.generation = Some(entry.generation);
        }
    }
    // A Trigger without its Broker has no lane.
    let has_lane = |trigger: &ObjectName| {
        let trigger = built.mesh.triggers.get(trigger);
        trigger.is_some_and(|trigger| built.mesh.brokers.contains_key(&trigger.broker))
    };
    let in_mesh = entries
        .iter()
        .filter(|entry| entry.valid.is_some())
        .filter(|entry| entry.key.kind != Kind::Trigger || has_lane(&entry.key.name));
    built.members = in_mesh
        .map(|entry| (entry.key.clone(), entry.identity()))
        .collect();
    built
}

impl Built {
    /// The members that are in effect as they were built, with this mesh in effect.
    pub(crate) fn in_effect(&self, mesh: &Mesh) -> HashSet<(String, i64)> {
        let built = &self.mesh;
        let has_broker = |name: &ObjectName| match (built.brokers.get(name), mesh.brokers.get(name)) {
            (Some(built), Some(there)) => is_same(built, there),
            (built, there) => built == there,
        };
        let members = self.members.iter().filter(|(Key { kind, name }, _)| match kind {
            Kind::Broker => has_broker(name),
            Kind::Trigger => {
                let trigger = built.triggers.get(name);
                trigger == mesh.triggers.get(name)
                    && trigger.is_some_and(|trigger| has_broker(&trigger.broker))
            }
            Kind::Source(kind) => {
                let key = SourceKey {
                    kind: *kind,
                    name: name.clone(),
                };
                built.sources.get(&key) == mesh.sources.get(&key)
            }
            Kind::KafkaSink => built.kafka_sinks.get(name) == mesh.kafka_sinks.get(name),
            Kind::EventPolicy => built.policies.get(name) == mesh.policies.get(name),
            Kind::Secret | Kind::Config => false,
        });
        members.map(|(_, identity)| identity.clone()).collect()
    }
}

/// Whether a Broker is served as it was built. Whether its channel is where it is to be, its own condition
/// says: a Broker whose `config` does not count any more is served on where it was.
fn is_same(built: &Broker, there: &Broker) -> bool {
    built == there || {
        let backend = built.backend.clone();
        *built
            == Broker {
                backend,
                ..there.clone()
            }
    }
}

/// What the objects that are served refer to.
pub(crate) fn needs(objects: &Objects, configs: &Configs, options: &Options) -> Needs {
    let mut needs = Needs::default();
    for entry in served(objects, options) {
        let (document, home) = (entry.document(), entry.key.name.namespace());
        let wanted = document.wanted().into_iter().cloned();
        let dependency = dependency::named(entry).and_then(Result::ok).map(Wanted::of);
        let is_needed = |wanted: &Wanted| {
            let resource = &wanted.resource;
            !is_broker(resource) && !is_kafka_sink(resource) && options.may_refer(home, resource)
        };
        needs.addresses.extend(wanted.chain(dependency).filter(is_needed));
        needs.configs.extend(document.config().cloned());
        let config = document.config().and_then(|config| configs.get(config));
        let secrets = [document].into_iter().chain(config).flat_map(Document::secrets);
        needs.secrets.extend(secrets.map(|(secret, _)| secret.clone()));
        needs.reviews.extend(Question::of(entry, options));
    }
    needs
}

/// The Brokers that are to be made because Triggers ask for them (`eventing.knative.dev/injection`). Only
/// where a Broker without class is ours: elsewhere another controller makes it.
pub(crate) fn injected(objects: &Objects, options: &Options) -> BTreeSet<ObjectName> {
    let asks = |entry: &&Entry| {
        let annotation = entry.current.object.pointer(INJECTION);
        annotation.and_then(Value::as_str) == Some("enabled")
    };
    let triggers = objects.of(Kind::Trigger).filter(|_| options.default_class);
    let brokers = triggers.filter(asks).filter_map(Entry::broker);
    brokers
        .filter(|broker| broker.name() == INJECTED && objects.get(Kind::Broker, broker).is_none())
        .collect()
}

/// The objects that are ours to serve.
fn served<'a>(objects: &'a Objects, options: &'a Options) -> impl Iterator<Item = &'a Entry> {
    objects.all().filter(|entry| is_served(entry, objects, options))
}

/// Whether an object is ours to serve.
pub(crate) fn is_served(entry: &Entry, objects: &Objects, options: &Options) -> bool {
    match entry.key.kind {
        Kind::Broker => options.is_ours(entry.class()),
        Kind::Trigger => {
            let broker = entry.broker();
            match broker.and_then(|broker| objects.get(Kind::Broker, &broker)) {
                Some(broker) => options.is_ours(broker.class()),
                None => options.default_class || entry.is_written,
            }
        }
        Kind::Source(_) | Kind::KafkaSink | Kind::EventPolicy => true,
        Kind::Secret | Kind::Config => false,
    }
}
