//! Who knows the resources that documents refer to, beside the documents themselves.

use http::Uri;
use millrace_event::ObjectName;
use millrace_model::{NoSecret, Reference, Unresolved};

/// Looks up what is not among the documents. An answer is data; the sentences are the `Display` of
/// [`millrace_model::NoTarget`] and [`millrace_model::MissingSecret`].
///
/// # Guarantees wanted
/// It answers at once, from what it knows: [`assemble`](fn@crate::assemble) asks for every reference, each
/// time.
pub trait Resolve {
    /// The address of a resource, without what a document adds to it. Brokers among the documents are not
    /// asked for.
    ///
    /// # Errors
    /// Why there is none.
    fn address(&self, resource: &Reference) -> Result<Uri, Unresolved>;

    /// Whether documents of that namespace may refer to this resource. It is asked for every reference.
    fn may_refer(&self, _namespace: &str, _resource: &Reference) -> bool {
        true
    }

    /// An entry of a Secret. Secrets among the documents are not asked for.
    ///
    /// # Errors
    /// Why there is none.
    fn secret(&self, secret: &ObjectName, key: &str) -> Result<Box<[u8]>, NoSecret>;
}

/// A cluster that nobody has looked at: what is not in the files may be there.
pub(crate) struct SomeCluster;

impl Resolve for SomeCluster {
    fn address(&self, _: &Reference) -> Result<Uri, Unresolved> {
        Err(Unresolved::Pending)
    }

    fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(NoSecret::Pending)
    }
}

/// What files know beside themselves: nothing.
pub(crate) struct Files;

impl Resolve for Files {
    fn address(&self, resource: &Reference) -> Result<Uri, Unresolved> {
        Err(if crate::document::destination::is_broker(resource) {
            Unresolved::NotFound
        } else {
            Unresolved::NeedsKubernetes
        })
    }

    fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(NoSecret::NotInFiles)
    }
}
