//! `GET /api/v1/events`: the events that a broker keeps, as JSON lines in the order of their positions (one
//! partition after the other), up to where the log ended when it was asked for. The last line says how many
//! there were and where to go on.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use millrace_channel::{ChannelError, Ends, Log, Position};
use millrace_event::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

use crate::Admin;
use crate::lines::{self, Writer};
use crate::refused::Refused;
use crate::wire::{Rfc3339, structured};

/// Events of one answer, where the request does not say.
const DEFAULT_LIMIT: u64 = 10_000;
/// Events of one answer at most.
const MAX_LIMIT: u64 = 1_000_000;
/// Events and bytes that are read at once.
const BATCH: (usize, usize) = (256, 256 << 10);

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    broker: String,
    /// So many seconds back from now.
    seconds: Option<u64>,
    /// From this position on.
    from: Option<String>,
    limit: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Event {
        position: String,
        accepted: Rfc3339,
        event: Option<Box<RawValue>>,
    },
    End {
        end: bool,
        events: u64,
        /// Where to go on; null when these were all.
        next: Option<String>,
        /// What went wrong; null when nothing did.
        error: Option<String>,
    },
}

/// Of one partition, from where and up to where.
#[derive(Clone, Copy)]
struct Stretch {
    from: Position,
    until: Position,
}

pub(crate) async fn stream(
    State(admin): State<Admin>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|_| {
        Refused::bad_query(
            "the query has `broker` (namespace/name), and may have `seconds`, `limit` (numbers) and `from` (a position)",
        )
    })?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refused::bad_query(format!("`limit` is from 1 to {MAX_LIMIT}")));
    }
    let asked = query.from.as_deref().map(str::parse::<Position>).transpose();
    let asked = asked.map_err(|error| Refused::bad_query(error.to_string()))?;
    let (_, log) = crate::explain::broker(&admin, &query.broker)?;
    let since = query.seconds.map(|seconds| {
        let back = Duration::from_secs(seconds).as_millis();
        let back = i64::try_from(back).unwrap_or(i64::MAX);
        Timestamp(admin.clock.now().0.saturating_sub(back))
    });
    let ends = log.ends();
    if ends.is_empty() {
        return Err(ChannelError::NotOwner.into());
    }
    let mut stretches = Vec::new();
    for Ends { oldest, head } in ends {
        let partition = oldest.partition;
        let mut from = oldest;
        if let Some(since) = since {
            from = from.max(log.position_at(partition, since).await?);
        }
        // Partitions come in the order of their numbers.
        match asked {
            Some(asked) if asked.partition > partition => continue,
            Some(asked) if asked.partition == partition => from = from.max(asked),
            Some(_) | None => {}
        }
        stretches.push(Stretch { from, until: head });
    }
    Ok(lines::stream(admin.shutdown, move |writer| {
        write(log, stretches, limit, writer)
    }))
}

/// Writes the stretches and the last line; ends early when the client has gone.
async fn write(log: Arc<dyn Log>, stretches: Vec<Stretch>, limit: u64, mut writer: Writer) {
    let mut written = 0;
    let (mut next, mut error) = (None, None);
    for stretch in stretches {
        match write_events(&*log, stretch, limit, &mut writer, &mut written).await {
            None => return,
            Some(Ok(None)) => {}
            Some(Ok(more @ Some(_))) => {
                next = more;
                break;
            }
            Some(Err(failed)) => {
                error = Some(failed.to_string());
                break;
            }
        }
    }
    let end = Line::End {
        end: true,
        events: written,
        next: next.map(|next| next.to_string()),
        error,
    };
    if writer.line(&end).await.is_ok() {
        let _ = writer.flush().await;
    }
}

/// Where the events went on that were not written any more; `None` when the client has gone.
async fn write_events(
    log: &dyn Log,
    Stretch { from, until }: Stretch,
    limit: u64,
    writer: &mut Writer,
    written: &mut u64,
) -> Option<Result<Option<Position>, ChannelError>> {
    let mut reader = log.reader(from);
    while reader.position() < until {
        let batch = match reader.try_next(BATCH.0, BATCH.1).await {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        for record in batch.records {
            if record.position >= until {
                return Some(Ok(None));
            }
            if *written >= limit {
                return Some(Ok(Some(record.position)));
            }
            let line = Line::Event {
                position: record.position.to_string(),
                accepted: Rfc3339(record.appended),
                event: structured(&record.event),
            };
            writer.line(&line).await.ok()?;
            *written += 1;
        }
    }
    Some(Ok(None))
}
