//! Deletes segments: settled history that is old or too much, and more of it when room is short. Then it
//! gives up the places of triggers that are gone. With `drop-oldest` unsettled events go last.

use std::sync::Arc;

use millrace_event::Timestamp;
use parking_lot::Mutex;

use super::room::Shortage;
use super::{Embedded, read};
use crate::ChannelError;
use crate::embedded::ChannelOptions;
use crate::embedded::log::SegmentInfo;
use crate::embedded::state::{Orphan, StateError};

/// What is to be done to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// So many of the oldest segments go.
    delete: usize,
    /// After them the segment that is written is sealed and goes too.
    roll: bool,
}

/// Which settled segments go: the oldest, while they are too old or too many, or until `missing` bytes are
/// freed. Their age is counted in steady time, so a wall clock that jumps to another year ends no history.
fn plan(
    segments: &[SegmentInfo],
    lowest: u64,
    now: Timestamp,
    options: &ChannelOptions,
    missing: u64,
) -> Plan {
    let settled = |segment: &&SegmentInfo| segment.end <= lowest;
    let history: u64 = segments
        .iter()
        .take_while(settled)
        .map(|segment| segment.bytes)
        .sum();
    let (mut delete, mut freed) = (0, 0);
    for segment in segments.iter().take_while(settled) {
        let expired = segment.last_steady.after(options.retention_age) <= now;
        if !expired && history - freed <= options.retention_bytes && freed >= missing {
            break;
        }
        if !segment.sealed {
            // The last one. Sealing it for the bytes alone would make a new file for every few events.
            let roll = segment.end > segment.base && (expired || freed < missing);
            return Plan { delete, roll };
        }
        delete += 1;
        freed += segment.bytes;
    }
    Plan { delete, roll: false }
}

// === impl Embedded ===

impl Embedded {
    /// Deletes settled history by the broker's limits, and more of it until `missing` bytes are freed.
    pub(crate) async fn retain(&self, missing: u64) -> Result<(), ChannelError> {
        let _one = self.retaining.lock().await;
        self.retain_alone(missing).await
    }

    async fn retain_alone(&self, missing: u64) -> Result<(), ChannelError> {
        let plan = plan(
            &self.log.segments(),
            self.state.lowest(),
            self.clock.steady(),
            &self.options(),
            missing,
        );
        // What is sealed goes first: on a full volume there is no room for a new segment before.
        self.delete_oldest(plan.delete).await?;
        if plan.roll {
            self.log.roll().await.map_err(read::log_fault)?;
            self.delete_oldest(1).await?;
        }
        Ok(())
    }

    /// Whether settled history is too old, or more than the broker keeps.
    pub(super) fn has_expired(&self) -> bool {
        let segments = self.log.segments();
        let now = self.clock.steady();
        let plan = plan(&segments, self.state.lowest(), now, &self.options(), 0);
        plan.delete > 0 || plan.roll
    }

    async fn delete_oldest(&self, count: usize) -> Result<(), ChannelError> {
        for segment in self.log.segments().into_iter().take(count) {
            if segment.sealed {
                self.delete(&segment).await?;
            }
        }
        Ok(())
    }

    /// Makes room for a producer that would be turned away, as far as that may be. Returns what is still
    /// short.
    pub(super) async fn make_room(&self, shortage: Shortage, bytes: u64) -> Option<Shortage> {
        let others_can = matches!(shortage, Shortage::Disk { .. }) && self.shares.can_give();
        if !others_can && !self.can_make_room(&shortage) {
            return Some(shortage);
        }
        let _one = self.retaining.lock().await;
        let mut free = None;
        loop {
            // A caller that waited may find room already made.
            let shortage = self.shortage(bytes)?;
            let made = match self.delete_history_for(&shortage).await {
                Ok(false) => self.give_up(&shortage, &mut free, bytes).await,
                deleted => deleted,
            };
            self.disk.look_again();
            match made {
                Ok(true) => {}
                Ok(false) => return self.shortage(bytes),
                Err(error) => {
                    self.span
                        .in_scope(|| tracing::warn!(%error, "no room could be made"));
                    return Some(shortage);
                }
            }
        }
    }

    /// Deletes settled history for a volume that is short, this Broker's before that of others. Returns
    /// whether there was any.
    async fn delete_history_for(&self, shortage: &Shortage) -> Result<bool, ChannelError> {
        let Shortage::Disk { missing, .. } = shortage else {
            return Ok(false);
        };
        if self.settled_bytes() > 0 && self.delete_settled(*missing).await? {
            return Ok(true);
        }
        for other in self.shares.channels() {
            // A Broker that is deleting at this moment is left alone: it holds its own lock and may wait for
            // another one.
            if other.settled_bytes() > 0
                && let Ok(_one) = other.retaining.try_lock()
                && other.delete_settled(*missing).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives up what is still owed: the places of triggers that are gone, then with `drop-oldest` the oldest
    /// events. On a short volume only while that gives room back: `free` is what was free before the last
    /// step. Returns whether looking again is worthwhile.
    async fn give_up(
        &self,
        shortage: &Shortage,
        free: &mut Option<u64>,
        bytes: u64,
    ) -> Result<bool, ChannelError> {
        if let Shortage::Disk { missing, .. } = shortage {
            let now = self.disk.space().map(|space| space.free);
            if free.is_some() && now <= *free {
                self.shares.won_nothing();
            }
            if !self.shares.may_win(*missing, self) {
                return Ok(false);
            }
            *free = now;
        }
        match self.next_orphan(shortage) {
            Some(_) => self.forget_longest_gone(bytes).await,
            None => self.drop_oldest().await,
        }
    }

    /// Whether deleting something of this Broker could help at all. Must be cheap: every append that is
    /// turned away asks it.
    pub(super) fn can_make_room(&self, shortage: &Shortage) -> bool {
        let drop_oldest = self.options().drop_oldest && self.log.segments().len() > 1;
        match shortage {
            Shortage::Disk { .. } => drop_oldest || self.can_give(),
            Shortage::Backlog { above, .. } => {
                (drop_oldest && *above > 0) || self.state.longest_gone().is_some()
            }
        }
    }

    /// Whether it keeps the place of a trigger that is gone.
    pub(crate) fn has_orphans(&self) -> bool {
        self.state.longest_gone().is_some()
    }

    /// Bytes that deleting its sealed segments would give back.
    pub(crate) fn winnable(&self) -> u64 {
        self.log.winnable()
    }

    /// Whether something here can go without harm: settled history, or the place of a trigger that is gone.
    pub(crate) fn can_give(&self) -> bool {
        self.settled_bytes() > 0 || self.state.longest_gone().is_some()
    }

    /// The orphan whose debts go first. A Broker at its own limit gives up its own orphans'; on a short
    /// volume any Broker's count.
    fn next_orphan(&self, shortage: &Shortage) -> Option<(Option<Arc<Embedded>>, Orphan)> {
        match shortage {
            Shortage::Backlog { .. } => self.state.longest_gone().map(|orphan| (None, orphan)),
            Shortage::Disk { .. } => {
                let channels = self.shares.channels().into_iter();
                channels
                    .filter_map(|channel| {
                        let orphan = channel.state.longest_gone()?;
                        let other = !std::ptr::eq(Arc::as_ptr(&channel), self);
                        Some((other.then_some(channel), orphan))
                    })
                    .min_by_key(|(_, orphan)| (orphan.since, orphan.lane))
            }
        }
    }

    /// Drops what is owed to the trigger that has been gone for longest; returns whether looking again is
    /// worthwhile.
    async fn forget_longest_gone(&self, bytes: u64) -> Result<bool, ChannelError> {
        let _one = self.shares.forgetting.lock().await;
        // A caller that waited may find room already made.
        let Some(shortage) = self.shortage(bytes) else {
            return Ok(true);
        };
        let Some((other, orphan)) = self.next_orphan(&shortage) else {
            return Ok(true);
        };
        let channel = other.as_deref().unwrap_or(self);
        channel.forget_for_room(&orphan).await?;
        Ok(true)
    }

    /// Drops what is owed to a trigger, unless the trigger has come back meanwhile.
    async fn forget_for_room(&self, orphan: &Orphan) -> Result<(), ChannelError> {
        let Some(rows) = self.state.drop_orphan(orphan.lane).await? else {
            return Ok(());
        };
        self.metrics.dropped_orphans.inc();
        let span = tracing::error_span!(parent: &self.span, "trigger", trigger = %orphan.trigger);
        let _span = span.enter();
        tracing::warn!(
            rows,
            unread = self.log.head().saturating_sub(orphan.from),
            "room is short: the place of a trigger that is gone was given up before the end of its grace period"
        );
        Ok(())
    }

    /// Deletes settled history; returns whether there was any.
    async fn delete_settled(&self, missing: u64) -> Result<bool, ChannelError> {
        let before = self.log.bytes();
        self.retain_alone(missing).await?;
        Ok(self.log.bytes() < before)
    }

    /// Bytes of segments that everybody has settled.
    fn settled_bytes(&self) -> u64 {
        let lowest = self.state.lowest();
        let settled = |segment: &SegmentInfo| segment.end <= lowest && segment.end > segment.base;
        self.log
            .segments()
            .iter()
            .filter(|segment| settled(segment))
            .map(|segment| segment.bytes)
            .sum()
    }

    /// Deletes the oldest segment although a lane still holds it; the one being written stays. Returns
    /// whether one was deleted.
    async fn drop_oldest(&self) -> Result<bool, ChannelError> {
        if !self.options().drop_oldest {
            return Ok(false);
        }
        let Some(segment) = self
            .log
            .segments()
            .into_iter()
            .next()
            .filter(|segment| segment.sealed)
        else {
            return Ok(false);
        };
        let from = segment.base.max(self.state.lowest());
        self.delete(&segment).await?;
        let dropped = segment.end.saturating_sub(from);
        self.metrics.dropped_events.inc_by(dropped);
        let _span = self.span.enter();
        tracing::warn!(
            from,
            to = segment.end,
            "dropped the oldest events to make room (millrace.dev/on-full: drop-oldest); the triggers that are furthest behind skip them"
        );
        Ok(true)
    }

    /// Deletes a sealed segment after what rows still name in it has been copied.
    async fn delete(&self, segment: &SegmentInfo) -> Result<(), ChannelError> {
        let log = self.log.clone();
        let read = move |offset| {
            log.get(offset)
                .map_err(|error| StateError::Barrier(error.to_string()))
        };
        let (log, end) = (self.log.clone(), segment.end);
        let deleted = Arc::new(Mutex::new(Ok(0)));
        let outcome = deleted.clone();
        let delete = move || *outcome.lock() = log.delete_before(end);
        let copied = self.state.keep_named(segment.base, end, read, delete).await?;
        self.metrics.copied_events.inc_by(copied);
        self.disk.look_again();
        self.backlog.count_again();
        let freed = deleted.lock().clone().map_err(read::log_fault)?;
        self.span.in_scope(|| {
            tracing::debug!(
                from = segment.base,
                to = end,
                freed,
                copied,
                "deleted a segment of the log"
            )
        });
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::embedded::channel) fn segment(base: u64, end: u64, bytes: u64) -> SegmentInfo {
        let (first_time, last_time, last_steady) = (Timestamp(0), Timestamp(0), Timestamp(0));
        SegmentInfo {
            base,
            end,
            bytes,
            first_time,
            last_time,
            last_steady,
            sealed: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::embedded::channel::testing::OPTIONS;

    const HOUR: i64 = 3_600_000;

    /// Three sealed segments of 100 bytes and 10 events, an hour apart, and the one that is written.
    fn segments() -> Vec<SegmentInfo> {
        (0..4)
            .map(|n| SegmentInfo {
                base: n * 10,
                end: n * 10 + 10,
                bytes: 100,
                first_time: Timestamp(0),
                last_time: Timestamp(0),
                last_steady: Timestamp(i64::try_from(n).unwrap() * HOUR),
                sealed: n < 3,
            })
            .collect()
    }

    #[test]
    fn settled_history_goes_by_age_by_size_and_by_need_and_nothing_else_goes() {
        let age = |hours: u64| ChannelOptions {
            retention_age: Duration::from_secs(hours * 3600),
            ..OPTIONS
        };
        let bytes = |retention_bytes| ChannelOptions {
            retention_bytes,
            ..age(1_000)
        };
        let hours = |hours: i64| Timestamp(hours * HOUR);
        let delete = |delete| Plan { delete, roll: false };
        let cases = [
            ("all is wanted", 40, hours(3), age(24), 0, delete(0)),
            ("two are old", 40, hours(25), age(24), 0, delete(2)),
            ("old, but one is held", 15, hours(100), age(24), 0, delete(1)),
            ("old, but all is held", 0, hours(100), age(24), 0, delete(0)),
            (
                "all is old",
                40,
                hours(100),
                age(24),
                0,
                Plan {
                    delete: 3,
                    roll: true,
                },
            ),
            ("above the bytes", 40, hours(3), bytes(250), 0, delete(2)),
            (
                "no history wanted: the last stays",
                40,
                hours(3),
                bytes(0),
                0,
                delete(3),
            ),
            (
                "unsettled bytes do not count",
                20,
                hours(3),
                bytes(250),
                0,
                delete(0),
            ),
            ("room is short", 40, hours(3), age(24), 150, delete(2)),
            (
                "room is very short",
                40,
                hours(3),
                age(24),
                350,
                Plan {
                    delete: 3,
                    roll: true,
                },
            ),
            (
                "room is short, but all is held",
                5,
                hours(3),
                age(24),
                350,
                delete(0),
            ),
        ];
        for (case, lowest, now, options, missing, expected) in cases {
            assert_eq!(
                plan(&segments(), lowest, now, &options, missing),
                expected,
                "{case}"
            );
        }
    }
}
