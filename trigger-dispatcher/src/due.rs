//! Brings rows of work back when they are due: a timer for all lanes of a broker, and the fetch for one.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;

use millrace_channel::{ChannelError, Work};
use millrace_event::{Event, Timestamp};

use crate::lane::{Lane, MAX_DUE, is_first};
use crate::provoke;
use crate::serving::Serving;
use crate::watched::{Task, caught, wait_after};

/// When each lane is to be looked at, in steady time: one time for each lane, the earliest. The fetch then
/// sets the next.
#[derive(Debug, Default)]
pub(crate) struct Timetable {
    in_order: BTreeSet<(Timestamp, u32)>,
    of_lane: HashMap<u32, Timestamp>,
}

/// Fetches due rows until the broker is no longer served.
pub(crate) async fn run(serving: Arc<Serving>) {
    let mut panics = 0;
    loop {
        let next = serving.due.lock().first();
        let now = serving.steady();
        match next {
            Some((due, key)) if due <= now => {
                serving.due.lock().remove(key);
                let Some(lane) = serving.lane(key) else { continue };
                let fetching = pin!(fetch(&serving, &lane));
                match caught(fetching).await {
                    Ok(Ok(())) => panics = 0,
                    Ok(Err(error)) => {
                        serving.span.in_scope(
                            || tracing::error!(%error, "due work cannot be read; trying again in a second"),
                        );
                        serving.schedule(key, now.after(std::time::Duration::from_secs(1)));
                    }
                    Err(panic) => {
                        // Its rows are still there, and other lanes do not wait for it.
                        serving.note_panic(Task::Due, &panic);
                        panics += 1;
                        serving.schedule(key, now.after(wait_after(panics)));
                    }
                }
            }
            next => {
                let timer = async {
                    match next {
                        Some((due, _)) => serving.common.clock.sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = serving.stop.cancelled() => return,
                    () = serving.due_waker.notified() => {}
                    () = timer => {}
                }
            }
        }
        if serving.is_stopped() {
            return;
        }
    }
}

/// Gives a lane its due rows, as many as it has room for, and sets the timer for what is left.
async fn fetch(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<(), ChannelError> {
    {
        let mut inner = lane.inner.lock();
        if !inner.may_attempt() {
            inner.due_waiting = true;
            return Ok(());
        }
        // One that is settled and committed while rows are read is still in what was read, and must not be
        // delivered again.
        inner.begin_fetch();
    }
    provoke::at(serving, Task::Due, None);
    let fetched = fetch_rows(serving, lane).await;
    let mut inner = lane.inner.lock();
    inner.end_fetch();
    if fetched? {
        serving.stir(lane, &mut inner);
    }
    Ok(())
}

/// Says whether it went to the end: not when the budget is used up, which only the lane's progress changes.
async fn fetch_rows(serving: &Arc<Serving>, lane: &Arc<Lane>) -> Result<bool, ChannelError> {
    let now = serving.steady();
    let limit = MAX_DUE + lane.inner.lock().taken();
    let mut rows = serving.channel.due(lane.id, now, limit).await?;
    let all = rows.len() < limit;
    let keeps_order = {
        let mut inner = lane.inner.lock();
        inner.note_firsts(&rows, all);
        inner.keeps_order()
    };
    in_reading_order(&mut rows, keeps_order);
    for work in rows {
        if !lane.inner.lock().has_room_for_due() {
            lane.inner.lock().due_waiting = true;
            return Ok(true);
        }
        if !lane.inner.lock().is_taken(&work.key) && !hold(serving, lane, work).await? {
            return Ok(false);
        }
    }
    if !all {
        lane.inner.lock().due_waiting = true;
    } else if let Some(next) = serving.channel.next_due(lane.id, now).await? {
        serving.schedule(lane.key, next);
    }
    Ok(true)
}

/// Sorts rows in the order of their attempts: the earliest first, so that each gets its turn however little
/// room there is, then the others by position, so that neighbours in the log are read together. In a lane
/// that keeps the order, first attempts come before all others. They starve nobody, since each is made once.
fn in_reading_order(rows: &mut [Work], keeps_order: bool) {
    let place = |work: &Work| (work.key.position.partition, work.key.position.offset);
    let mut others = rows;
    if keeps_order {
        others.sort_by_key(|work| !is_first(work));
        let firsts = others.partition_point(is_first);
        let (firsts, rest) = others.split_at_mut(firsts);
        firsts.sort_by_key(place);
        others = rest;
    }
    if let Some((_, others)) = others.split_first_mut() {
        others.sort_by_key(place);
    }
}

async fn hold(serving: &Arc<Serving>, lane: &Arc<Lane>, mut work: Work) -> Result<bool, ChannelError> {
    let before_the_stop = work.key.position.offset < serving.suspects_below;
    if !work.open && before_the_stop && work.due <= serving.began {
        // It was due when the process ended: perhaps it was being attempted.
        work.suspect = true;
    }
    if work.open {
        // An attempt of a process that is gone: rows that this process opened are taken.
        work.open = false;
        work.suspect = serving.suspects_below > 0;
        work.crashes += u32::from(work.suspect);
    }
    let event: Option<Event> = match &work.body {
        Some(body) => Some(body.clone()),
        None => serving
            .channel
            .get(work.key.position)
            .await?
            .map(|record| record.event),
    };
    let mut inner = lane.inner.lock();
    // A worker may have settled it, or a command changed it, while the event was read.
    if inner.is_taken(&work.key) {
        return Ok(true);
    }
    let held = match event {
        Some(event) => inner.offer_due(work, event, &serving.common.budget),
        None => {
            serving.metrics.lost.inc();
            serving.trigger_span(&lane.name).in_scope(
                || tracing::error!(position = %work.key.position, "a deferred event is gone from the log"),
            );
            inner.lose_due(work.key);
            true
        }
    };
    if held {
        serving.stir(lane, &mut inner);
    }
    Ok(held)
}

// === impl Timetable ===

impl Timetable {
    /// Looks at the lane at `due` unless it is to be looked at earlier anyway. Says whether this is now the
    /// first of all.
    pub(crate) fn set(&mut self, key: u32, due: Timestamp) -> bool {
        match self.of_lane.get(&key) {
            Some(earlier) if *earlier <= due => return false,
            Some(later) => self.in_order.remove(&(*later, key)),
            None => false,
        };
        self.of_lane.insert(key, due);
        self.in_order.insert((due, key));
        self.first() == Some((due, key))
    }

    fn first(&self) -> Option<(Timestamp, u32)> {
        self.in_order.first().copied()
    }

    fn remove(&mut self, key: u32) {
        if let Some(due) = self.of_lane.remove(&key) {
            self.in_order.remove(&(due, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_looked_at_once_at_its_earliest_time() {
        let mut times = Timetable::default();
        assert!(times.set(1, Timestamp(50)));
        assert!(!times.set(1, Timestamp(70)), "50 comes first anyway");
        assert!(!times.set(2, Timestamp(60)));
        assert!(times.set(2, Timestamp(10)));
        assert_eq!(times.first(), Some((Timestamp(10), 2)));
        times.remove(2);
        times.remove(1);
        assert_eq!(times.first(), None);
    }
}
