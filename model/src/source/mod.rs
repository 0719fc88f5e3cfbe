//! A source: what turns the happenings of one origin into CloudEvents, as its document says it.
//!
//! One file for each kind holds what only that kind has.

pub mod api_server;
mod cron;
pub mod git_webhook;
mod kafka;
mod schedule;
mod schedule_words;

use std::fmt;
use std::sync::Arc;

use crate::{Auth, NoTarget, ObjectName, Target};

pub use api_server::ApiServer;
pub use cron::{CatchUp, Cron};
pub use git_webhook::GitWebhook;
pub use kafka::{InitialOffset, Kafka, KeyType, Ordering, Patience};
pub use schedule::{Schedule, ScheduleError};

/// A source as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `namespace/name`.
    pub name: ObjectName,
    /// Where its events go, or why that is not known: then the source does not run.
    pub sink: Result<Target, NoTarget>,
    /// What requests to the sink show, if it is a URL (`millrace.dev/sink-auth`).
    pub sink_auth: Option<Arc<Auth>>,
    /// Extension attributes that every event gets, or gets replaced (`ceOverrides.extensions`).
    pub overrides: Vec<(String, String)>,
    /// What it does.
    pub spec: SourceSpec,
}

/// What a source does.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// Events when a forge calls.
    GitWebhook(Box<GitWebhook>),
    /// Events at the times of a schedule.
    Cron(Box<Cron>),
    /// Events from the records of Kafka topics.
    Kafka(Box<Kafka>),
    /// Events of what changes in Kubernetes.
    ApiServer(Box<ApiServer>),
}

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// `GitWebhookSource`.
    GitWebhook,
    /// `CronSource`.
    Cron,
    /// `KafkaSource`.
    Kafka,
    /// `ApiServerSource`.
    ApiServer,
}

/// What tells one source from all others: names are unique within a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// The kind.
    pub kind: SourceKind,
    /// The name.
    pub name: ObjectName,
}

// === impl Source ===

impl Source {
    /// What tells it from all others.
    pub fn key(&self) -> SourceKey {
        SourceKey {
            kind: self.spec.kind(),
            name: self.name.clone(),
        }
    }
}

// === impl SourceSpec ===

impl SourceSpec {
    /// The kind that has this specification.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::GitWebhook(_) => SourceKind::GitWebhook,
            Self::Cron(_) => SourceKind::Cron,
            Self::Kafka(_) => SourceKind::Kafka,
            Self::ApiServer(_) => SourceKind::ApiServer,
        }
    }

    /// How a sink that is a URL is tried, where the document says that.
    pub fn patience(&self) -> Option<&Patience> {
        match self {
            Self::GitWebhook(_) | Self::Cron(_) | Self::ApiServer(_) => None,
            Self::Kafka(kafka) => kafka.delivery.as_ref(),
        }
    }
}

// === impl SourceKind ===

impl SourceKind {
    /// The kind as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitWebhook => "GitWebhookSource",
            Self::Cron => "CronSource",
            Self::Kafka => "KafkaSource",
            Self::ApiServer => "ApiServerSource",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SourceKey {
    /// `CronSource shop/nightly`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
