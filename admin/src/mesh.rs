//! `GET /api/v1/mesh`: which documents run, and how the last load went.

use axum::Json;
use axum::extract::State;
use millrace_event::Timestamp;
use serde::Serialize;

use crate::Admin;
use crate::wire::Rfc3339;

/// What runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeshView {
    /// The version of the program.
    version: &'static str,
    /// The revision that runs; 0 before the first load.
    revision: u64,
    /// When documents were last loaded, also when they were refused.
    last_reload: Option<Rfc3339>,
    /// Why they were refused: the mesh before goes on running. Null when they were taken.
    last_reload_error: Option<String>,
    /// How many brokers should be.
    brokers: usize,
    /// How many triggers should be.
    triggers: usize,
    /// How many sources should be.
    sources: usize,
    /// Whether events are accepted.
    ready: bool,
}

pub(crate) async fn show(State(admin): State<Admin>) -> Json<MeshView> {
    let mesh = admin.mesh.borrow().clone();
    let reload = admin.reload.borrow().clone();
    Json(MeshView {
        version: admin.version,
        revision: mesh.revision,
        last_reload: (reload.at != Timestamp::default()).then_some(Rfc3339(reload.at)),
        last_reload_error: reload.error,
        brokers: mesh.brokers.len(),
        triggers: mesh.triggers.len(),
        sources: mesh.sources.len(),
        ready: *admin.ready.borrow(),
    })
}
