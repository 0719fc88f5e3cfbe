//! Where the API serves the kinds that are ours, and the words that they are known by.

use kube::core::{ApiResource, GroupVersionKind};
use millrace_crds::Kind;
use millrace_model::SourceKind;

/// The class of our Brokers.
pub(crate) const CLASS: &str = "Millrace";
/// The annotation that names a Broker's class.
pub(crate) const CLASS_ANNOTATION: &str = "eventing.knative.dev/broker.class";
/// Who writes, as the API server notes it with each field.
pub(crate) const MANAGER: &str = "millrace";

const EVENTING: &str = "eventing.knative.dev";
const SOURCES: &str = "sources.millrace.dev";
const SINKS: &str = "sinks.millrace.dev";

/// The kinds that are watched, with the plural by which the API serves each.
pub(crate) const KINDS: [(Kind, &str); 8] = [
    (Kind::Broker, "brokers"),
    (Kind::Trigger, "triggers"),
    (Kind::EventPolicy, "eventpolicies"),
    (Kind::Source(SourceKind::GitWebhook), "gitwebhooksources"),
    (Kind::Source(SourceKind::Cron), "cronsources"),
    (Kind::Source(SourceKind::Kafka), "kafkasources"),
    (Kind::Source(SourceKind::ApiServer), "apiserversources"),
    (Kind::KafkaSink, "kafkasinks"),
];

/// How the objects of one of our kinds are reached.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    if kind == Kind::Secret {
        return ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Secret"), "secrets");
    }
    if kind == Kind::Config {
        return crate::bundles::resource();
    }
    let (group, version) = match kind {
        Kind::Source(_) => (SOURCES, "v1alpha1"),
        Kind::KafkaSink => (SINKS, "v1alpha1"),
        Kind::EventPolicy => (EVENTING, "v1alpha1"),
        Kind::Broker | Kind::Trigger | Kind::Secret | Kind::Config => (EVENTING, "v1"),
    };
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    let plural = known.map_or("", |(_, plural)| plural);
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), plural)
}
