//! How the records of state look on a server: one place, so that writing and reading cannot drift apart, and
//! so that all servers hold the same.
//!
//! A record is JSON, so that people can read it there. Events in it are their stored form in Base64.

mod debt;

use std::collections::BTreeMap;
use std::fmt;

use millrace_event::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use super::epochs::Epochs;
use super::prints::Prints;
use super::state::{LaneAt, LaneRecord, ProgressRecord, State, Write};
use crate::{EarlierFilter, FailedAttempt, LaneId, Position, Stage};
use debt::WireDebt;

/// What a record is about; its place on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The partition's progress.
    Progress,
    /// A lane.
    Lane(LaneId),
    /// What stands for one event of one lane.
    Debt(LaneId, u64),
}

/// A record that cannot be read: somebody else has written it, or a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record {key} cannot be read: {reason}")]
pub struct Undecodable {
    /// The record.
    pub key: Key,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireProgress {
    used: bool,
    clean: bool,
    router: u64,
    next_lane: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orphaned: Option<i64>,
    epochs: Vec<(u64, u64)>,
    prints: Vec<(u64, u64)>,
    /// Only those that do not just follow the router.
    lanes: BTreeMap<i64, WireAt>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireAt {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unsettled: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireLane {
    trigger: String,
    uid: String,
    start: u64,
    filter: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<(u64, String)>,
    #[serde(default)]
    paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orphaned: Option<i64>,
}

/// About how many bytes a record takes on the server.
pub fn debt_bytes(write: &Write) -> usize {
    let of_failures = |failures: &[FailedAttempt]| failures.iter().map(|one| 2 * one.bytes()).sum::<usize>();
    let of_event = |event: Option<&Event>| event.map_or(0, |event| event.stored().len() * 4 / 3 + 64);
    match write {
        Write::Debt(_, Some(debt)) => {
            let work = debt.work.values();
            let work = work.map(|work| 256 + of_failures(&work.failures) + of_event(work.body.as_ref()));
            let parked = debt.parked.values().map(|(_, parked)| {
                let reply = parked.event.as_ref().filter(|_| parked.stage == Stage::Reply);
                512 + of_failures(&parked.failures) + of_event(reply)
            });
            let copy = debt.event.as_ref().map(|copy| &copy.event);
            256 + work.sum::<usize>() + parked.sum::<usize>() + of_event(copy)
        }
        Write::Lane(_, Some(lane)) => {
            let earlier = lane.earlier.iter().map(|one| 64 + one.filter.len());
            512 + 2 * (lane.filter.len() + earlier.sum::<usize>())
        }
        Write::Progress(progress) => {
            let lanes = progress.lanes.values().map(|at| 80 + 12 * at.unsettled.len());
            8 * 1024 + lanes.sum::<usize>()
        }
        Write::Lane(_, None) | Write::Debt(_, None) => 256,
    }
}

// === impl Key ===

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Progress => f.write_str("progress"),
            Self::Lane(lane) => write!(f, "l.{}", lane.0),
            Self::Debt(lane, offset) => write!(f, "w.{}.{offset}", lane.0),
        }
    }
}

impl Key {
    /// The key of this text.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "progress" {
            return Some(Self::Progress);
        }
        if let Some(lane) = text.strip_prefix("l.") {
            return Some(Self::Lane(LaneId(lane.parse().ok()?)));
        }
        let (lane, offset) = text.strip_prefix("w.")?.split_once('.')?;
        Some(Self::Debt(LaneId(lane.parse().ok()?), offset.parse().ok()?))
    }
}

// === impl Write ===

impl Write {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        match self {
            Self::Lane(lane, _) => Key::Lane(*lane),
            Self::Debt((lane, offset), _) => Key::Debt(*lane, *offset),
            Self::Progress(_) => Key::Progress,
        }
    }

    /// What is stored; `None` removes the record.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let json = match self {
            Self::Lane(_, record) => record
                .as_ref()
                .map(|lane| serde_json::to_vec(&WireLane::from(lane))),
            Self::Debt(_, record) => record
                .as_ref()
                .map(|debt| serde_json::to_vec(&WireDebt::from(debt))),
            Self::Progress(progress) => Some(serde_json::to_vec(&WireProgress::from(&**progress))),
        };
        json.map(|json| json.unwrap_or_default())
    }
}

// === impl State ===

impl State {
    /// Takes a stored record over.
    pub fn load(&mut self, partition: u32, key: Key, bytes: &[u8]) -> Result<(), Undecodable> {
        self.try_load(partition, key, bytes)
            .map_err(|reason| Undecodable { key, reason })
    }

    fn try_load(&mut self, partition: u32, key: Key, bytes: &[u8]) -> Result<(), String> {
        let broken = |error: serde_json::Error| error.to_string();
        match key {
            Key::Progress => {
                let wire: WireProgress = serde_json::from_slice(bytes).map_err(broken)?;
                self.progress = wire.into();
            }
            Key::Lane(lane) => {
                let wire: WireLane = serde_json::from_slice(bytes).map_err(broken)?;
                self.lanes.insert(lane, wire.read(partition)?);
            }
            Key::Debt(lane, offset) => {
                let wire: WireDebt = serde_json::from_slice(bytes).map_err(broken)?;
                let position = Position { partition, offset };
                self.debts.insert((lane, offset), wire.read(lane, position)?);
            }
        }
        Ok(())
    }
}

// === impl WireProgress ===

impl From<&ProgressRecord> for WireProgress {
    fn from(progress: &ProgressRecord) -> Self {
        let lanes = progress.lanes.iter().filter(|(_, at)| **at != LaneAt::default());
        let at = |at: &LaneAt| WireAt {
            cursor: at.cursor,
            queued: at.queued,
            unsettled: at.unsettled.clone(),
        };
        Self {
            used: progress.is_used,
            clean: progress.is_clean,
            router: progress.router,
            next_lane: progress.next_lane,
            orphaned: progress.orphaned.map(|since| since.0),
            epochs: progress.epochs.as_pairs(),
            prints: progress.prints.as_pairs().to_vec(),
            lanes: lanes.map(|(id, lane)| (id.0, at(lane))).collect(),
        }
    }
}

impl From<WireProgress> for ProgressRecord {
    fn from(wire: WireProgress) -> Self {
        let at = |at: WireAt| LaneAt {
            cursor: at.cursor,
            queued: at.queued,
            unsettled: at.unsettled,
        };
        let lanes = wire.lanes.into_iter();
        Self {
            is_used: wire.used,
            is_clean: wire.clean,
            router: wire.router,
            lanes: lanes.map(|(id, lane)| (LaneId(id), at(lane))).collect(),
            next_lane: wire.next_lane,
            orphaned: wire.orphaned.map(Timestamp),
            epochs: Epochs::from_pairs(&wire.epochs),
            prints: Prints::from_pairs(wire.prints),
        }
    }
}

// === impl WireLane ===

impl From<&LaneRecord> for WireLane {
    fn from(lane: &LaneRecord) -> Self {
        let earlier = lane.earlier.iter();
        Self {
            trigger: lane.trigger.to_string(),
            uid: lane.uid.clone(),
            start: lane.start,
            filter: lane.filter.clone(),
            earlier: earlier
                .map(|one| (one.until.offset, one.filter.clone()))
                .collect(),
            paused: lane.is_paused,
            orphaned: lane.orphaned.map(|since| since.0),
        }
    }
}

impl WireLane {
    fn read(self, partition: u32) -> Result<LaneRecord, String> {
        let earlier = self.earlier.into_iter().map(|(offset, filter)| EarlierFilter {
            until: Position { partition, offset },
            filter,
        });
        Ok(LaneRecord {
            trigger: self.trigger.parse().map_err(|error| format!("{error}"))?,
            uid: self.uid,
            start: self.start,
            filter: self.filter,
            earlier: earlier.collect(),
            is_paused: self.paused,
            orphaned: self.orphaned.map(Timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{DataForm, ObjectName, SpecVersion};

    use super::*;
    use crate::remote::state::Debt;
    use crate::{Parked, Record, Work, WorkKey};

    const AT: Position = Position {
        partition: 3,
        offset: 41,
    };

    fn event(id: &str) -> Event {
        let event = Event::builder(SpecVersion::V10).attribute("id", id);
        let event = event.attribute("source", "/s").attribute("type", "t");
        event.data(DataForm::Bytes, &[0, 255, b'"']).build().unwrap()
    }

    fn failure() -> FailedAttempt {
        FailedAttempt {
            at: Timestamp(5),
            stage: Stage::DeadLetter,
            attempt: 2,
            target: "http://127.0.0.1/".to_owned(),
            status: Some(503),
            reason: "busy".to_owned(),
            body: vec![0, 255],
            millis: 7,
        }
    }

    fn debt() -> Debt {
        let lane = LaneId(7);
        let work = |stage, body| Work {
            key: WorkKey {
                lane,
                position: AT,
                stage,
            },
            attempt: 3,
            due: Timestamp(99),
            open: true,
            crashes: 1,
            suspect: true,
            undecided: true,
            failures: vec![failure()],
            body,
        };
        let parked = |stage, event| Parked {
            id: format!("id-{stage:?}"),
            lane,
            trigger: ObjectName::new("shop", "ship"),
            position: AT,
            stage,
            event,
            reason: "no".to_owned(),
            since: Timestamp(8),
            attempts: 4,
            failures: vec![failure()],
        };
        let mut debt = Debt {
            event: Some(Record {
                position: AT,
                appended: Timestamp(11),
                event: event("1"),
            }),
            ..Debt::default()
        };
        for one in [
            work(Stage::Subscriber, None),
            work(Stage::Reply, Some(event("reply"))),
        ] {
            debt.work.insert(one.key.stage, one);
        }
        for (number, one) in [
            (1 << 30, parked(Stage::DeadLetter, Some(event("1")))),
            (2, parked(Stage::Reply, Some(event("reply")))),
        ] {
            debt.parked.insert(one.stage, (number, one));
        }
        debt
    }

    fn state() -> State {
        let mut state = State::new(4);
        let lane = LaneRecord {
            trigger: ObjectName::new("shop", "ship"),
            uid: "u".to_owned(),
            start: 5,
            filter: "f".to_owned(),
            earlier: vec![EarlierFilter {
                until: AT,
                filter: "g".to_owned(),
            }],
            is_paused: true,
            orphaned: Some(Timestamp(9)),
        };
        state.lanes.insert(LaneId(7), lane);
        state.debts.insert((LaneId(7), AT.offset), debt());
        let progress = &mut state.progress;
        progress.is_used = true;
        progress.is_clean = false;
        progress.router = 42;
        progress.next_lane = 8;
        progress.orphaned = Some(Timestamp(1));
        progress.epochs.begin(4, 40);
        progress.prints.note(41, u64::MAX);
        let at = LaneAt {
            cursor: Some(41),
            queued: Some(40),
            unsettled: vec![3, 4],
        };
        progress.lanes.insert(LaneId(7), at);
        state
    }

    #[test]
    fn each_record_comes_back_as_it_went() {
        let state = state();
        let lanes = state
            .lanes
            .iter()
            .map(|(id, lane)| Write::Lane(*id, Some(lane.clone())));
        let debts = state
            .debts
            .iter()
            .map(|(key, debt)| Write::Debt(*key, Some(debt.clone())));
        let mut read = State::new(0);
        for write in lanes.chain(debts).chain([state.progress()]) {
            let bytes = write.encode().unwrap();
            assert!(
                bytes.len() <= debt_bytes(&write),
                "{write:?} has {} bytes",
                bytes.len()
            );
            let key = Key::parse(&write.key().to_string()).unwrap();
            assert_eq!(key, write.key());
            read.load(AT.partition, key, &bytes).unwrap();
        }
        assert_eq!(format!("{read:?}"), format!("{state:?}"));
        assert_eq!(Write::Lane(LaneId(7), None).encode(), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut state = State::new(0);
        for (key, bytes) in [
            (Key::Progress, &b"{}"[..]),
            (Key::Lane(LaneId(1)), b"x"),
            (
                Key::Debt(LaneId(1), 2),
                br#"{"event":{"appended":1,"stored":"AA=="}}"#,
            ),
        ] {
            let error = state.load(0, key, bytes).unwrap_err();
            assert_eq!(error.key, key);
        }
        for text in ["", "l.x", "w.1", "w.1.x", "other"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
