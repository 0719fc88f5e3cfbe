//! `GET /api/v1/explain`: what each trigger of a broker made of one event, and why.
//!
//! The files follow the question: which event is meant (`event`), what is known of it for each trigger
//! (`facts`, with its [`attempts`]), what became of it in a word (`state`) and a sentence (`fate`), and how
//! that is written (`view`). Whether a filter matches is decided by the filter itself, which gives its
//! reasons: there is no second implementation.

mod attempts;
mod event;
mod facts;
mod fate;
mod state;
mod view;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use millrace_channel::{ChannelError, Log, Position};
use millrace_event::ObjectName;
use serde::Deserialize;
use std::sync::Arc;

use crate::Admin;
use crate::elsewhere;
use crate::refused::Refused;
use view::Explained;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainQuery {
    broker: String,
    id: String,
    source: Option<String>,
    trigger: Option<String>,
    position: Option<String>,
}

/// Names of brokers that a refusal lists.
const LISTED: usize = 10;

pub(crate) async fn show(
    State(admin): State<Admin>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explained>, Refused> {
    let Query(query) = query.map_err(|_| {
        Refused::bad_query(
            "the query has `broker` (namespace/name) and `id`, and may have `source`, `trigger` and `position`",
        )
    })?;
    let (broker, _) = broker(&admin, &query.broker)?;
    let channels = admin.owned.of(&broker);
    let elsewhere = elsewhere::refusal(&admin, [&broker]);
    if channels.is_empty() {
        return Err(elsewhere.unwrap_or_else(|| ChannelError::NotOwner.into()));
    }
    let position = query.position.as_deref().map(str::parse::<Position>).transpose();
    let position = position.map_err(|error| Refused::bad_query(error.to_string()))?;
    let trigger = query.trigger.as_deref().map(str::parse::<ObjectName>).transpose();
    let trigger = trigger.map_err(|_| Refused::bad_query("`trigger` is of the form namespace/name"))?;
    let asked = event::Asked {
        id: &query.id,
        source: query.source.as_deref(),
        position,
    };
    let (channel, found) = match (event::find(&channels, &asked).await?, elsewhere) {
        (Some(found), _) => found,
        (None, Some(elsewhere)) => return Err(elsewhere),
        (None, None) => return Err(event::unknown(&channels, &asked).await?),
    };
    let facts = facts::gather(&admin, &broker, &channel, &found.record, trigger.as_ref()).await?;
    Ok(Json(Explained::new(&broker, found, facts)))
}

/// The broker of that name and its log.
pub(crate) fn broker(admin: &Admin, name: &str) -> Result<(ObjectName, Arc<dyn Log>), Refused> {
    let name: ObjectName = name
        .parse()
        .map_err(|_| Refused::bad_query("`broker` is of the form namespace/name"))?;
    if let Some(log) = admin.logs.get(&name) {
        return Ok((name, log));
    }
    let mut known: Vec<String> = admin
        .logs
        .all()
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    known.sort_unstable();
    let more = known.len().saturating_sub(LISTED);
    known.truncate(LISTED);
    let mut detail = match known.as_slice() {
        [] => format!("there is no broker {name}, nor any other"),
        known => format!("there is no broker {name}; there is {}", known.join(", ")),
    };
    if more > 0 {
        detail.push_str(&format!(" and {more} more"));
    }
    Err(Refused::new(StatusCode::NOT_FOUND, "unknown-broker", detail))
}
