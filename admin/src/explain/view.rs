//! How an explanation is written.

use millrace_channel::{Attempt, Record};
use millrace_event::ObjectName;
use millrace_filter::Clause;
use serde::Serialize;
use serde_json::value::RawValue;

use super::event::FoundEvent;
use super::facts::{All, Facts};
use super::fate;
use super::state::EventState;
use crate::wire::{EventName, Rfc3339, ordinal, stage, structured};

/// An event, and what each trigger of the broker made of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    /// `namespace/name`.
    broker: String,
    position: String,
    /// When it was accepted.
    accepted: Rfc3339,
    /// The event in structured mode.
    event: Option<Box<RawValue>>,
    /// Those that match first, then by name.
    triggers: Vec<TriggerView>,
    /// Triggers that are left out.
    omitted_triggers: usize,
    /// Other events of the same id, newest first; `position` in the query asks for one of them.
    others: Vec<Other>,
}

#[derive(Debug, Serialize)]
struct Other {
    position: String,
    accepted: Rfc3339,
    event: EventName,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TriggerView {
    /// `namespace/name`.
    trigger: String,
    /// Null when its document is gone.
    matched: Option<bool>,
    /// What became of the event, in a word (docs/guides/why-was-my-service-not-called.md lists them).
    state: &'static str,
    /// A sentence.
    why: String,
    /// The clause that decided; null when there is none: everything passes.
    decided_by: Option<ClauseView>,
    /// Every clause that was asked, in order.
    clauses: Vec<ClauseView>,
    omitted_clauses: usize,
    /// Oldest first.
    attempts: Vec<AttemptView>,
    /// There were attempts of which nothing is known any more.
    attempts_forgotten: bool,
    next_due: Option<Rfc3339>,
    /// Positions that the trigger has to read before this one; null unless it has not read it yet.
    behind: Option<u64>,
    /// Ids of parked events, for `parked/{id}`.
    parked: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ClauseView {
    path: String,
    /// `held`, `absent`, `different`, `wrong-type` or `error`.
    verdict: &'static str,
    because: String,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    at: Rfc3339,
    stage: &'static str,
    /// The number of the attempt in its stage, from 1.
    attempt: u32,
    status: Option<u16>,
    millis: u32,
    outcome: &'static str,
    /// Why it failed; null when it did not.
    reason: Option<String>,
    /// The first bytes of the answer; null when it had none.
    answer: Option<String>,
}

// === impl Explained ===

impl Explained {
    pub(super) fn new(broker: &ObjectName, found: FoundEvent, facts: All) -> Self {
        let FoundEvent { record, others } = found;
        Self {
            broker: broker.to_string(),
            position: record.position.to_string(),
            accepted: Rfc3339(record.appended),
            event: structured(&record.event),
            triggers: facts.list.into_iter().map(TriggerView::from).collect(),
            omitted_triggers: facts.omitted,
            others: others.iter().map(Other::from).collect(),
        }
    }
}

impl From<&Record> for Other {
    fn from(record: &Record) -> Self {
        Self {
            position: record.position.to_string(),
            accepted: Rfc3339(record.appended),
            event: EventName::from(&record.event),
        }
    }
}

impl From<Facts> for TriggerView {
    fn from(facts: Facts) -> Self {
        let fate = fate::of(&facts);
        let said = facts.explanation;
        let (matched, decided_by) = (
            said.as_ref().map(|said| said.matched),
            said.as_ref().and_then(|said| said.decided_by.clone()),
        );
        let (clauses, omitted) = said.map_or((Vec::new(), 0), |said| (said.clauses, said.omitted));
        Self {
            trigger: facts.trigger.to_string(),
            matched,
            state: fate.state.as_str(),
            why: fate.why,
            decided_by: decided_by.map(ClauseView::from),
            clauses: clauses.into_iter().map(ClauseView::from).collect(),
            omitted_clauses: omitted,
            attempts_forgotten: facts.attempts.forgotten
                || facts.attempts.left_out
                || fate.state == EventState::Settled,
            attempts: facts.attempts.list.into_iter().map(AttemptView::from).collect(),
            next_due: fate.next_due.map(Rfc3339),
            behind: fate.behind,
            parked: facts.rows.parked.into_iter().map(|parked| parked.id).collect(),
        }
    }
}

impl From<Clause> for ClauseView {
    fn from(clause: Clause) -> Self {
        Self {
            path: clause.path,
            verdict: clause.verdict.as_str(),
            because: clause.because,
        }
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            at: Rfc3339(attempt.at),
            stage: stage(attempt.stage),
            attempt: ordinal(attempt.attempt),
            status: attempt.status,
            millis: attempt.millis,
            outcome: attempt.outcome.as_str(),
            reason: Some(attempt.detail).filter(|reason| !reason.is_empty()),
            answer: Some(attempt.answer).filter(|answer| !answer.is_empty()),
        }
    }
}
