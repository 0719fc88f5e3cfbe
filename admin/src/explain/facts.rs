//! What is known of one event for each trigger of its broker: the filter's decision, the lane, its rows, its
//! attempts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use http::StatusCode;
use millrace_channel::{Attempt, Channel, Lane, LaneId, LaneState, Record, Rows};
use millrace_event::{Clock, ObjectName, Timestamp};
use millrace_filter::turns::SLICE;
use millrace_filter::{Allowance, Compiled, Explanation, Subject, text};
use millrace_model::Trigger;
use millrace_model::status::{TriggerStatus, UnderWay};

use super::attempts::Attempts;
use crate::Admin;
use crate::refused::Refused;

/// Triggers of one answer; those that match come first.
const MAX_TRIGGERS: usize = 1_000;

/// What is known for one trigger.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) trigger: ObjectName,
    pub(super) position: u64,
    /// What its filter says; `None` when its document is gone.
    pub(super) explanation: Option<Explanation>,
    /// Its lane as stored; `None` when it has none yet.
    pub(super) lane: Option<Stored>,
    /// How its lane stands.
    pub(super) status: Option<TriggerStatus>,
    /// The attempt that is under way now, or waits to begin; in wall time.
    pub(super) under_way: Option<UnderWay>,
    /// When this was found out, by the wall clock.
    pub(super) now: Timestamp,
    pub(super) rows: Rows,
    pub(super) attempts: Attempts,
}

/// What of a stored lane concerns one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// The first position that is its own.
    pub(super) start: u64,
    /// The position that it had not read when it was last written down.
    pub(super) reads_at: u64,
    /// The event was in hand then.
    pub(super) in_hand: bool,
    /// Its state, in wall time.
    pub(super) state: LaneState,
}

/// What is known for all triggers.
#[derive(Clone, Debug)]
pub(super) struct All {
    /// Those that match first, then by name.
    pub(super) list: Vec<Facts>,
    /// Triggers that are left out of the answer. None of them matches, unless more match than an answer
    /// lists.
    pub(super) omitted: usize,
}

/// A trigger that is to be told of.
struct Candidate {
    name: ObjectName,
    explanation: Option<Explanation>,
    lane: Option<Lane>,
}

// === impl Candidate ===

impl Candidate {
    fn lane_id(&self) -> Option<LaneId> {
        Some(self.lane.as_ref()?.id)
    }
}

/// Gathers what is known, with few questions to the channel however many triggers there are.
pub(super) async fn gather(
    admin: &Admin,
    broker: &ObjectName,
    channel: &Arc<dyn Channel>,
    record: &Record,
    only: Option<&ObjectName>,
) -> Result<All, Refused> {
    // First, so that no lane is taken for further on than it was when its state was read.
    let router = channel.router().await?.offset;
    let mut candidates = candidates(admin, broker, channel, record, only).await?;
    let matters = |one: &Candidate| one.explanation.as_ref().is_none_or(|said| said.matched);
    // Stable: by name within.
    candidates.sort_by_key(|one| !matters(one));
    let omitted = candidates.len().saturating_sub(MAX_TRIGGERS);
    candidates.truncate(MAX_TRIGGERS);
    let mut history: HashMap<ObjectName, Vec<Attempt>> = HashMap::new();
    for attempt in channel.attempts(record.position).await? {
        history.entry(attempt.trigger.clone()).or_default().push(attempt);
    }
    let left_out = channel.attempts_left_out(record.position);
    let named: BTreeSet<&ObjectName> = candidates.iter().map(|one| &one.name).collect();
    let mut statuses = admin
        .board
        .triggers_in(broker, record.position.partition, &|trigger| {
            named.contains(trigger)
        });
    let mut under_way = admin
        .board
        .under_way(broker, record.position.partition, record.position.offset);
    for attempt in under_way.values_mut() {
        attempt.since = admin.clock.shown(attempt.since);
    }
    let now = admin.clock.moment().wall;
    let lanes: Vec<LaneId> = candidates.iter().filter_map(Candidate::lane_id).collect();
    let mut rows = channel.rows_of(&lanes, record.position).await?;
    let mut list = Vec::with_capacity(candidates.len());
    for Candidate {
        name,
        explanation,
        lane,
    } in candidates
    {
        let rows = lane.as_ref().and_then(|lane| rows.remove(&lane.id));
        let rows = shown(rows.unwrap_or_default(), &admin.clock);
        list.push(Facts {
            position: record.position.offset,
            explanation,
            lane: lane.map(|lane| stored(&lane, record, router, &admin.clock)),
            status: statuses.remove(&name),
            under_way: under_way.remove(&name),
            now,
            attempts: Attempts {
                left_out,
                ..Attempts::of(&name, history.remove(&name).unwrap_or_default(), &rows)
            },
            rows,
            trigger: name,
        });
    }
    Ok(All { list, omitted })
}

/// The rows, with steady times turned into wall times.
fn shown(mut rows: Rows, clock: &Clock) -> Rows {
    for work in &mut rows.work {
        work.due = clock.shown(work.due);
    }
    rows
}

fn stored(lane: &Lane, record: &Record, router: u64, clock: &Clock) -> Stored {
    let reads_at = lane.cursor.map_or(router, |cursor| cursor.offset);
    Stored {
        start: lane.start.offset,
        reads_at,
        in_hand: lane.unsettled.contains(&record.position)
            || record.position.offset < reads_at && is_queued(lane, record),
        state: match lane.state {
            LaneState::Orphaned(since) => LaneState::Orphaned(clock.shown(since)),
            state @ (LaneState::Active | LaneState::Paused) => state,
        },
    }
}

/// Whether the event is in the lane's queue as it was last written down, or the lane has not read it: if its
/// filter lets it pass.
fn is_queued(lane: &Lane, record: &Record) -> bool {
    lane.queued.is_some_and(|queued| queued <= record.position)
}

/// The filter that judged the event when the lane read it, if that was an earlier one and the event may still
/// be queued: it will be judged by that again.
fn earlier(lane: &Lane, record: &Record) -> Option<Compiled> {
    let earlier = lane.earlier.iter().find(|one| record.position < one.until)?;
    let earlier = is_queued(lane, record).then_some(earlier)?;
    text::compile(&earlier.filter).ok()
}

/// The triggers of the broker: those of the documents, and those whose documents are gone but whose lanes are
/// kept.
async fn candidates(
    admin: &Admin,
    broker: &ObjectName,
    channel: &Arc<dyn Channel>,
    record: &Record,
    only: Option<&ObjectName>,
) -> Result<Vec<Candidate>, Refused> {
    let mesh = admin.mesh.borrow().clone();
    let wanted = |name: &ObjectName| only.is_none_or(|only| only == name);
    // Of lanes of one name the newest, which comes last, is the trigger's.
    let lanes: BTreeMap<ObjectName, Lane> = channel
        .lanes()
        .await?
        .into_iter()
        .filter(|lane| wanted(&lane.trigger))
        .map(|lane| (lane.trigger.clone(), lane))
        .collect();
    let mut triggers: BTreeMap<&ObjectName, Option<&Arc<Trigger>>> =
        lanes.keys().map(|name| (name, None)).collect();
    let named = mesh
        .triggers_of(broker)
        .filter(|trigger| wanted(&trigger.name))
        .map(|trigger| (&trigger.name, Some(trigger)));
    triggers.extend(named);
    if let (Some(only), true) = (only, triggers.is_empty()) {
        return Err(unknown(mesh.triggers.get(only)));
    }
    let asked = triggers.into_iter().map(|(name, trigger)| {
        let earlier = || earlier(lanes.get(name)?, record).map(Arc::new);
        let filter = trigger.map(|trigger| earlier().unwrap_or_else(|| trigger.compiled.clone()));
        (name.clone(), filter)
    });
    let asking = Asking {
        // The data is parsed once, however many filters ask.
        subject: Subject::new(&record.event).into_owned(),
        left: asked.collect(),
        done: Vec::new(),
    };
    let asking = admin.turns.work(asking, Asking::go_on).await;
    let candidate = |(name, explanation): (ObjectName, Option<Explanation>)| Candidate {
        lane: lanes.get(&name).cloned(),
        name,
        explanation,
    };
    Ok(asking.done.into_iter().map(candidate).collect())
}

/// The filters of many triggers, asked about one event, taking turns with other work.
struct Asking {
    subject: Subject<'static>,
    left: VecDeque<(ObjectName, Option<Arc<Compiled>>)>,
    done: Vec<(ObjectName, Option<Explanation>)>,
}

impl Asking {
    /// Asks filters for one slice; returns whether all have been asked.
    fn go_on(&mut self) -> bool {
        let allowance = Allowance::unlimited();
        while allowance.spent() < SLICE {
            let Some((name, filter)) = self.left.pop_front() else {
                return true;
            };
            let explain = |filter: Arc<Compiled>| filter.explain_subject(&self.subject, &allowance);
            self.done.push((name, filter.map(explain)));
        }
        self.left.is_empty()
    }
}

fn unknown(elsewhere: Option<&Arc<Trigger>>) -> Refused {
    let detail = match elsewhere {
        Some(trigger) => format!(
            "that trigger reads another broker, {}: it gets no events of this one",
            trigger.broker
        ),
        None => "there is no trigger of that name".to_owned(),
    };
    Refused::new(StatusCode::NOT_FOUND, "unknown-trigger", detail)
}
