//! Who knows the resources that documents refer to, beside the documents themselves.

use http::Uri;
use millrace_event::{BROKER_AUDIENCE, ObjectName};
use millrace_model::{Authorities, ConfigLack, NoSecret, Reference, Unresolved};

use crate::document::destination::is_broker;
use crate::document::kafka_sink::is_kafka_sink;
use crate::status::AudienceRefused;

/// Which address of a resource a document means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// The resource.
    pub resource: Reference,
    /// The name of the address, where the document says that (`ref.address`).
    pub address: Option<String>,
    /// The document says who vouches for it (`CACerts`), so a Service is called by `https`.
    pub secured: bool,
}

/// Where a resource is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The URL.
    pub url: Uri,
    /// Who vouches for it, as the resource says. The error is a sentence: certificates that cannot be used.
    pub authorities: Result<Option<Authorities>, String>,
    /// Whom a token has to be for that is shown there, where the resource says it.
    pub audience: Option<String>,
}

/// Looks up what is not among the documents. An answer is data; the sentences are the `Display` of
/// [`millrace_model::NoTarget`] and [`millrace_model::MissingSecret`].
///
/// # Guarantees wanted
/// It answers at once, from what it knows: [`assemble`](fn@crate::assemble) asks for every reference, each
/// time.
pub trait Resolve {
    /// The address of a resource, without what a document adds to it. Brokers and KafkaSinks among the
    /// documents are not asked for.
    ///
    /// # Errors
    /// Why there is none.
    fn address(&self, wanted: &Wanted) -> Result<Address, Unresolved>;

    /// Whether documents of that namespace may refer to this resource. It is asked for every reference.
    fn may_refer(&self, _namespace: &str, _resource: &Reference) -> bool {
        true
    }

    /// The ServiceAccount whose tokens deliveries of that namespace may show; `None`: they show none.
    fn account(&self, _namespace: &str) -> Option<ObjectName> {
        None
    }

    /// What is the matter with a ConfigMap that a Broker names and that is not among the documents; `None`:
    /// it does not matter, and the channel is on the local disk.
    fn config(&self, _config: &ObjectName) -> Option<ConfigLack> {
        None
    }

    /// An entry of a Secret. Secrets among the documents are not asked for.
    ///
    /// # Errors
    /// Why there is none.
    fn secret(&self, secret: &ObjectName, key: &str) -> Result<Box<[u8]>, NoSecret>;
}

// === impl Wanted ===

impl Wanted {
    /// The address of a resource that has only one.
    pub fn of(resource: Reference) -> Self {
        Self {
            resource,
            address: None,
            secured: false,
        }
    }
}

// === impl Address ===

impl Address {
    /// Whom tokens of the namespace `home` are for that are shown at this address of `resource`.
    ///
    /// Whoever writes a status could have a token sent to themselves that is good elsewhere. So it names no
    /// Broker but itself, and nobody to another namespace.
    ///
    /// # Errors
    /// It names somebody, and that is not taken from it.
    pub(crate) fn audience(
        &self,
        resource: &Reference,
        home: &str,
    ) -> Result<Option<String>, AudienceRefused> {
        let Some(audience) = &self.audience else {
            return Ok(None);
        };
        if resource.name.namespace() != home {
            return Err(AudienceRefused::OtherNamespace);
        }
        match audience.strip_prefix(BROKER_AUDIENCE) {
            Some(broker) if !is_broker(resource) || resource.name.to_string() != broker => {
                Err(AudienceRefused::OtherBroker)
            }
            Some(_) | None => Ok(Some(audience.clone())),
        }
    }
}

impl From<Uri> for Address {
    /// A URL for which nobody else vouches, and that asks for no token.
    fn from(url: Uri) -> Self {
        Self {
            url,
            authorities: Ok(None),
            audience: None,
        }
    }
}

/// A cluster that nobody has looked at: what is not in the files may be there.
pub(crate) struct SomeCluster;

impl Resolve for SomeCluster {
    fn address(&self, _: &Wanted) -> Result<Address, Unresolved> {
        Err(Unresolved::Pending)
    }

    fn config(&self, _: &ObjectName) -> Option<ConfigLack> {
        Some(ConfigLack::Pending)
    }

    fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(NoSecret::Pending)
    }
}

/// What files know beside themselves: nothing.
pub(crate) struct Files;

impl Resolve for Files {
    fn address(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let resource = &wanted.resource;
        Err(if is_broker(resource) || is_kafka_sink(resource) {
            Unresolved::NotFound
        } else {
            Unresolved::NeedsKubernetes
        })
    }

    fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(NoSecret::NotInFiles)
    }
}
