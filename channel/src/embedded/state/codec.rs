//! How the values of the contract look in the database: one place, so that reading and writing cannot drift
//! apart.

use bytes::Bytes;
use millrace_event::{Event, ObjectName, Timestamp};
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::{EarlierFilter, FailedAttempt, LaneState, Position, Stage, Work};

/// A failure as JSON. The body of the answer is base64 text: it may be any bytes.
#[derive(Debug, Serialize, Deserialize)]
struct StoredFailure {
    at: i64,
    stage: i64,
    attempt: u32,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64_text")]
    body: Vec<u8>,
    millis: u64,
}

/// A position as the database keeps it. Offsets count events and never come near the sign bit.
pub(super) fn to_db(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// A position from the database; a negative one can only be damage and reads as 0.
pub(super) fn from_db(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

/// The position of an offset: the embedded backend has one partition.
pub(super) fn position(offset: i64) -> Position {
    Position {
        partition: 0,
        offset: from_db(offset),
    }
}

/// The number of a stage in the database.
pub(crate) fn stage_to_db(stage: Stage) -> i64 {
    match stage {
        Stage::Subscriber => 0,
        Stage::DeadLetter => 1,
        Stage::Reply => 2,
    }
}

/// The stage of a number.
pub(crate) fn stage_from_db(number: i64) -> Result<Stage, StateError> {
    match number {
        0 => Ok(Stage::Subscriber),
        1 => Ok(Stage::DeadLetter),
        2 => Ok(Stage::Reply),
        other => Err(StateError::Damaged(format!("{other} is not a stage"))),
    }
}

/// A lane's state from its two columns. Being orphaned hides being paused, so that a pause survives a trigger
/// that comes back.
pub(super) fn lane_state(paused: bool, orphaned: Option<i64>) -> LaneState {
    match (orphaned, paused) {
        (Some(since), _) => LaneState::Orphaned(Timestamp(since)),
        (None, true) => LaneState::Paused,
        (None, false) => LaneState::Active,
    }
}

/// A trigger's name from its text.
pub(super) fn trigger(text: &str) -> Result<ObjectName, StateError> {
    text.parse()
        .map_err(|error| StateError::Damaged(format!("a trigger's name: {error}")))
}

/// Earlier filters as JSON: the end and the text of each. `None` where there are none.
pub(super) fn earlier_to_db(earlier: &[EarlierFilter]) -> Option<String> {
    let pairs: Vec<_> = earlier
        .iter()
        .map(|one| (one.until.offset, &one.filter))
        .collect();
    (!pairs.is_empty()).then(|| serde_json::to_string(&pairs).unwrap_or_default())
}

/// The earlier filters of [`earlier_to_db`].
pub(super) fn earlier_from_db(stored: Option<String>) -> Result<Vec<EarlierFilter>, StateError> {
    let Some(stored) = stored else {
        return Ok(Vec::new());
    };
    let pairs: Vec<(u64, String)> = serde_json::from_str(&stored)
        .map_err(|error| StateError::Damaged(format!("the earlier filters of a lane: {error}")))?;
    let earlier = pairs.into_iter().map(|(until, filter)| EarlierFilter {
        until: Position {
            partition: 0,
            offset: until,
        },
        filter,
    });
    Ok(earlier.collect())
}

/// An event from its stored form; `None`, with a warning, when the bytes are damaged.
pub(super) fn event(stored: Vec<u8>, place: &str) -> Option<Event> {
    match Event::from_stored(Bytes::from(stored)) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::warn!(place, %error, "an event kept in the state database is corrupt; it is lost");
            None
        }
    }
}

/// Failures as JSON, the last [`Work::KEPT_FAILURES`] of them.
pub(super) fn failures_to_db(failures: &[FailedAttempt]) -> Vec<u8> {
    let kept = &failures[failures.len().saturating_sub(Work::KEPT_FAILURES)..];
    if kept.is_empty() {
        return Vec::new();
    }
    let stored: Vec<StoredFailure> = kept.iter().map(StoredFailure::from).collect();
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// Failures from JSON. They only explain, so damage costs the explanation and not the row.
pub(super) fn failures_from_db(json: &[u8]) -> Vec<FailedAttempt> {
    if json.is_empty() {
        return Vec::new();
    }
    let read = serde_json::from_slice::<Vec<StoredFailure>>(json)
        .map_err(|error| error.to_string())
        .and_then(|stored| {
            stored
                .into_iter()
                .map(FailedAttempt::try_from)
                .collect::<Result<_, _>>()
        });
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "a history of failures in the state database is corrupt; it is left out");
        Vec::new()
    })
}

/// Ascending offsets as the differences between them, 7 bits a byte: a run of neighbours costs a byte each.
pub(super) fn offsets_to_db(positions: &[Position]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(positions.len() + 8);
    let mut before = 0;
    for position in positions {
        let mut rest = position.offset.wrapping_sub(before);
        before = position.offset;
        while rest >= 0x80 {
            bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        bytes.push(u8::try_from(rest).unwrap_or(0));
    }
    bytes
}

/// The offsets of [`offsets_to_db`].
pub(super) fn offsets_from_db(bytes: &[u8]) -> Result<Vec<Position>, StateError> {
    let damaged = || StateError::Damaged("a list of unsettled positions".to_owned());
    let mut positions = Vec::with_capacity(bytes.len());
    let (mut before, mut rest, mut shift) = (0u64, 0u64, 0u32);
    for &byte in bytes {
        if shift > 63 {
            return Err(damaged());
        }
        rest |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            before = before.wrapping_add(rest);
            positions.push(Position {
                partition: 0,
                offset: before,
            });
            (rest, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(positions) } else { Err(damaged()) }
}

// === impl StoredFailure ===

impl From<&FailedAttempt> for StoredFailure {
    fn from(failure: &FailedAttempt) -> Self {
        Self {
            at: failure.at.0,
            stage: stage_to_db(failure.stage),
            attempt: failure.attempt,
            target: failure.target.clone(),
            status: failure.status,
            reason: failure.reason.clone(),
            body: failure.body.clone(),
            millis: failure.millis,
        }
    }
}

impl TryFrom<StoredFailure> for FailedAttempt {
    type Error = String;

    fn try_from(stored: StoredFailure) -> Result<Self, String> {
        Ok(Self {
            at: Timestamp(stored.at),
            stage: stage_from_db(stored.stage).map_err(|error| error.to_string())?,
            attempt: stored.attempt,
            target: stored.target,
            status: stored.status,
            reason: stored.reason,
            body: stored.body,
            millis: stored.millis,
        })
    }
}

/// Bytes as base64 text.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD
            .decode(String::deserialize(from)?)
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    proptest! {
        #[test]
        fn unsettled_positions_come_back_as_they_went(mut offsets in prop::collection::vec(any::<u64>(), 0..200)) {
            offsets.sort_unstable();
            let positions: Vec<_> = offsets.into_iter().map(at).collect();
            prop_assert_eq!(offsets_from_db(&offsets_to_db(&positions)).unwrap(), positions);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = offsets_from_db(&bytes);
            let _ = failures_from_db(&bytes);
        }
    }

    #[test]
    fn neighbours_cost_a_byte_each() {
        let run: Vec<_> = (1_000_000..1_001_000).map(at).collect();
        assert!(offsets_to_db(&run).len() < 1_010);
    }

    #[test]
    fn a_list_that_ends_in_the_middle_of_a_number_is_damaged() {
        assert!(matches!(offsets_from_db(&[1, 0x80]), Err(StateError::Damaged(_))));
    }

    #[test]
    fn the_last_failures_are_kept_and_come_back_as_they_went() {
        let failure = |n: u32| FailedAttempt {
            at: Timestamp(5),
            stage: Stage::DeadLetter,
            attempt: n,
            target: "http://127.0.0.1/".to_owned(),
            status: n.is_multiple_of(2).then_some(503),
            reason: "busy".to_owned(),
            body: vec![0, 255, b'"'],
            millis: 7,
        };
        let all: Vec<_> = (0..25).map(failure).collect();
        assert_eq!(failures_from_db(&failures_to_db(&all)), all[5..]);
        assert_eq!(failures_from_db(&failures_to_db(&[])), []);
    }
}
