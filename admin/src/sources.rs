//! `GET /api/v1/sources`: each source as it should be and as it is.

use axum::Json;
use axum::extract::State;
use millrace_model::status::SourceStatus;
use millrace_model::{Source, SourceKey};
use serde::Serialize;

use crate::Admin;
use crate::triggers::LastFailure;
use crate::wire::{Rfc3339, shown};

/// One source. Counts are since the process started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceView {
    /// `CronSource`, ...
    kind: &'static str,
    /// `namespace/name`.
    name: String,
    /// Where its events go; null when that is not known.
    sink: Option<String>,
    /// `starting`, `ready` or `not-ready`.
    state: &'static str,
    /// Why, if that needs an explanation. A source that is only partly ready says so here.
    reason: Option<String>,
    /// Events that the sink has taken.
    events: u64,
    /// How much its origin offered that was not taken as an event.
    refused: u64,
    /// When the sink took the last event.
    last_event: Option<Rfc3339>,
    /// The last failure.
    last_error: Option<LastFailure>,
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Vec<SourceView>> {
    let mesh = admin.mesh.borrow().clone();
    let mut statuses = admin.board.sources();
    let views = mesh
        .sources
        .iter()
        .map(|(key, source)| view(key, source, statuses.remove(key)));
    Json(views.collect())
}

fn view(key: &SourceKey, source: &Source, status: Option<SourceStatus>) -> SourceView {
    // Nothing is known of it yet: it starts.
    let status = status.unwrap_or_default();
    SourceView {
        kind: key.kind.as_str(),
        name: key.name.to_string(),
        sink: source.sink.as_ref().ok().map(shown),
        state: status.state.as_str(),
        reason: status.reason,
        events: status.events,
        refused: status.refused,
        last_event: status.last_event.map(Rfc3339),
        last_error: status.last_error.map(|(at, reason)| LastFailure {
            at: Rfc3339(at),
            reason,
        }),
    }
}
