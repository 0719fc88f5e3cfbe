//! One partition of a broker being served: what its router, workers, timers and commits share.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_channel::{Channel, Position};
use millrace_delivery::Connector;
use millrace_delivery::own_ingress::OwnIngress;
use millrace_event::{Clock, Event, Intake, Moment, ObjectName, Timestamp};
use millrace_filter::{Allowance, Compiled, Decision, Index, Subject, Turns};
use millrace_model::Trigger;
use millrace_model::status::TriggerStatus;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::alone::Alone;
use crate::budget::Budget;
use crate::dispatcher::DispatcherOptions;
use crate::due::Timetable;
use crate::lane::{Inner, Lane};
use crate::metrics::ServingMetrics;
use crate::observer::Observer;
use crate::provoke;
use crate::router::LaneAnswer;
use crate::settings::Settings;
use crate::watched::{Panic, Panics, Task, caught, with_place};
use crate::worker;

/// What all brokers share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) connector: Connector,
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) clock: Clock,
    pub(crate) budget: Arc<Budget>,
    pub(crate) alone: Arc<Alone>,
    /// Runs filters that need more than an allowance.
    pub(crate) turns: Turns,
    pub(crate) options: Arc<DispatcherOptions>,
    pub(crate) observer: Option<Observer>,
    pub(crate) own_ingress: OwnIngress,
    #[cfg(test)]
    pub(crate) provoked: Arc<crate::provoke::testing::Provoked>,
}

/// One partition of a broker being served. Nothing in it knows that there may be others.
pub(crate) struct Serving {
    pub(crate) broker: ObjectName,
    pub(crate) partition: u32,
    /// It names the Broker; log lines are written in it. No task runs in it, since entering it would cost
    /// something for each event.
    pub(crate) span: Span,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) common: Common,
    pub(crate) metrics: ServingMetrics,
    /// Held while events are given to lanes and while a filter changes, so that no event is given by a filter
    /// that is being replaced.
    pub(crate) gate: tokio::sync::Mutex<Gate>,
    pub(crate) routes: Mutex<Routes>,
    /// Lanes with something to commit.
    pub(crate) dirty: Mutex<BTreeSet<u32>>,
    pub(crate) dirty_waker: Notify,
    /// A lane has so many outcomes that it should not wait for the interval.
    pub(crate) commit_now: Notify,
    /// Held during a commit.
    pub(crate) committing: tokio::sync::Mutex<crate::progress::Owed>,
    /// Lanes that want the catch-up reader.
    pub(crate) hungry: Mutex<BTreeSet<u32>>,
    pub(crate) hungry_waker: Notify,
    /// When which lane has rows due.
    pub(crate) due: Mutex<Timetable>,
    pub(crate) due_waker: Notify,
    pub(crate) workers: TaskTracker,
    /// No new attempts; those in flight end. [`Serving::end`] sets it.
    pub(crate) stop: CancellationToken,
    /// The same, to be looked at for each event: the token takes a lock.
    pub(crate) stopped: AtomicBool,
    /// Lanes have found that no attempt may begin.
    pub(crate) was_unheld: AtomicBool,
    /// The highest position that may have been attempted before an unclean stop; 0 after a clean one.
    pub(crate) suspects_below: u64,
    /// Triggers without a lane here, because they were already gone when serving began.
    pub(crate) gone: Mutex<Vec<(ObjectName, TriggerStatus)>>,
    /// The panics of tasks.
    pub(crate) panics: Mutex<Panics>,
    /// Its Broker is in no document any more.
    pub(crate) orphaned: AtomicBool,
    /// When serving began, in steady time.
    pub(crate) began: Timestamp,
    /// The same by a clock that stands still while the machine sleeps: a sleeping machine adds nothing to the
    /// process's life.
    pub(crate) since: Instant,
}

/// The filters of the lanes that the router feeds.
#[derive(Default)]
pub(crate) struct Gate {
    index: Index,
    generation: u64,
}

/// Lanes by their numbers, which are our own. Their order is the same in each run: it decides which lane is
/// looked at first, and a test that runs again must run alike.
pub(crate) type Lanes = HashMap<u32, Arc<Lane>, BuildHasherDefault<DefaultHasher>>;

/// The router's position and the lanes.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) position: u64,
    pub(crate) position_moved: bool,
    pub(crate) lanes: Lanes,
    pub(crate) by_name: HashMap<ObjectName, u32>,
    /// Lanes whose stored cursor is ahead of the router: to be taken back once the router has come by.
    pub(crate) ahead: BTreeSet<u32>,
    pub(crate) next_key: u32,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Rises with every change of the index, and only then: earlier answers are then out of date.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Puts (or replaces) the filter of a lane.
    pub(crate) fn insert(&mut self, key: u32, filter: Arc<Compiled>) {
        self.generation += 1;
        self.index.insert(key, filter);
    }

    /// Removes the filter of a lane.
    pub(crate) fn remove(&mut self, key: u32) {
        self.generation += 1;
        self.index.remove(key);
    }
}

// === impl Serving ===

impl Serving {
    /// The time for all waiting and measuring; rows of work use it too.
    pub(crate) fn steady(&self) -> Timestamp {
        self.common.clock.steady()
    }

    /// Both times now: people are shown wall time.
    pub(crate) fn moment(&self) -> Moment {
        self.common.clock.moment()
    }

    /// A position of its partition.
    pub(crate) fn at(&self, offset: u64) -> Position {
        Position {
            partition: self.partition,
            offset,
        }
    }

    /// What a lane here needs of its trigger.
    pub(crate) fn settings(&self, trigger: Arc<Trigger>) -> Arc<Settings> {
        let Common {
            own_ingress,
            connector,
            ..
        } = &self.common;
        Arc::new(Settings::new(
            trigger,
            self.channel.partitions(),
            *own_ingress,
            connector,
        ))
    }

    /// Another process owns the partition now: no attempt begins here, and nothing is written down any more.
    pub(crate) fn lose(&self) {
        if !self.is_stopped() {
            self.span.in_scope(|| {
                tracing::info!(
                    partition = self.partition,
                    "another process serves this partition now"
                )
            });
        }
        self.end();
    }

    /// The span for a log line about a Trigger of this Broker. It is made for each line, so that a Trigger
    /// that logs nothing has none.
    pub(crate) fn trigger_span(&self, trigger: &ObjectName) -> Span {
        tracing::error_span!(parent: &self.span, "trigger", %trigger)
    }

    /// From now on no attempt begins.
    pub(crate) fn end(&self) {
        self.stopped.store(true, Ordering::Release);
        self.stop.cancel();
    }

    /// Whether no attempt may begin any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether an attempt may begin now. Not while it is not certain that the partition still is this
    /// process's: then lanes are looked at again once it is.
    pub(crate) fn may_begin(&self) -> bool {
        let is_held = self.channel.is_held();
        if !is_held {
            self.was_unheld.store(true, Ordering::Relaxed);
        }
        is_held && !self.is_stopped()
    }

    /// Whether attempts may begin again that could not before.
    pub(crate) fn is_held_again(&self) -> bool {
        self.channel.is_held() && self.was_unheld.swap(false, Ordering::Relaxed)
    }

    /// The observer of events, if there is one.
    pub(crate) fn observer(&self) -> Option<&Observer> {
        self.common
            .observer
            .as_ref()
            .filter(|observer| observer.is_wanted())
    }

    /// After a change of a lane: wakes or starts a worker, asks for a commit, asks for the catch-up reader.
    pub(crate) fn stir(self: &Arc<Self>, lane: &Arc<Lane>, inner: &mut Inner) {
        if inner.dirty && !inner.marked {
            inner.marked = true;
            self.dirty.lock().insert(lane.key);
            self.dirty_waker.notify_one();
        }
        if inner.uncommitted >= crate::lane::ASK_FOR_COMMIT {
            self.commit_now.notify_one();
        }
        if !inner.asked && inner.is_hungry() {
            inner.asked = true;
            self.hungry.lock().insert(lane.key);
            self.hungry_waker.notify_one();
        }
        if inner.wants_due(&self.common.budget) {
            inner.due_waiting = false;
            // Now, and not at once: lanes that have waited for longer come first, or one with much due
            // starves them.
            self.schedule(lane.key, self.steady());
        }
        self.wake_worker(lane, inner);
    }

    /// Wakes a worker, or starts one, when there is something to take and it may be taken.
    pub(crate) fn wake_worker(self: &Arc<Self>, lane: &Arc<Lane>, inner: &mut Inner) {
        if !inner.has_work() || !self.may_begin() {
            return;
        }
        if inner.idle > 0 {
            lane.wake.notify_one();
        } else if inner.workers < inner.settings.bounds.parallelism {
            inner.workers += 1;
            self.workers.spawn(worker::run(self.clone(), lane.clone()));
        }
    }

    /// Looks at the lane's due rows at this time.
    pub(crate) fn schedule(&self, key: u32, due: Timestamp) {
        if self.due.lock().set(key, due) {
            self.due_waker.notify_one();
        }
    }

    /// Hands a lane an event, or its filter's answer. `false`: the lane has no room.
    pub(crate) fn hand_over(
        &self,
        lane: &Lane,
        inner: &mut Inner,
        offset: u64,
        event: &Event,
        answer: LaneAnswer,
    ) -> bool {
        if inner.is_covered(offset) {
            inner.pass(offset);
            return true;
        }
        match answer {
            LaneAnswer::Match => inner.offer(offset, event, &self.common.budget),
            LaneAnswer::Undecided => lane.owe_undecided(inner, offset, self.steady()),
            LaneAnswer::TooMuchWork => {
                self.note_too_much_work(lane, inner);
                true
            }
        }
    }

    /// Notes an event that did not match because the filter's work budget was used up. Logged once for each
    /// lane.
    pub(crate) fn note_too_much_work(&self, lane: &Lane, inner: &mut Inner) {
        self.metrics.too_much_work.inc();
        if inner.tally.too_much_work == 0 {
            self.trigger_span(&lane.name).in_scope(|| tracing::warn!("an event does not match because the trigger's filters would need too much work to decide (told once; `millrace explain` says for which events)"));
        }
        inner.tally.too_much_work += 1;
    }

    /// Asks one filter about one event, in turns with other work.
    pub(crate) async fn decide_in_turns(
        self: &Arc<Self>,
        task: Task,
        subject: Subject<'static>,
        filter: Arc<Compiled>,
    ) -> Result<(Subject<'static>, Decision), Panic> {
        let job = (subject, filter, Decision::Later, self.clone(), task);
        let turns = &self.common.turns;
        let decided = pin!(turns.work(job, |(subject, filter, decision, serving, task)| {
            *decision = with_place(|| {
                provoke::at(serving, *task, Some(subject.event()));
                filter.decide(subject, &Allowance::unlimited())
            });
            true
        }));
        caught(decided)
            .await
            .map(|(subject, _, decision, ..)| (subject, decision))
    }

    /// Notes that a task panicked and starts again.
    pub(crate) fn note_panic(&self, task: Task, panic: &Panic) {
        self.metrics.panics.inc();
        self.span
            .in_scope(|| tracing::error!(%task, %panic, "a task panicked; it begins again"));
        self.panics.lock().note(task, panic);
    }

    /// The lane of that number, if it still exists.
    pub(crate) fn lane(&self, key: u32) -> Option<Arc<Lane>> {
        self.routes.lock().lanes.get(&key).cloned()
    }
}
