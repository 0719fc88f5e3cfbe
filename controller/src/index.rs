//! Everything that the watches have seen, and what follows from it: what to watch, whether a mesh can be
//! made, and what is still waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_crds::{Document, Kind, Resolve as _, Wanted};
use millrace_model::{ObjectName, Unresolved};
use serde_json::Value;
use tokio::time::Instant;

use crate::build::{Built, Needs, build, needs};
use crate::bundles::Bundles;
use crate::configs::Configs;
use crate::deletions::Gone;
use crate::kept::Kept;
use crate::kinds::KINDS;
use crate::objects::{Objects, Standing, name_of};
use crate::options::Options;
use crate::resolve::{Addresses, Resolver, Reviews, Secrets};
use crate::targets::Targets;
use crate::watch::{News, Sighting, Watched, What};

/// How long a mesh waits for what was never looked up.
pub(crate) const LOOK_UP: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) options: Options,
    pub(crate) objects: Objects,
    pub(crate) targets: Targets,
    pub(crate) reviews: Reviews,
    bundles: Bundles,
    secrets: Secrets,
    configs: Configs,
    /// The Secrets that are there.
    readable: BTreeMap<ObjectName, Document>,
    /// Addresses of an earlier run.
    remembered: Addresses,
    /// Since when something is waited for that was never looked up.
    waiting: Option<Instant>,
    /// What was waited for in vain.
    overdue: Needs,
}

// === impl Index ===

impl Index {
    /// What an earlier run has kept.
    pub(crate) fn new(options: Options, kept: Kept) -> Self {
        let bundles = Bundles::remembered(kept.bundles);
        let mut objects = Objects::default();
        // What is not watched any more would never be replaced, nor removed.
        let is_watched = |object: &&Arc<Value>| options.watches(object["metadata"]["namespace"].as_str());
        for object in kept.objects.iter().filter(is_watched) {
            objects.remember(Value::clone(object));
        }
        Self {
            options,
            objects,
            targets: Targets::default(),
            reviews: Reviews::new(),
            bundles,
            secrets: Secrets::new(),
            configs: Configs::remembered(&kept.configs),
            readable: BTreeMap::new(),
            remembered: kept.addresses,
            waiting: None,
            overdue: Needs::default(),
        }
    }

    /// Takes in what a watch says.
    pub(crate) fn see(&mut self, Sighting { watched, news }: Sighting) {
        let scope = watched.namespace.as_deref();
        match watched.what {
            What::Ours(kind) => self.objects.see(kind, scope, news),
            What::Target(kind) => {
                let domain = &self.options.cluster_domain;
                self.targets.see(&kind, scope, news, domain);
            }
            What::Bundles => self.bundles.see(news),
            What::Secret(name) => self.see_secret(name, news),
            What::Config(name) => self.configs.see(name, news),
            What::Review(question) => {
                if let News::Reviewed(verdict) = news {
                    self.reviews.insert(question, verdict);
                }
            }
        }
    }

    fn see_secret(&mut self, secret: ObjectName, news: News) {
        let standing = self.secrets.entry(secret.clone()).or_default();
        let found = match news {
            News::Listed(objects) => {
                *standing = Standing::Complete;
                objects
                    .into_iter()
                    .find(|object| name_of(object).as_ref() == Some(&secret))
            }
            News::Applied(object) => Some(*object),
            News::Deleted(_) => None,
            News::Failed(trouble) => return standing.fail(trouble),
            News::Reviewed(_) => return,
        };
        match found.and_then(|object| serde_json::to_value(object).ok()) {
            Some(object) => drop(self.readable.insert(secret, Document::of_object(&object))),
            None => drop(self.readable.remove(&secret)),
        }
    }

    /// Whether nothing of Brokers and Triggers is unknown, so that something can be missing.
    pub(crate) fn is_complete(&self) -> bool {
        let scopes = self.options.scopes();
        [Kind::Broker, Kind::Trigger]
            .iter()
            .all(|kind| self.objects.is_complete(*kind, &scopes))
    }

    /// Whether Brokers and Triggers are known completely, and of all else whether it can be.
    pub(crate) fn is_listed(&self) -> bool {
        let scopes = self.options.scopes();
        let is_complete = |kind| self.objects.is_complete(kind, &scopes);
        let is_answered = |(kind, _): &(Kind, &str)| self.objects.is_answered(*kind, &scopes);
        is_complete(Kind::Broker)
            && is_complete(Kind::Trigger)
            && KINDS.iter().all(is_answered)
            && self.bundles.is_answered()
            && self.has_ensured()
    }

    /// Whether the Broker that is to be there is.
    pub(crate) fn has_ensured(&self) -> bool {
        let wanted = self.options.ensure_broker.as_ref();
        wanted.is_none_or(|broker| {
            let found = self.objects.get(Kind::Broker, broker);
            found.is_some_and(|entry| self.options.is_ours(entry.class()))
        })
    }

    /// The Broker that is to be there, where it is that of another controller, and its class.
    pub(crate) fn foreign_ensured(&self) -> Option<(&ObjectName, Option<&str>)> {
        let wanted = self.options.ensure_broker.as_ref()?;
        let entry = self.objects.get(Kind::Broker, wanted)?;
        (!self.options.is_ours(entry.class())).then(|| (wanted, entry.class()))
    }

    /// Whether something was never looked up that may still be: a mesh would say of it that it is not known.
    pub(crate) fn is_waiting(&mut self) -> bool {
        let mut pending = needs(&self.objects, &self.configs, &self.options);
        let resolver = self.resolver();
        let is_pending = |wanted: &Wanted| resolver.address(wanted) == Err(Unresolved::Pending);
        pending.addresses.retain(is_pending);
        let is_unread =
            |secret: &ObjectName| matches!(self.secrets.get(secret), None | Some(Standing::Pending));
        pending.secrets.retain(is_unread);
        pending.configs.retain(|config| self.configs.is_unread(config));
        pending
            .reviews
            .retain(|question| !self.reviews.contains_key(question));
        let is_overdue = pending.is_within(&self.overdue);
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if !is_overdue && since.elapsed() < LOOK_UP {
            return true;
        }
        (self.overdue, self.waiting) = (pending, None);
        false
    }

    /// When a mesh is made although something is still waited for.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        self.waiting.map(|since| since + LOOK_UP)
    }

    /// What is to be watched. What is no longer needed is forgotten.
    pub(crate) fn watched(&mut self) -> BTreeSet<Watched> {
        let needed = needs(&self.objects, &self.configs, &self.options);
        let references = needed.references();
        let Needs {
            secrets,
            configs,
            reviews,
            ..
        } = needed;
        let is_scoped = !self.options.namespaces.is_empty();
        let mut watched = self.targets.want(&references, is_scoped);
        for (kind, _) in KINDS {
            watched.extend(self.options.scopes().into_iter().map(|namespace| Watched {
                what: What::Ours(kind),
                namespace,
            }));
        }
        watched.extend(self.options.own_namespace.clone().map(|namespace| Watched {
            what: What::Bundles,
            namespace: Some(namespace),
        }));
        self.secrets.retain(|secret, _| secrets.contains(secret));
        self.readable.retain(|secret, _| secrets.contains(secret));
        self.reviews.retain(|question, _| reviews.contains(question));
        self.configs.keep(&configs);
        let secrets = secrets.into_iter().map(What::Secret);
        let configs = configs.into_iter().map(What::Config);
        let single = secrets
            .chain(configs)
            .chain(reviews.into_iter().map(What::Review));
        watched.extend(single.map(|what| Watched {
            what,
            namespace: None,
        }));
        watched
    }

    /// Makes the mesh of all objects.
    pub(crate) fn build(&self) -> Built {
        let resolver = self.resolver();
        let beside = self.readable.values().chain(self.configs.documents());
        let mut built = build(&self.objects, beside, &resolver, &self.options, &self.reviews);
        built.mesh.authorities = self.bundles.authorities();
        built
    }

    /// What is to be kept on the disk. Its addresses count until they are looked up again.
    pub(crate) fn keep(&mut self) -> Kept {
        let valid = self.objects.all().filter_map(|entry| entry.valid.as_ref());
        let objects: Vec<Arc<Value>> = valid.map(|said| said.object.clone()).collect();
        let resolver = self.resolver();
        let wanted = needs(&self.objects, &self.configs, &self.options).addresses;
        let found = wanted.into_iter().filter_map(|wanted| {
            let address = resolver.address(&wanted).ok()?;
            Some((wanted, address))
        });
        let addresses: Addresses = found.collect();
        self.remembered.clone_from(&addresses);
        Kept {
            objects,
            configs: self.configs.accepted(),
            addresses,
            bundles: self.bundles.authorities(),
        }
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver {
            objects: &self.objects,
            targets: &self.targets,
            secrets: &self.secrets,
            configs: &self.configs,
            kept: &self.remembered,
            options: &self.options,
        }
    }

    /// The Triggers that exist, by their uids.
    pub(crate) fn triggers(&self) -> BTreeMap<String, Gone> {
        let triggers = self.objects.of(Kind::Trigger).filter_map(|entry| {
            let trigger = entry.key.name.clone();
            let broker = entry.broker()?;
            let uid = entry.uid.clone();
            let known = Gone {
                trigger,
                broker,
                uid: uid.clone(),
                is_replaced: false,
            };
            Some((uid, known))
        });
        triggers.collect()
    }
}
