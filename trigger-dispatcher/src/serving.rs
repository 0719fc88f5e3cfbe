//! One broker being served: what its router, workers, timers and commits share.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use millrace_channel::Channel;
use millrace_delivery::Connector;
use millrace_event::{Clock, Intake, Moment, ObjectName, Timestamp};
use millrace_filter::Index;
use millrace_model::status::TriggerStatus;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alone::Alone;
use crate::budget::Budget;
use crate::dispatcher::DispatcherOptions;
use crate::due::Timetable;
use crate::lane::{Inner, Lane};
use crate::metrics::BrokerMetrics;
use crate::observer::Observer;
use crate::worker;

/// What all brokers share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) connector: Connector,
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) clock: Clock,
    pub(crate) budget: Arc<Budget>,
    pub(crate) alone: Arc<Alone>,
    pub(crate) options: Arc<DispatcherOptions>,
    pub(crate) observer: Option<Observer>,
    pub(crate) own_ingress: Option<SocketAddr>,
}

/// One broker being served.
pub(crate) struct Serving {
    pub(crate) broker: ObjectName,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) common: Common,
    pub(crate) metrics: BrokerMetrics,
    /// Held while a batch is routed, and while a filter changes: nothing is read under a filter that is being replaced.
    pub(crate) gate: tokio::sync::Mutex<()>,
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
    /// No new attempts; those in flight end.
    pub(crate) stop: CancellationToken,
    /// The highest position that may have been attempted before an unclean stop; 0 after a clean one.
    pub(crate) suspects_below: u64,
    /// Triggers that are gone and have no lane here: they were gone already when serving began.
    pub(crate) gone: Mutex<Vec<(ObjectName, TriggerStatus)>>,
    /// Its Broker is in no document any more.
    pub(crate) orphaned: AtomicBool,
    /// When serving began, in steady time.
    pub(crate) began: Timestamp,
    /// The same by a clock that stands still while the machine sleeps: only while awake a process lives.
    pub(crate) since: Instant,
}

/// The router's position, its index and the lanes.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) position: u64,
    pub(crate) position_moved: bool,
    pub(crate) index: Index,
    pub(crate) lanes: HashMap<u32, Arc<Lane>>,
    pub(crate) by_name: HashMap<ObjectName, u32>,
    /// Lanes whose stored cursor is ahead of the router: to be taken back once the router has come by.
    pub(crate) ahead: BTreeSet<u32>,
    pub(crate) next_key: u32,
}

// === impl Serving ===

impl Serving {
    /// The time for everything that is waited for or measured; the same as that of rows of work.
    pub(crate) fn steady(&self) -> Timestamp {
        self.common.clock.steady()
    }

    /// Both times now: what is shown to people is wall time.
    pub(crate) fn moment(&self) -> Moment {
        self.common.clock.moment()
    }

    /// Who watches, if anybody does.
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
        if inner.wants_due() {
            inner.due_waiting = false;
            // Now, and not at once: lanes that have waited for longer come first, or one with much due starves them.
            self.schedule(lane.key, self.steady());
        }
        self.wake_worker(lane, inner);
    }

    /// Wakes a worker, or starts one, when there is something to take.
    pub(crate) fn wake_worker(self: &Arc<Self>, lane: &Arc<Lane>, inner: &mut Inner) {
        if self.stop.is_cancelled() || !inner.has_work() {
            return;
        }
        if inner.idle > 0 {
            lane.wake.notify_one();
        } else if inner.workers < inner.settings.trigger.parallelism {
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

    /// The lane of that number, if it still exists.
    pub(crate) fn lane(&self, key: u32) -> Option<Arc<Lane>> {
        self.routes.lock().lanes.get(&key).cloned()
    }
}
