//! Answers what documents refer to from what the watches have seen, and from what an earlier run has left on
//! the disk where they have seen nothing yet.

use std::collections::BTreeMap;

use millrace_crds::{Address, Kind, Resolve, Wanted};
use millrace_model::{ConfigLack, NoSecret, ObjectName, Reference, Unresolved};

use crate::configs::Configs;
use crate::objects::{Objects, Standing};
use crate::options::Options;
use crate::review::{Question, Verdict};
use crate::targets::{self, Targets};
use crate::watch::Trouble;

/// The Secrets that documents name: only whether each can be read. Those that are there are documents.
pub(crate) type Secrets = BTreeMap<ObjectName, Standing>;

/// What ApiServerSources may read.
pub(crate) type Reviews = BTreeMap<Question, Verdict>;

/// Addresses of an earlier run.
pub(crate) type Addresses = BTreeMap<Wanted, Address>;

/// Who answers.
pub(crate) struct Resolver<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) targets: &'a Targets,
    pub(crate) secrets: &'a Secrets,
    pub(crate) configs: &'a Configs,
    pub(crate) kept: &'a Addresses,
    pub(crate) options: &'a Options,
}

/// Whether a reference means a Broker, of whatever class.
pub(crate) fn is_broker(reference: &Reference) -> bool {
    reference.kind == "Broker" && reference.api_version == "eventing.knative.dev/v1"
}

/// Whether a reference means a KafkaSink.
pub(crate) fn is_kafka_sink(reference: &Reference) -> bool {
    reference.kind == "KafkaSink" && reference.api_version == "sinks.millrace.dev/v1alpha1"
}

// === impl Resolver ===

impl Resolver<'_> {
    /// A Broker that we do not serve, by the address that its own controller gave it.
    fn foreign_broker(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let name = &wanted.resource.name;
        match self.objects.get(Kind::Broker, name) {
            Some(entry) => targets::Addresses::of(&entry.status).get(wanted),
            None => Err(self.absent(Kind::Broker, name)),
        }
    }

    fn absent(&self, kind: Kind, name: &ObjectName) -> Unresolved {
        let scopes = self.options.scopes();
        let watched = scopes
            .iter()
            .filter(|scope| scope.as_ref().is_none_or(|scope| scope == name.namespace()));
        let watched: Vec<Option<String>> = watched.cloned().collect();
        if self.objects.is_complete(kind, &watched) {
            Unresolved::NotFound
        } else {
            Unresolved::Pending
        }
    }
}

impl Resolve for Resolver<'_> {
    fn address(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let found = if is_broker(&wanted.resource) {
            self.foreign_broker(wanted)
        } else if is_kafka_sink(&wanted.resource) {
            return Err(self.absent(Kind::KafkaSink, &wanted.resource.name));
        } else {
            let target = self.targets.get(&wanted.resource);
            target.and_then(|target| target.addresses.get(wanted))
        };
        match found {
            Err(Unresolved::Pending) => self.kept.get(wanted).cloned().ok_or(Unresolved::Pending),
            found => found,
        }
    }

    fn may_refer(&self, namespace: &str, resource: &Reference) -> bool {
        self.options.may_refer(namespace, resource)
    }

    fn account(&self, namespace: &str) -> Option<ObjectName> {
        self.options.accounts.get(namespace).cloned()
    }

    fn config(&self, config: &ObjectName) -> Option<ConfigLack> {
        Some(self.configs.lack(config))
    }

    fn secret(&self, secret: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(match self.secrets.get(secret) {
            Some(Standing::Complete) => NoSecret::NotFound,
            Some(Standing::Failed(Trouble::Forbidden)) => NoSecret::Forbidden,
            Some(Standing::Failed(_) | Standing::Pending) | None => NoSecret::Pending,
        })
    }
}
