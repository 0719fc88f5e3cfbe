//! `/api/v1/triggers` and one of them: each trigger as it should be and as its lane is; one that is gone can
//! be forgotten.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use millrace_channel::Forgotten;
use millrace_model::status::{LaneName, TriggerStatus};
use millrace_model::{BackoffPolicy, Format, Mesh, ObjectName, Shortage, Trigger, TriggerState};
use serde::Serialize;

use crate::Admin;
use crate::refused::Refused;
use crate::wire::{Rfc3339, shown};

/// The name in a path, or the refusal of a path that is not text.
type Named = Result<Path<(String, String)>, PathRejection>;

/// One trigger. Counts are since the process started, but for `deferred` and `parked`, which are stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TriggerView {
    /// `namespace/name`.
    name: String,
    /// The broker whose events it is about.
    broker: String,
    /// Where its events go; null when that is not known.
    subscriber: Option<String>,
    /// `live`, `behind`, `paused`, `orphaned`, `not-ready` or `blocked`.
    state: &'static str,
    /// Why, where that needs saying.
    reason: Option<String>,
    /// What some of its events wait for before an attempt, if Millrace itself is short of it: `connections`,
    /// `descriptors`, `ports`, `memory`, `lookups` or `budget`.
    shortage: Option<&'static str>,
    /// The position up to which everything is settled.
    cursor: u64,
    /// Positions not read yet.
    backlog: u64,
    /// Always true: its filter has not seen them, so it may want fewer.
    backlog_is_upper_bound: bool,
    /// Events queued or in flight.
    queued: u64,
    /// Events waiting for another attempt.
    deferred: u64,
    /// Events given up on, waiting for somebody to decide.
    parked: u64,
    /// Events delivered.
    delivered: u64,
    /// Failed attempts.
    failed_attempts: u64,
    /// Events given to the dead-letter sink.
    dead_lettered: u64,
    /// Events that did not match because its filters would have needed too much work to decide.
    too_much_work: u64,
    /// The last failed attempt.
    last_failure: Option<LastFailure>,
}

/// A failure: when and what.
#[derive(Debug, Serialize)]
pub(crate) struct LastFailure {
    pub(crate) at: Rfc3339,
    pub(crate) reason: String,
}

/// One trigger with what its document says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TriggerDetail {
    #[serde(flatten)]
    view: TriggerView,
    /// Null when its document is gone.
    settings: Option<Settings>,
    /// Its places on other brokers, where events are still owed to it; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_places: Vec<TriggerView>,
}

/// What a trigger's document says, after defaults and what it takes from its broker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    dead_letter_sink: Option<String>,
    dead_letter_sink_error: Option<String>,
    retry: u32,
    backoff_policy: &'static str,
    backoff_delay_millis: u64,
    backoff_max_millis: Option<u64>,
    timeout_millis: u64,
    retry_after_max_millis: u64,
    format: &'static str,
    parallelism: u32,
    max_deferred: u32,
    max_parked: u32,
}

/// All of them: those of the documents, and the places that are kept. A trigger that was moved to another
/// broker is there with both.
pub(crate) async fn list(State(admin): State<Admin>) -> Json<Vec<TriggerView>> {
    let mesh = admin.mesh.borrow().clone();
    let statuses = admin.board.triggers();
    let in_documents = mesh.triggers.values().map(|trigger| trigger.lane());
    let lanes: BTreeSet<LaneName> = in_documents.chain(statuses.keys().cloned()).collect();
    let mut lanes: Vec<_> = lanes
        .iter()
        .map(|lane| (lane, in_document(&mesh, lane)))
        .collect();
    // What a document wants comes before the places of the same name that are kept.
    lanes.sort_by_key(|(lane, document)| (&lane.trigger, document.is_none()));
    let views = lanes.into_iter();
    Json(
        views
            .map(|(lane, document)| view(lane, statuses.get(lane), document))
            .collect(),
    )
}

pub(crate) async fn show(State(admin): State<Admin>, path: Named) -> Result<Json<TriggerDetail>, Refused> {
    let name = named(path)?;
    let mesh = admin.mesh.borrow().clone();
    let statuses = admin.board.triggers();
    let trigger = mesh.triggers.get(&name).map(AsRef::as_ref);
    let mut kept = statuses.keys().filter(|lane| lane.trigger == name);
    let wanted = trigger.map(Trigger::lane);
    let lane = wanted.or_else(|| kept.next().cloned()).ok_or_else(unknown)?;
    let others = kept.filter(|other| **other != lane);
    Ok(Json(TriggerDetail {
        view: view(&lane, statuses.get(&lane), trigger),
        settings: trigger.map(settings),
        other_places: others
            .map(|other| view(other, statuses.get(other), None))
            .collect(),
    }))
}

/// The document of a lane, if it is still about that broker.
fn in_document<'a>(mesh: &'a Mesh, lane: &LaneName) -> Option<&'a Trigger> {
    let trigger = mesh.triggers.get(&lane.trigger).map(AsRef::as_ref);
    trigger.filter(|trigger| trigger.broker == lane.broker)
}

/// Gives up the place of a trigger that is gone, on every Broker that has one.
pub(crate) async fn forget(State(admin): State<Admin>, path: Named) -> Result<StatusCode, Refused> {
    let name = named(path)?;
    let (mut is_forgotten, mut is_there, mut failed) = (false, false, None);
    for (_, channel) in admin.owned.all() {
        match channel.forget_orphan(&name).await {
            Ok(Forgotten::Rows(_)) => is_forgotten = true,
            Ok(Forgotten::InUse) => is_there = true,
            Ok(Forgotten::Unknown) => {}
            // This Broker may be the one that has it.
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None if is_forgotten => Ok(StatusCode::NO_CONTENT),
        None if is_there => Err(Refused::new(
            StatusCode::CONFLICT,
            "trigger-in-use",
            "the trigger is in a document; only one that is gone can be forgotten",
        )),
        None => Err(unknown()),
    }
}

fn unknown() -> Refused {
    Refused::unknown("unknown-trigger", "there is no trigger of that name")
}

fn named(path: Named) -> Result<ObjectName, Refused> {
    let Path((namespace, name)) = path.map_err(|_| unknown())?;
    Ok(ObjectName::new(namespace, name))
}

fn view(lane: &LaneName, status: Option<&TriggerStatus>, trigger: Option<&Trigger>) -> TriggerView {
    let status = status.cloned().unwrap_or_else(|| TriggerStatus {
        state: TriggerState::NotReady,
        reason: trigger.and_then(why_not_served),
        ..Default::default()
    });
    TriggerView {
        name: lane.trigger.to_string(),
        broker: lane.broker.to_string(),
        subscriber: trigger
            .and_then(|trigger| trigger.subscriber.as_ref().ok())
            .map(shown),
        state: status.state.as_str(),
        reason: status.reason,
        shortage: status.shortage.map(Shortage::code),
        cursor: status.cursor,
        backlog: status.backlog,
        backlog_is_upper_bound: true,
        queued: status.queued,
        deferred: status.deferred,
        parked: status.parked,
        delivered: status.delivered,
        failed_attempts: status.failed_attempts,
        dead_lettered: status.dead_lettered,
        too_much_work: status.too_much_work,
        last_failure: status.last_failure.map(|(at, reason)| LastFailure {
            at: Rfc3339(at),
            reason,
        }),
    }
}

/// Why a trigger that should be has no lane yet.
fn why_not_served(trigger: &Trigger) -> Option<String> {
    let reason = trigger.subscriber.as_ref().err().map(ToString::to_string);
    reason.or_else(|| Some(format!("it is not served yet by the broker {}", trigger.broker)))
}

fn settings(trigger: &Trigger) -> Settings {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let delivery = &trigger.delivery;
    let sink = trigger.dead_letter.as_ref();
    Settings {
        dead_letter_sink: sink.and_then(|sink| sink.as_ref().ok()).map(shown),
        dead_letter_sink_error: sink.and_then(|sink| sink.as_ref().err()).map(ToString::to_string),
        retry: delivery.retry,
        backoff_policy: match delivery.backoff.policy {
            BackoffPolicy::Linear => "linear",
            BackoffPolicy::Exponential => "exponential",
        },
        backoff_delay_millis: millis(delivery.backoff.delay),
        backoff_max_millis: delivery.backoff.max.map(millis),
        timeout_millis: millis(delivery.timeout),
        retry_after_max_millis: millis(delivery.retry_after_max),
        format: match delivery.format {
            Format::Binary => "binary",
            Format::Json => "json",
        },
        parallelism: trigger.parallelism,
        max_deferred: trigger.max_deferred,
        max_parked: trigger.max_parked,
    }
}
