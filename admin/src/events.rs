//! `GET /api/v1/events`: the events that a broker keeps, as JSON lines in the order of their positions, up to
//! where the log ended when it was asked for. The last line says how many there were and where to go on.

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
    from: Option<u64>,
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

/// From where, up to where, and how many.
#[derive(Clone, Copy)]
struct Stretch {
    from: Position,
    until: Position,
    limit: u64,
}

pub(crate) async fn stream(
    State(admin): State<Admin>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|_| {
        Refused::bad_query(
            "the query has `broker` (namespace/name), and may have `seconds`, `from` and `limit` (numbers)",
        )
    })?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refused::bad_query(format!("`limit` is from 1 to {MAX_LIMIT}")));
    }
    let (_, log) = crate::explain::broker(&admin, &query.broker)?;
    // The embedded log has one partition.
    let ends = log.ends().into_iter().next();
    let Ends {
        oldest: mut from,
        head: until,
    } = ends.ok_or(ChannelError::NotOwner)?;
    if let Some(seconds) = query.seconds {
        let back = Duration::from_secs(seconds).as_millis();
        let since = admin
            .clock
            .now()
            .0
            .saturating_sub(i64::try_from(back).unwrap_or(i64::MAX));
        from = from.max(log.position_at(from.partition, Timestamp(since)).await?);
    }
    if let Some(offset) = query.from {
        from = from.max(Position { offset, ..from });
    }
    let stretch = Stretch { from, until, limit };
    Ok(lines::stream(admin.shutdown, |writer| {
        write(log, stretch, writer)
    }))
}

/// Writes the stretch and the last line; ends early when the client has gone.
async fn write(log: Arc<dyn Log>, stretch: Stretch, mut writer: Writer) {
    let mut written = 0;
    let Some(read) = write_events(&*log, stretch, &mut writer, &mut written).await else {
        return;
    };
    let (next, error) = match read {
        Ok(next) => (Some(next).filter(|next| *next < stretch.until), None),
        Err(error) => (None, Some(error.to_string())),
    };
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
    stretch: Stretch,
    writer: &mut Writer,
    written: &mut u64,
) -> Option<Result<Position, ChannelError>> {
    let mut reader = log.reader(stretch.from);
    while reader.position() < stretch.until {
        let batch = match reader.try_next(BATCH.0, BATCH.1).await {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        for record in batch.records {
            if record.position >= stretch.until || *written >= stretch.limit {
                return Some(Ok(record.position));
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
    Some(Ok(stretch.until))
}
