//! Which event is meant: the newest of that id, unless the question says more.

use http::StatusCode;
use millrace_channel::{Channel, Position, Record};

use crate::refused::Refused;
use crate::wire::Rfc3339;

/// The most other events of the same id that the answer lists.
const OTHERS: usize = 10;

/// What names the event in the question.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) source: Option<&'a str>,
    pub(super) position: Option<u64>,
}

/// The event, and others of the same id (and source, where that was asked for), newest first.
#[derive(Debug)]
pub(super) struct FoundEvent {
    pub(super) record: Record,
    pub(super) others: Vec<Record>,
}

/// Finds the event.
pub(super) async fn find(channel: &dyn Channel, asked: &Asked<'_>) -> Result<FoundEvent, Refused> {
    let positions = channel.find(asked.id, asked.source, OTHERS + 1).await?;
    let mut records = Vec::new();
    // One that is named by its position may be older than those that are listed.
    if let Some(offset) = asked.position
        && !positions.iter().any(|position| position.offset == offset)
    {
        let named = channel.get(Position { partition: 0, offset }).await?;
        let is_meant = |record: &Record| {
            record.event.id() == asked.id && asked.source.is_none_or(|source| source == record.event.source())
        };
        records.extend(named.filter(is_meant));
    }
    for position in positions.into_iter().rev() {
        // It may have gone between the two questions.
        records.extend(channel.get(position).await?);
    }
    let wanted = |record: &Record| {
        asked
            .position
            .is_none_or(|offset| record.position.offset == offset)
    };
    match records.iter().position(wanted) {
        Some(index) => {
            let record = records.remove(index);
            // Beside an older one all that were found are others.
            records.truncate(OTHERS);
            Ok(FoundEvent {
                record,
                others: records,
            })
        }
        None if records.is_empty() => Err(unknown(channel).await?),
        None => Err(Refused::new(
            StatusCode::NOT_FOUND,
            "unknown-event",
            "there are events of that id, but none at that position",
        )),
    }
}

/// There is none: says since when there would be one.
async fn unknown(channel: &dyn Channel) -> Result<Refused, Refused> {
    let oldest = channel.usage().oldest;
    let since = match first_kept(channel, oldest).await? {
        Some(record) => format!("the events that are kept begin at {}", Rfc3339(record.appended)),
        None => "it keeps no events".to_owned(),
    };
    let detail = format!(
        "this broker has no event of that id (and source): it never accepted one, or it is not kept any more; {since}"
    );
    Ok(Refused::new(StatusCode::NOT_FOUND, "unknown-event", detail))
}

async fn first_kept(channel: &dyn Channel, oldest: Position) -> Result<Option<Record>, Refused> {
    let batch = channel.log().reader(oldest).try_next(1, 1).await?;
    Ok(batch.records.into_iter().next())
}
