//! Which event is meant: the newest of that id, unless the question says more.

use std::cmp::Reverse;
use std::sync::Arc;

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
    pub(super) position: Option<Position>,
}

/// The event, and others of the same id (and source, where that was asked for), newest first.
#[derive(Debug)]
pub(super) struct FoundEvent {
    pub(super) record: Record,
    pub(super) others: Vec<Record>,
}

/// Finds the event in one of the partitions, and says in which; `None`: it is in none of them.
pub(super) async fn find(
    channels: &[Arc<dyn Channel>],
    asked: &Asked<'_>,
) -> Result<Option<(Arc<dyn Channel>, FoundEvent)>, Refused> {
    let mut found = Vec::new();
    for channel in channels {
        let records = find_in(&**channel, asked).await?;
        found.extend(records.into_iter().map(|record| (channel, record)));
    }
    if channels.len() > 1 {
        found.sort_by_key(|(_, record)| Reverse(record.appended));
    }
    let wanted = |(_, record): &(&Arc<dyn Channel>, Record)| {
        asked.position.is_none_or(|position| record.position == position)
    };
    let Some(index) = found.iter().position(wanted) else {
        return Ok(None);
    };
    let (channel, record) = found.remove(index);
    // Beside an older one all that were found are others.
    found.truncate(OTHERS);
    let others = found.into_iter().map(|(_, record)| record).collect();
    Ok(Some((channel.clone(), FoundEvent { record, others })))
}

/// The events of one partition that may be meant, the newest first.
async fn find_in(channel: &dyn Channel, asked: &Asked<'_>) -> Result<Vec<Record>, Refused> {
    let positions = channel.find(asked.id, asked.source, OTHERS + 1).await?;
    let mut records = Vec::new();
    // One that is named by its position may be older than those that are listed.
    let named = asked
        .position
        .filter(|named| named.partition == channel.partition() && !positions.contains(named));
    if let Some(named) = named {
        let is_meant = |record: &Record| {
            record.event.id() == asked.id && asked.source.is_none_or(|source| source == record.event.source())
        };
        records.extend(channel.get(named).await?.filter(is_meant));
    }
    for position in positions.into_iter().rev() {
        // It may have gone between the two questions.
        records.extend(channel.get(position).await?);
    }
    Ok(records)
}

/// There is none: says since when there would be one.
pub(super) async fn unknown(channels: &[Arc<dyn Channel>], asked: &Asked<'_>) -> Result<Refused, Refused> {
    let anywhere = Asked {
        position: None,
        ..*asked
    };
    if asked.position.is_some() && find(channels, &anywhere).await?.is_some() {
        return Ok(Refused::new(
            StatusCode::NOT_FOUND,
            "unknown-event",
            "there are events of that id, but none at that position",
        ));
    }
    let mut first: Option<Record> = None;
    for channel in channels {
        let kept = first_kept(&**channel, channel.usage().oldest).await?;
        first = first.into_iter().chain(kept).min_by_key(|record| record.appended);
    }
    let since = match first {
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
