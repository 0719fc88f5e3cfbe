//! `GET /api/v1/kafka-sinks`: each sink of Kafka as it should be, and whether its topic can be reached.

use axum::Json;
use axum::extract::State;
use millrace_model::status::SinkStatus;
use millrace_model::{Format, KafkaSink};
use serde::Serialize;

use crate::Admin;

/// One sink.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KafkaSinkView {
    /// `namespace/name`.
    name: String,
    /// `host:port` of the brokers to ask first.
    bootstrap_servers: Vec<String>,
    /// The topic.
    topic: String,
    /// `binary` or `structured`.
    content_mode: &'static str,
    /// `starting`, `ready` or `not-ready`.
    state: &'static str,
    /// Why it is not ready.
    reason: Option<String>,
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Vec<KafkaSinkView>> {
    let mesh = admin.mesh.borrow().clone();
    let sinks = admin.board.kafka_sinks_of(&mesh);
    Json(
        sinks
            .into_values()
            .map(|(sink, status)| view(&sink, status))
            .collect(),
    )
}

fn view(sink: &KafkaSink, status: SinkStatus) -> KafkaSinkView {
    KafkaSinkView {
        name: sink.name.to_string(),
        bootstrap_servers: sink.cluster.bootstrap_servers.clone(),
        topic: sink.topic.clone(),
        content_mode: match sink.format {
            Format::Binary => "binary",
            Format::Json => "structured",
        },
        state: status.state.as_str(),
        reason: status.reason,
    }
}
