//! A KafkaSink document. Names of fields are those of Knative's kind.

use millrace_event::ObjectName;
use millrace_model::{Format, KafkaCluster, KafkaSink, Reference, Secret};

use super::delivery::choice;
use super::kafka_net::{self, Net};
use super::metadata::Metadata;
use super::secret::SecretRef;
use super::source::kafka::{address, names, topic};
use crate::field::Object;
use crate::problem::Mark;
use crate::report::Report;

/// The group and version of the kind.
pub(crate) const SINKS_V1ALPHA1: &str = "sinks.millrace.dev/v1alpha1";
/// What `contentMode` may be.
pub(crate) const MODES: &[(&str, Format)] = &[("binary", Format::Binary), ("structured", Format::Json)];

/// A KafkaSink as written.
#[derive(Clone, Debug)]
pub(crate) struct KafkaSinkDocument {
    name: ObjectName,
    bootstrap_servers: Vec<String>,
    topic: String,
    format: Format,
    net: Net,
    /// Where its `spec` stands.
    pub(crate) spec_at: Mark,
}

/// Whether a reference means a KafkaSink.
pub(crate) fn is_kafka_sink(reference: &Reference) -> bool {
    reference.kind == "KafkaSink" && reference.api_version == SINKS_V1ALPHA1
}

/// Reads the rest of a KafkaSink document whose head has been read. Whether it is valid, the report tells.
pub(crate) fn read(
    name: Option<&ObjectName>,
    metadata: &Metadata<'_>,
    document: &mut Object<'_>,
    report: &mut Report,
) -> Option<KafkaSinkDocument> {
    metadata.refuse_unknown(&[], report);
    let mut spec = document.require("spec", report)?.object(report)?;
    let spec_at = spec.at();
    let servers = spec
        .require("bootstrapServers", report)
        .map(|field| names(&field, address, report));
    let named = spec.require("topic", report).and_then(|field| {
        let text = field.text(report)?;
        topic(&field, text, report);
        Some(text.to_owned())
    });
    let mode = spec.take("contentMode");
    let format = choice(mode, MODES, report).unwrap_or_default();
    let namespace = name.map_or("", ObjectName::namespace);
    let net = kafka_net::read(&mut spec, namespace, report);
    spec.close(report);
    Some(KafkaSinkDocument {
        name: name?.clone(),
        bootstrap_servers: servers?,
        topic: named?,
        format,
        net,
        spec_at,
    })
}

// === impl KafkaSinkDocument ===

impl KafkaSinkDocument {
    /// The secrets that it refers to.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        self.net.secrets()
    }

    /// The sink with its secrets, each as `find` finds it.
    pub(crate) fn with_secrets(&self, find: &mut dyn FnMut(&SecretRef) -> Secret) -> KafkaSink {
        let (tls, login) = self.net.with_secrets(find);
        KafkaSink {
            name: self.name.clone(),
            cluster: KafkaCluster {
                bootstrap_servers: self.bootstrap_servers.clone(),
                tls,
                login,
            },
            topic: self.topic.clone(),
            format: self.format,
        }
    }
}
