//! How the lanes of Triggers stand, for their statuses: three conditions of severity Info, which `Ready` does
//! not depend on. They are states with patience: a lane that comes and goes is not a write each time.
//!
//! # Contract
//! Another state is shown after it has lasted for a moment, and the states of one Trigger change at most once
//! in five minutes. Nothing in them counts.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_crds::ConditionStatus;
use millrace_model::TriggerState;
use millrace_model::status::TriggerStatus;
use serde_json::Value;
use tokio::time::Instant;

use crate::condition::Shown;

/// How long another state must last before it is shown.
const SETTLED: Duration = Duration::from_secs(10);
/// The pause between two changes of what is shown of one Trigger.
const APART: Duration = Duration::from_secs(300);

/// A state of a lane in one respect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    ty: &'static str,
    is_well: bool,
    reason: &'static str,
    message: &'static str,
}

/// All that a condition may say. The first of each type is what a new lane begins with.
const WORDS: [&[Word]; 3] = [
    &[
        well("CaughtUp"),
        ill(
            "CaughtUp",
            "Behind",
            "it reads events that were accepted earlier; `millrace triggers` says how many",
        ),
    ],
    &[
        well("Delivering"),
        ill(
            "Delivering",
            "AttemptsFail",
            "attempts fail and none succeeds; `millrace triggers` has the last failure",
        ),
        ill(
            "Delivering",
            "Paused",
            "it is paused by command, and attempts nothing",
        ),
        ill(
            "Delivering",
            "Blocked",
            "as many events as allowed are parked or wait for another attempt",
        ),
        ill(
            "Delivering",
            "SubscriberUnknown",
            "it is not known where its subscriber is; events wait",
        ),
    ],
    &[
        well("NothingParked"),
        ill(
            "NothingParked",
            "Parked",
            "events are parked; `millrace parked list` shows them",
        ),
    ],
];

/// The lanes, by the uids of their Triggers.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<String, One>,
}

/// One lane.
#[derive(Debug)]
struct One {
    shown: [&'static Word; 3],
    /// States that are not shown, and since when they last.
    next: [Option<(&'static Word, Instant)>; 3],
    changed: Option<Instant>,
    /// Deliveries and failed attempts, as they were counted last.
    counted: (u64, u64),
    is_failing: bool,
}

const fn well(ty: &'static str) -> Word {
    Word {
        ty,
        is_well: true,
        reason: ty,
        message: "",
    }
}

const fn ill(ty: &'static str, reason: &'static str, message: &'static str) -> Word {
    Word {
        ty,
        is_well: false,
        reason,
        message,
    }
}

/// What a new lane begins with.
fn begin() -> [&'static Word; 3] {
    WORDS.map(|words| &words[0])
}

/// What a status says of the lane, if it says all of it.
pub(crate) fn said(status: &Value) -> Option<[&'static Word; 3]> {
    let conditions = status["conditions"].as_array()?;
    let mut found = begin();
    for (word, known) in found.iter_mut().zip(WORDS) {
        let is_said = |one: &&Word| {
            let mut conditions = conditions.iter();
            conditions.any(|said| said["type"] == one.ty && said["reason"] == one.reason)
        };
        *word = known.iter().find(is_said)?;
    }
    Some(found)
}

/// The conditions of a lane: as it stands, else as its status says, else as one begins that is `new`.
pub(crate) fn conditions(lanes: &Lanes, uid: &str, status: &Value, is_new: bool) -> Vec<Shown> {
    let shown = lanes.lanes.get(uid).map(|one| one.shown);
    let shown = shown.or_else(|| said(status)).or_else(|| is_new.then(begin));
    shown.into_iter().flatten().map(Word::shown).collect()
}

// === impl Word ===

impl Word {
    fn shown(&self) -> Shown {
        let status = match self.is_well {
            true => ConditionStatus::True,
            false => ConditionStatus::False,
        };
        Shown {
            status,
            message: self.message.to_owned(),
            is_info: true,
            ..Shown::met(self.ty, self.reason)
        }
    }
}

// === impl Lanes ===

impl Lanes {
    /// Takes in how lanes stand, each with the uid of its Trigger and with the status that this has, if that
    /// is known. Says whether something else is shown now.
    pub(crate) fn observe<'a>(
        &mut self,
        all: impl Iterator<Item = (&'a str, &'a TriggerStatus, Option<&'a Value>)>,
    ) -> bool {
        let mut before = std::mem::take(&mut self.lanes);
        let mut has_changed = false;
        for (uid, status, said) in all {
            // Without what its status says nobody knows what another state would be.
            let Some(mut one) = before.remove(uid).or_else(|| said.map(One::new)) else {
                continue;
            };
            has_changed |= one.observe(status);
            self.lanes.insert(uid.to_owned(), one);
        }
        has_changed
    }
}

// === impl One ===

impl One {
    fn new(status: &Value) -> Self {
        Self {
            shown: said(status).unwrap_or_else(begin),
            next: [None; 3],
            changed: None,
            counted: (0, 0),
            is_failing: false,
        }
    }

    fn observe(&mut self, status: &TriggerStatus) -> bool {
        let now = Instant::now();
        let words = self.words(status);
        for ((next, shown), word) in self.next.iter_mut().zip(&self.shown).zip(words) {
            let lasts = next.filter(|(next, _)| *next == word);
            *next = (*shown != word).then(|| lasts.unwrap_or((word, now)));
        }
        if self.changed.is_some_and(|at| now - at < APART) {
            return false;
        }
        let mut has_changed = false;
        for (next, shown) in self.next.iter_mut().zip(&mut self.shown) {
            if let Some((word, _)) = next.take_if(|(_, since)| now - *since >= SETTLED) {
                *shown = word;
                has_changed = true;
            }
        }
        if has_changed {
            self.changed = Some(now);
        }
        has_changed
    }

    /// How the lane stands.
    fn words(&mut self, status: &TriggerStatus) -> [&'static Word; 3] {
        self.count(status);
        let [caught_up, delivering, parked] = WORDS;
        let is_behind = status.state != TriggerState::Live && status.backlog > 0;
        let delivering = match status.state {
            TriggerState::Paused => &delivering[2],
            TriggerState::Blocked => &delivering[3],
            TriggerState::NotReady => &delivering[4],
            _ if self.is_failing => &delivering[1],
            _ => &delivering[0],
        };
        [
            &caught_up[usize::from(is_behind)],
            delivering,
            &parked[usize::from(status.parked > 0)],
        ]
    }

    /// Attempts fail from a failure on until one succeeds, or until nothing is owed any more.
    fn count(&mut self, status: &TriggerStatus) {
        let counted = (status.delivered, status.failed_attempts);
        let (delivered, failed) = self.counted;
        if counted.0 > delivered || status.deferred + status.queued == 0 {
            self.is_failing = false;
        } else if counted.1 > failed {
            self.is_failing = true;
        }
        self.counted = counted;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is shown as ill after the lane stood so.
    fn observe(lanes: &mut Lanes, status: &TriggerStatus) -> (bool, Vec<&'static str>) {
        let has_changed = lanes.observe([("uid", status, Some(&Value::Null))].into_iter());
        let shown = lanes.lanes["uid"].shown.into_iter();
        let ill = shown.filter(|word| !word.is_well);
        (has_changed, ill.map(|word| word.reason).collect())
    }

    fn live(parked: u64) -> TriggerStatus {
        TriggerStatus {
            state: TriggerState::Live,
            parked,
            ..TriggerStatus::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_state_is_shown_when_it_lasts_and_the_next_five_minutes_later() {
        let mut lanes = Lanes::default();
        assert_eq!(observe(&mut lanes, &live(0)), (false, vec![]));
        for _ in 0..3 {
            assert_eq!(observe(&mut lanes, &live(1)), (false, vec![]));
            tokio::time::advance(SETTLED / 2).await;
            assert_eq!(observe(&mut lanes, &live(0)), (false, vec![]), "it did not last");
        }
        observe(&mut lanes, &live(1));
        tokio::time::advance(SETTLED).await;
        assert_eq!(observe(&mut lanes, &live(9)), (true, vec!["Parked"]));
        assert_eq!(
            observe(&mut lanes, &live(7)),
            (false, vec!["Parked"]),
            "a number is no state"
        );
        let mut steps = Vec::new();
        for _ in 0..APART.as_secs() / SETTLED.as_secs() {
            tokio::time::advance(SETTLED).await;
            steps.push(observe(&mut lanes, &live(0)).0);
        }
        assert_eq!(steps.iter().filter(|changed| **changed).count(), 1);
        assert_eq!(steps.last(), Some(&true), "only after five minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_not_delivering_until_something_succeeds_or_nothing_is_owed() {
        let status = |delivered, failed_attempts, deferred| TriggerStatus {
            delivered,
            failed_attempts,
            deferred,
            ..live(0)
        };
        let mut one = One::new(&Value::Null);
        for (delivered, failed, deferred, expected) in [
            (5, 0, 0, "Delivering"),
            (5, 1, 1, "AttemptsFail"),
            (5, 1, 1, "AttemptsFail"),
            (6, 1, 1, "Delivering"),
            (6, 9, 1, "AttemptsFail"),
            (7, 99, 8, "Delivering"),
            (7, 100, 8, "AttemptsFail"),
            (7, 100, 0, "Delivering"),
        ] {
            let words = one.words(&status(delivered, failed, deferred));
            assert_eq!(words[1].reason, expected, "{delivered} {failed} {deferred}");
        }
        for (state, expected) in [
            (TriggerState::Paused, ["Behind", "Paused"]),
            (TriggerState::Blocked, ["Behind", "Blocked"]),
            (TriggerState::NotReady, ["Behind", "SubscriberUnknown"]),
            (TriggerState::Behind, ["Behind", "Delivering"]),
            (TriggerState::Live, ["CaughtUp", "Delivering"]),
        ] {
            let backlog = 3;
            let words = one.words(&TriggerStatus {
                state,
                backlog,
                ..live(0)
            });
            assert_eq!([words[0].reason, words[1].reason], expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_before_the_status_is_known_changes_nothing_in_it() {
        let mut lanes = Lanes::default();
        let status = json!({"conditions": [
            {"type": "CaughtUp", "reason": "CaughtUp"}, {"type": "Delivering", "reason": "Delivering"},
            {"type": "NothingParked", "reason": "Parked"},
        ]});
        // The API server is away.
        for _ in 0..3 {
            assert!(!lanes.observe([("uid", &live(1), None)].into_iter()));
            tokio::time::advance(SETTLED).await;
        }
        for _ in 0..3 {
            assert!(!lanes.observe([("uid", &live(1), Some(&status))].into_iter()));
            let shown = conditions(&lanes, "uid", &status, false);
            assert_eq!(shown[2].reason, "Parked");
            tokio::time::advance(SETTLED).await;
        }
    }

    #[test]
    fn a_new_process_begins_with_what_the_status_says() {
        let lanes = Lanes::default();
        let of = |status: &Value, is_new| {
            let all = conditions(&lanes, "uid", status, is_new).into_iter();
            all.map(|one| one.reason).collect::<Vec<_>>()
        };
        assert!(of(&Value::Null, false).is_empty());
        assert_eq!(
            of(&Value::Null, true),
            ["CaughtUp", "Delivering", "NothingParked"]
        );
        let said = |reason: &str| {
            json!({"conditions": [
                {"type": "CaughtUp", "reason": "CaughtUp"}, {"type": "Delivering", "reason": reason},
                {"type": "NothingParked", "reason": "Parked"},
            ]})
        };
        assert_eq!(of(&said("Paused"), false), ["CaughtUp", "Paused", "Parked"]);
        assert!(of(&said("OfAnotherVersion"), false).is_empty());
    }
}
