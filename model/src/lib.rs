//! The mesh as plain data: what should be ([`mesh`], [`broker`], [`backend`], [`trigger`], [`policy`],
//! [`event_policy`], [`target`], [`kafka`], [`authorities`], [`auth`], [`reference`](mod@reference),
//! [`source`], [`secret`], a [`quantity`] of bytes) and what is ([`status`], [`state`], and [`shortage`] for
//! what Millrace itself has run out of).
//!
//! Nothing here knows YAML, Kubernetes or HTTP; `crds/` converts documents into these types.

pub mod auth;
pub mod authorities;
pub mod backend;
pub mod broker;
pub mod event_policy;
pub mod kafka;
pub mod mesh;
pub mod policy;
pub mod quantity;
pub mod reference;
pub mod secret;
pub mod shortage;
pub mod source;
pub mod state;
pub mod status;
pub mod target;
pub mod trigger;

pub use auth::{Auth, ClientCertificate, Credentials};
pub use authorities::Authorities;
pub use backend::{Backend, ConfigLack, DurabilityWanted, JetStream, KafkaTopics, NoConfig};
pub use broker::{Broker, OnFull, Retention};
pub use event_policy::EventPolicy;
pub use kafka::{KafkaCluster, KafkaSink};
pub use mesh::Mesh;
pub use millrace_event::ObjectName;
pub use policy::{Backoff, BackoffPolicy, DeliveryPolicy, Format};
pub use reference::{NoTarget, OtherAddresses, Reference, Unresolved};
pub use secret::{MissingSecret, NamedFile, NoSecret, Octets, Secret};
pub use shortage::Shortage;
pub use source::{Source, SourceKey, SourceKind, SourceSpec};
pub use state::{BrokerState, SinkState, SourceState, TriggerState};
pub use status::StatusBoard;
pub use target::Target;
pub use trigger::Trigger;
