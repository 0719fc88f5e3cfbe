//! `GET /api/v1/tail`: what happens, as JSON lines, until the client goes: one line for each event when it
//! was stored and routed, one for each outcome of an attempt, and one when lines were missed because they
//! were not taken fast enough. The mesh never waits for it. It ends when who asked may no longer read.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{Extensions, HeaderMap, StatusCode};
use millrace_event::ObjectName;
use millrace_filter::{Compiled, Decision, Subject, Turns};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::Admin;
use crate::feed::{Follower, Happened, Item, What};
use crate::lines::{self, Gone, Writer};
use crate::login::Login;
use crate::refused::Refused;
use crate::wire::{EventName, Rfc3339, ordinal, shown_text, structured};

/// Items read from the feed at once.
const BATCH: usize = 64;
/// How long nothing is sent before an empty line is, and how often it is asked whether the client may still
/// read.
const BEAT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TailQuery {
    broker: Option<String>,
    filter: Option<String>,
    #[serde(default)]
    whole: bool,
}

/// What is wanted of all that happens.
struct Wanted {
    broker: Option<ObjectName>,
    filter: Option<Arc<Compiled>>,
    /// With the whole event.
    whole: bool,
}

/// Who asked, as the head of the request showed it.
struct Asker {
    login: Option<Login>,
    headers: HeaderMap,
    extensions: Extensions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum Line<'a> {
    /// The first line: reporting starts now.
    Following { at: Rfc3339 },
    /// An event was stored and routed.
    Event {
        broker: String,
        position: String,
        event: Shown,
        /// The triggers that want it.
        triggers: Vec<String>,
    },
    /// An attempt ended.
    Outcome {
        broker: String,
        position: String,
        event: Shown,
        trigger: String,
        /// The number of the attempt in its stage, from 1.
        attempt: u32,
        target: String,
        outcome: &'static str,
        /// A few words.
        said: Cow<'a, str>,
        millis: u32,
    },
    /// Somebody was not let in at a Broker.
    Refused {
        broker: String,
        /// Who it was; null if that is not known.
        who: Option<&'a str>,
        code: &'static str,
    },
    /// So many lines came too fast and were left out.
    Missed { lines: u64 },
}

/// The event in structured mode, or only its name.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Whole(Option<Box<RawValue>>),
    Name(EventName),
}

pub(crate) async fn follow(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|_| {
        Refused::bad_query(
            "the query may have `broker` (namespace/name), `filter` and `whole` (true or false)",
        )
    })?;
    let broker = query
        .broker
        .as_deref()
        .map(|name| crate::explain::broker(&admin, name));
    let filter = query.filter.as_deref().map(|text| {
        (admin.read_filter)(text)
            .map_err(|why| Refused::new(StatusCode::BAD_REQUEST, "bad-filter", format!("`filter`: {why}")))
    });
    let wanted = Wanted {
        broker: broker.transpose()?.map(|(name, _)| name),
        filter: filter.transpose()?.map(Arc::new),
        whole: query.whole,
    };
    let Some(follower) = admin.feed.follow() else {
        let detail = "as many as may follow do already; try again when one of them has gone";
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-followers",
            detail,
        ));
    };
    let asker = Asker {
        login: admin.login.clone(),
        headers,
        extensions,
    };
    let answer = lines::stream(admin.shutdown.clone(), |writer| async move {
        // The client has gone: then nothing is left to do.
        let _ = tell(&admin, follower, (asker, wanted), writer).await;
    });
    Ok(answer)
}

async fn tell(
    admin: &Admin,
    mut follower: Follower,
    (asker, wanted): (Asker, Wanted),
    mut writer: Writer,
) -> Result<(), Gone> {
    let mut beat = Instant::now() + BEAT;
    let at = Rfc3339(admin.clock.now());
    writer.line(&Line::Following { at }).await?;
    writer.flush().await?;
    loop {
        let read = tokio::select! {
            read = timeout_at(beat, follower.next(BATCH)) => read,
            () = writer.gone() => return Err(Gone),
        };
        if beat <= Instant::now() {
            if !asker.may_still_read() {
                return Ok(());
            }
            beat = Instant::now() + BEAT;
        }
        let Ok(read) = read else {
            writer.beat().await?;
            continue;
        };
        if read.missed > 0 {
            writer.line(&Line::Missed { lines: read.missed }).await?;
        }
        for item in &read.items {
            if wanted.is(item, &admin.turns).await {
                writer.line(&line(item, wanted.whole)).await?;
            }
        }
        writer.flush().await?;
    }
}

// === impl Asker ===

impl Asker {
    /// A token may have ended, or been taken out of the access file, since the request came.
    fn may_still_read(&self) -> bool {
        self.login
            .as_ref()
            .is_none_or(|login| login.may_read(&self.headers, &self.extensions))
    }
}

// === impl Wanted ===

impl Wanted {
    async fn is(&self, item: &Item, turns: &Turns) -> bool {
        if self.broker.as_ref().is_some_and(|broker| *broker != item.broker) {
            return false;
        }
        match (&self.filter, &item.what) {
            (None, _) => true,
            // There is no event that a filter could match.
            (Some(_), What::TurnedAway { .. }) => false,
            (Some(filter), What::Event { event, .. }) => {
                turns.decide(Subject::new(event), filter).await == Decision::Match
            }
        }
    }
}

fn line(item: &Item, whole: bool) -> Line<'_> {
    let broker = item.broker.to_string();
    let (position, event, happened) = match &item.what {
        What::Event {
            position,
            event,
            happened,
        } => (position.to_string(), event, happened),
        What::TurnedAway { code, who } => {
            let who = who.as_deref();
            return Line::Refused { broker, who, code };
        }
    };
    let event = if whole {
        Shown::Whole(structured(event))
    } else {
        Shown::Name(EventName::from(event))
    };
    match happened {
        Happened::Routed(triggers) => Line::Event {
            broker,
            position,
            event,
            triggers: triggers.iter().map(ToString::to_string).collect(),
        },
        Happened::Attempted { attempt, target } => Line::Outcome {
            broker,
            position,
            event,
            trigger: attempt.trigger.to_string(),
            attempt: ordinal(attempt.attempt),
            target: shown_text(target),
            outcome: attempt.outcome.as_str(),
            said: attempt.in_words(),
            millis: attempt.millis,
        },
    }
}
