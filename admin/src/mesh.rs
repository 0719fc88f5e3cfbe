//! `GET /api/v1/mesh`: which documents run, and how the last load went.

use axum::Json;
use axum::extract::State;
use millrace_event::Timestamp;
use millrace_model::status::ClockStatus;
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
    /// Why they were refused, or cannot be applied for now: the mesh before goes on running.
    /// Null when they were taken.
    last_reload_error: Option<String>,
    /// How many brokers should be.
    brokers: usize,
    /// How many triggers should be.
    triggers: usize,
    /// How many sources should be.
    sources: usize,
    /// Whether events are accepted.
    ready: bool,
    /// How often the wall clock was set since the process started, and when it was last.
    clock: ClockView,
}

/// What the wall clock has done since the process started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClockView {
    /// How often it was set, forward or back.
    jumps: u64,
    /// The last time; null when it never was.
    last_jump: Option<JumpView>,
}

/// One jump of the wall clock.
#[derive(Debug, Serialize)]
struct JumpView {
    /// What the clock showed afterwards.
    at: Rfc3339,
    /// By how much it was set, in seconds; below zero it was set back.
    seconds: f64,
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
        clock: ClockView::of(admin.board.clock()),
    })
}

// === impl ClockView ===

impl ClockView {
    fn of(clock: ClockStatus) -> Self {
        let jump = |(at, millis): (Timestamp, i64)| JumpView {
            at: Rfc3339(at),
            seconds: millis as f64 / 1e3,
        };
        Self {
            jumps: clock.forward + clock.back,
            last_jump: clock.last.map(jump),
        }
    }
}
