//! What stands for one event of one lane: rows of work, parked events, the copy of the event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millrace_event::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use crate::remote::state::Debt;
use crate::{FailedAttempt, LaneId, Parked, Position, Record, Stage, Work};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDebt {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    work: Vec<WireWork>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parked: Vec<WireParked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<WireCopy>,
}

/// A copy of an event.
#[derive(Debug, Serialize, Deserialize)]
struct WireCopy {
    appended: i64,
    stored: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireWork {
    stage: u8,
    attempt: u32,
    due: i64,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    crashes: u32,
    #[serde(default)]
    suspect: bool,
    #[serde(default)]
    undecided: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<WireFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireParked {
    number: u64,
    id: String,
    trigger: String,
    stage: u8,
    /// The reply; the event itself is the debt's copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    reason: String,
    since: i64,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<WireFailure>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireFailure {
    at: i64,
    stage: u8,
    attempt: u32,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    millis: u64,
}

// === impl WireDebt ===

impl From<&Debt> for WireDebt {
    fn from(debt: &Debt) -> Self {
        let copy = |record: &Record| WireCopy {
            appended: record.appended.0,
            stored: STANDARD.encode(record.event.stored()),
        };
        Self {
            work: debt.work.values().map(WireWork::from).collect(),
            parked: debt
                .parked
                .values()
                .map(|(number, parked)| WireParked::of(*number, parked))
                .collect(),
            event: debt.event.as_ref().map(copy),
        }
    }
}

impl WireDebt {
    pub(super) fn read(self, lane: LaneId, position: Position) -> Result<Debt, String> {
        let copy = |wire: WireCopy| -> Result<Record, String> {
            Ok(Record {
                position,
                appended: Timestamp(wire.appended),
                event: event(&wire.stored)?,
            })
        };
        let mut debt = Debt {
            event: self.event.map(copy).transpose()?,
            ..Debt::default()
        };
        for wire in self.work {
            let work = wire.read(lane, position)?;
            debt.work.insert(work.key.stage, work);
        }
        for wire in self.parked {
            let number = wire.number;
            let parked = wire.read(lane, position, debt.event.as_ref())?;
            debt.parked.insert(parked.stage, (number, parked));
        }
        Ok(debt)
    }
}

// === impl WireWork ===

impl From<&Work> for WireWork {
    fn from(work: &Work) -> Self {
        Self {
            stage: stage_number(work.key.stage),
            attempt: work.attempt,
            due: work.due.0,
            open: work.open,
            crashes: work.crashes,
            suspect: work.suspect,
            undecided: work.undecided,
            failures: failures(&work.failures),
            body: work.body.as_ref().map(|body| STANDARD.encode(body.stored())),
        }
    }
}

impl WireWork {
    fn read(self, lane: LaneId, position: Position) -> Result<Work, String> {
        Ok(Work {
            key: crate::WorkKey {
                lane,
                position,
                stage: stage(self.stage)?,
            },
            attempt: self.attempt,
            due: Timestamp(self.due),
            open: self.open,
            crashes: self.crashes,
            suspect: self.suspect,
            undecided: self.undecided,
            failures: read_failures(self.failures)?,
            body: self.body.map(|body| event(&body)).transpose()?,
        })
    }
}

// === impl WireParked ===

impl WireParked {
    fn of(number: u64, parked: &Parked) -> Self {
        let reply = parked.event.as_ref().filter(|_| parked.stage == Stage::Reply);
        Self {
            number,
            id: parked.id.clone(),
            trigger: parked.trigger.to_string(),
            stage: stage_number(parked.stage),
            reply: reply.map(|reply| STANDARD.encode(reply.stored())),
            reason: parked.reason.clone(),
            since: parked.since.0,
            attempts: parked.attempts,
            failures: failures(&parked.failures),
        }
    }

    fn read(self, lane: LaneId, position: Position, copy: Option<&Record>) -> Result<Parked, String> {
        let stage = stage(self.stage)?;
        let reply = self.reply.map(|reply| event(&reply)).transpose()?;
        Ok(Parked {
            id: self.id,
            lane,
            trigger: self.trigger.parse().map_err(|error| format!("{error}"))?,
            position,
            stage,
            event: match stage {
                Stage::Reply => reply,
                Stage::Subscriber | Stage::DeadLetter => copy.map(|copy| copy.event.clone()),
            },
            reason: self.reason,
            since: Timestamp(self.since),
            attempts: self.attempts,
            failures: read_failures(self.failures)?,
        })
    }
}

fn failures(failures: &[FailedAttempt]) -> Vec<WireFailure> {
    let kept = &failures[failures.len().saturating_sub(Work::KEPT_FAILURES)..];
    let wire = kept.iter().map(|failure| WireFailure {
        at: failure.at.0,
        stage: stage_number(failure.stage),
        attempt: failure.attempt,
        target: failure.target.clone(),
        status: failure.status,
        reason: failure.reason.clone(),
        body: STANDARD.encode(&failure.body),
        millis: failure.millis,
    });
    wire.collect()
}

fn read_failures(wire: Vec<WireFailure>) -> Result<Vec<FailedAttempt>, String> {
    let read = wire.into_iter().map(|failure| {
        Ok(FailedAttempt {
            at: Timestamp(failure.at),
            stage: stage(failure.stage)?,
            attempt: failure.attempt,
            target: failure.target,
            status: failure.status,
            reason: failure.reason,
            body: STANDARD.decode(failure.body).map_err(|error| error.to_string())?,
            millis: failure.millis,
        })
    });
    read.collect()
}

fn event(base64: &str) -> Result<Event, String> {
    let stored = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    Event::from_stored(Bytes::from(stored)).map_err(|error| error.to_string())
}

fn stage_number(stage: Stage) -> u8 {
    match stage {
        Stage::Subscriber => 0,
        Stage::DeadLetter => 1,
        Stage::Reply => 2,
    }
}

fn stage(number: u8) -> Result<Stage, String> {
    match number {
        0 => Ok(Stage::Subscriber),
        1 => Ok(Stage::DeadLetter),
        2 => Ok(Stage::Reply),
        other => Err(format!("{other} is not a stage")),
    }
}
