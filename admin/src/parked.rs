//! `/api/v1/parked`: events given up on, to be read, dropped or delivered again.
//!
//! Parked events live in the channels of the brokers; ids are unique across them, so one that is named is
//! looked for in each. Listing goes through the channels in the order of their brokers' names, in each in the
//! order of parking.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use millrace_channel::{Channel, ChannelError, FailedAttempt, Parked, ParkedQuery};
use millrace_event::ObjectName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Admin;
use crate::elsewhere;
use crate::refused::Refused;
use crate::wire::{EventName, Rfc3339, ordinal, stage, structured};

/// Rows of a listing, where the request does not say.
const DEFAULT_LIMIT: usize = 100;
/// Rows of a listing at most.
const MAX_LIMIT: usize = 1_000;
/// Listings hold at most this many whole events in memory at a time: only their names are kept.
const PAGE: usize = 32;
/// Longer than any id that a channel gives.
const MAX_ID_BYTES: usize = 256;

/// The id in a path, or the refusal of a path that is not text.
type Id = Result<Path<String>, PathRejection>;

/// What a listing is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    trigger: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

/// A parked event in a listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParkedView {
    id: String,
    /// Null when the event was lost to damage.
    event: Option<EventName>,
    /// `namespace/name`; it may be gone.
    trigger: String,
    reason: String,
    since: Rfc3339,
    attempts: u32,
    position: String,
    /// `subscriber`, `dead-letter` or `reply`: what was being done when it was given up on.
    stage: &'static str,
}

/// A parked event with everything that is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParkedDetail {
    id: String,
    /// The event in structured mode; null when it was lost to damage.
    event: Option<Box<RawValue>>,
    trigger: String,
    reason: String,
    since: Rfc3339,
    attempts: u32,
    position: String,
    stage: &'static str,
    /// The last failed attempts, oldest first.
    failures: Vec<FailureView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    at: Rfc3339,
    stage: &'static str,
    /// The number of the attempt in its stage, from 1.
    attempt: u32,
    target: String,
    status: Option<u16>,
    reason: String,
    /// The first bytes of the answer, when they are text; else they are in `bodyBase64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    millis: u64,
}

// === endpoints ===

pub(crate) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<ParkedView>>, Refused> {
    let Query(query) = query
        .map_err(|_| Refused::bad_query("the query may have `trigger`, `limit` (a number) and `after`"))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refused::bad_query(format!("`limit` is from 1 to {MAX_LIMIT}")));
    }
    let trigger = query.trigger.as_deref().map(str::parse::<ObjectName>).transpose();
    let trigger = trigger.map_err(|_| Refused::bad_query("`trigger` is of the form namespace/name"))?;
    let (channels, mut after) = from_where(&admin, query.after).await?;
    let mut rows = Vec::new();
    for channel in channels {
        list_one(channel.as_ref(), trigger.as_ref(), after.take(), limit, &mut rows).await?;
    }
    Ok(Json(rows))
}

pub(crate) async fn show(State(admin): State<Admin>, id: Id) -> Result<Json<ParkedDetail>, Refused> {
    let ask = |channel: Arc<dyn Channel>, id: Arc<str>| async move { channel.parked_by_id(&id).await };
    Ok(Json(detail(find(&admin, id, ask).await?)))
}

pub(crate) async fn drop(State(admin): State<Admin>, id: Id) -> Result<StatusCode, Refused> {
    let ask = |channel: Arc<dyn Channel>, id: Arc<str>| async move {
        let was_there = channel.drop_parked(&id).await?;
        Ok(was_there.then_some(StatusCode::NO_CONTENT))
    };
    find(&admin, id, ask).await
}

pub(crate) async fn redrive(State(admin): State<Admin>, id: Id) -> Result<StatusCode, Refused> {
    let ask = |channel: Arc<dyn Channel>, id: Arc<str>| async move {
        let was_there = channel.redrive(&id).await?;
        Ok(was_there.then_some(StatusCode::ACCEPTED))
    };
    find(&admin, id, ask).await
}

// === helpers ===

fn channels(admin: &Admin) -> impl Iterator<Item = Arc<dyn Channel>> {
    admin.owned.all().into_iter().map(|(_, channel)| channel)
}

/// Asks each channel for the parked event of that id until one has it. A channel that failed may be the one
/// that has it, so then it cannot be reported as missing.
async fn find<T, F: Future<Output = Result<Option<T>, ChannelError>>>(
    admin: &Admin,
    id: Id,
    ask: impl Fn(Arc<dyn Channel>, Arc<str>) -> F,
) -> Result<T, Refused> {
    let unknown = || Refused::unknown("unknown-parked-event", "there is no parked event of that id");
    let id: Arc<str> = match id {
        Ok(Path(id)) if id.len() <= MAX_ID_BYTES => id.into(),
        Ok(_) | Err(_) => return Err(unknown()),
    };
    let mut failed = None;
    for channel in channels(admin) {
        match ask(channel, id.clone()).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(gone @ ChannelError::LaneGone(_)) => return Err(gone.into()),
            Err(error) => failed = Some(error),
        }
    }
    let brokers = admin.logs.all();
    let elsewhere =
        || elsewhere::refusal(admin, brokers.iter().map(|(broker, _)| broker)).unwrap_or_else(unknown);
    Err(failed.map_or_else(elsewhere, Refused::from))
}

/// The channels in which a listing goes on, the first of them after the given id.
async fn from_where(
    admin: &Admin,
    after: Option<String>,
) -> Result<(Vec<Arc<dyn Channel>>, Option<String>), Refused> {
    let mut channels: Vec<_> = channels(admin).collect();
    let Some(after) = after else {
        return Ok((channels, None));
    };
    if after.len() <= MAX_ID_BYTES {
        for at in 0..channels.len() {
            if channels[at].parked_by_id(&after).await?.is_some() {
                return Ok((channels.split_off(at), Some(after)));
            }
        }
    }
    Err(Refused::bad_query(
        "the event of `after` is not parked any more; list again from the beginning",
    ))
}

/// Adds one channel's rows until there are `limit`, a page at a time.
async fn list_one(
    channel: &dyn Channel,
    trigger: Option<&ObjectName>,
    mut after: Option<String>,
    limit: usize,
    rows: &mut Vec<ParkedView>,
) -> Result<(), ChannelError> {
    while rows.len() < limit {
        let asked = PAGE.min(limit - rows.len());
        let query = ParkedQuery {
            trigger: trigger.cloned(),
            after,
            limit: asked,
        };
        let page = channel.parked(query).await?;
        let full = page.len() >= asked;
        after = page.last().map(|parked| parked.id.clone());
        rows.extend(page.into_iter().take(asked).map(view));
        if !full {
            break;
        }
    }
    Ok(())
}

fn view(parked: Parked) -> ParkedView {
    ParkedView {
        event: parked.event.as_ref().map(EventName::from),
        id: parked.id,
        trigger: parked.trigger.to_string(),
        reason: parked.reason,
        since: Rfc3339(parked.since),
        attempts: parked.attempts,
        position: parked.position.to_string(),
        stage: stage(parked.stage),
    }
}

fn detail(parked: Parked) -> ParkedDetail {
    ParkedDetail {
        event: parked.event.as_ref().and_then(structured),
        id: parked.id,
        trigger: parked.trigger.to_string(),
        reason: parked.reason,
        since: Rfc3339(parked.since),
        attempts: parked.attempts,
        position: parked.position.to_string(),
        stage: stage(parked.stage),
        failures: parked.failures.into_iter().map(failure).collect(),
    }
}

fn failure(failure: FailedAttempt) -> FailureView {
    let (body, body_base64) = match String::from_utf8(failure.body) {
        Ok(text) => (Some(text), None),
        Err(bytes) => (None, Some(BASE64_STANDARD.encode(bytes.as_bytes()))),
    };
    FailureView {
        at: Rfc3339(failure.at),
        stage: stage(failure.stage),
        attempt: ordinal(failure.attempt),
        target: failure.target,
        status: failure.status,
        reason: failure.reason,
        body,
        body_base64,
        millis: failure.millis,
    }
}
