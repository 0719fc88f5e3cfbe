//! CronSource: an event at each time of a schedule.
//!
//! The files are the steps: how far the source has come when the clock is set ([`horizon`]), which times were
//! missed ([`missed`]), who owns a tick and which are done ([`ledger`]), and what is sent ([`tick`]). This
//! file waits for the next tick.
//!
//! # Guarantees
//! - While it runs, each time of the schedule becomes an event, in order, however long the sink accepts none.
//! - Ticks missed while it did not run (or the machine slept) are made up by the rule of `catchUp`, never
//!   more than [`MADE_UP`] of them at once.
//! - A tick is sent once, even if the clock is set by up to three hours, and however many instances share a
//!   checkpoint. After a crash it may be sent again, with the same id.
//! - A set clock stops the schedule for three hours at most, and only where ticks were sent for the times
//!   that come again. When the clock is put right, the schedule continues at once unless ticks were sent for
//!   those times.
//!
//! # Caveats
//! - If the clock is set back to up to three hours before the last tick sent, nothing is sent until it passes
//!   that tick; the status says so. If it is set back by more, the schedule continues from the new time. It
//!   then sends ticks again that it had sent for those times, with the same ids.
//! - A run does not know which ticks earlier runs sent and which they left out: a start waits for all that
//!   count as done.
//! - Ticks that wait for the sink when the process ends count as missed at the next start.

mod horizon;
mod ledger;
mod missed;
mod tick;

use std::time::Duration;

use millrace_event::{Moment, Timestamp};
use millrace_model::source::{CatchUp, Cron};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};
use horizon::{Horizon, Look};
use ledger::{Claim, Ledger};

/// The most ticks that are made up at once; of more, the newest are.
const MADE_UP: usize = 1_000;
/// How often the clock is looked at, to remember that the source is at work. After a jump it looks at once.
const LOOK: Duration = Duration::from_secs(60);
/// How often the clock is looked at while it is behind: if it is soon put right, no jump may be noticed.
const LOOK_BEHIND: Duration = Duration::from_secs(1);

/// Sends the ticks of one schedule.
#[derive(Debug)]
pub(crate) struct CronFeed {
    spec: Cron,
}

/// One run: what it has to do with.
struct Run<'a> {
    spec: &'a Cron,
    context: &'a Context,
    shutdown: &'a CancellationToken,
    ledger: Ledger,
    horizon: Horizon,
    /// Changes when the clock is set.
    moves: watch::Receiver<u64>,
}

// === impl CronFeed ===

impl CronFeed {
    pub(crate) fn new(spec: Cron) -> Self {
        Self { spec }
    }
}

#[async_trait::async_trait]
impl Feed for CronFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        let size = self.spec.data.as_ref().map_or(0, |data| data.len());
        if size > context.max_event_bytes {
            return Err(SourceError::Unusable(format!(
                "its data has {size} bytes, and an event may have {}",
                context.max_event_bytes
            )));
        }
        let now = context.clock.now();
        let mut run = Run {
            spec: &self.spec,
            context,
            shutdown: &shutdown,
            ledger: Ledger::open(context.memory.clone(), &self.spec.schedule, now).await?,
            horizon: Horizon::default(),
            moves: context.clock.moves(),
        };
        while !shutdown.is_cancelled() {
            run.step().await?;
        }
        run.leave().await
    }
}

// === impl Run ===

impl Run<'_> {
    /// Waits for the next tick for a while, or sends it.
    async fn step(&mut self) -> Result<(), SourceError> {
        self.moves.mark_unchanged();
        let moment = self.context.clock.moment();
        let pause = self.look(moment).await?;
        let now = self.horizon.reached(moment.wall);
        let next = self.spec.schedule.next_after(self.ledger.done());
        let due = next.map(|tick| tick.after(self.delay(tick)));
        match (next, due) {
            (Some(tick), Some(due)) if due <= now => match self.horizon.skip(tick) {
                Some(until) => self.ledger.pass(until).await,
                None => self.send(tick).await,
            },
            (_, due) => {
                let look = moment.wall.after(pause);
                self.pause(due.map_or(look, |due| due.min(look))).await;
                Ok(())
            }
        }
    }

    /// Looks where the clock stands, and reports it. Returns how soon to look again.
    async fn look(&mut self, now: Moment) -> Result<Duration, SourceError> {
        let mut look = self.horizon.look(now, self.ledger.done());
        while let Look::Undone(done) = look {
            tracing::info!(
                to = %tick::rfc3339(now.wall),
                "the clock was set back to before it leapt ahead; the schedule goes on from there"
            );
            self.ledger.go_back(now.wall, done).await?;
            look = self.horizon.look(now, self.ledger.done());
        }
        match look {
            Look::On | Look::Undone(_) => {}
            Look::Behind(reached) => {
                self.ledger.pass(reached).await?;
                self.context.report.ready_but(format!(
                    "the clock was set back, and ticks up to {} were sent already: nothing is sent before it is that late \
                     again, in three hours at most",
                    tick::rfc3339(reached)
                ));
                return Ok(LOOK_BEHIND);
            }
            Look::SetBack(reached) => {
                tracing::warn!(
                    from = %tick::rfc3339(reached), to = %tick::rfc3339(now.wall),
                    "the clock was set back by more than three hours; the schedule goes on from the new time"
                );
                self.ledger.go_back(now.wall, now.wall).await?;
                self.ledger.adopt().await?;
            }
            Look::Lapsed { done } => {
                if let Some(done) = done {
                    self.ledger.pass(done).await?;
                }
                self.leave_out(now.wall).await?;
                self.ledger.adopt().await?;
            }
        }
        self.context.report.ready();
        Ok(LOOK)
    }

    /// Waits until the clock shows a time, a jump, or the shutdown.
    async fn pause(&mut self, until: Timestamp) {
        let moves = &mut self.moves;
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = self.context.clock.sleep_until_wall(until) => {}
            Ok(()) = moves.changed() => {}
        }
    }

    /// Skips missed ticks that are not to be made up. The remaining ones are due, and go out next.
    async fn leave_out(&mut self, now: Timestamp) -> Result<(), SourceError> {
        // Ticks that may still be waiting for their jitter are not missed.
        let until = now.before(self.spec.jitter);
        let after = self.ledger.done();
        if self
            .spec
            .schedule
            .next_after(after)
            .is_none_or(|tick| tick > until)
        {
            return Ok(());
        }
        let count = match self.spec.catch_up {
            CatchUp::None => 0,
            // The earlier schedule is not known any more: sending "all" could make up ticks that never were.
            CatchUp::All if self.ledger.has_another_schedule() => 1,
            CatchUp::Last => 1,
            CatchUp::All => MADE_UP,
        };
        let oldest = after.max(until.before(self.spec.catch_up_max_age));
        let done = missed::all_but(&self.spec.schedule, oldest, until, count);
        if done > after
            && self
                .spec
                .schedule
                .next_after(after)
                .is_some_and(|tick| tick <= done)
        {
            tracing::info!(
                from = %tick::rfc3339(after), to = %tick::rfc3339(done),
                "ticks of the schedule were missed and are not made up"
            );
            self.horizon.left_out(done, now);
        }
        self.ledger.pass(done).await
    }

    /// Sends a tick that is due, unless another instance does or did.
    async fn send(&mut self, tick: Timestamp) -> Result<(), SourceError> {
        match self.ledger.claim(tick).await? {
            Claim::Done => {
                self.horizon.sent(self.ledger.done());
                return Ok(());
            }
            Claim::Others => {
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(ledger::RENEW) => {}
                }
                self.horizon.was_at_work(self.context.clock.moment());
                return Ok(());
            }
            Claim::Mine => {}
        }
        let event = tick::event(&self.context.name, self.spec, tick)?;
        let outlet = self.context.outlet.clone();
        let taken = {
            let events = [event];
            let delivered = outlet.deliver_unless(&events, self.shutdown);
            tokio::pin!(delivered);
            loop {
                tokio::select! {
                    taken = &mut delivered => break taken,
                    () = tokio::time::sleep(ledger::RENEW) => self.ledger.renew(tick).await?,
                }
            }
        };
        self.horizon.was_at_work(self.context.clock.moment());
        match taken {
            Ok(true) => {
                self.horizon.sent(tick);
                self.ledger.complete(tick).await?;
            }
            Ok(false) => self.ledger.release(tick).await?,
            Err(refusal) => {
                // For good: the same event will not be taken later either, and the next one may be.
                tracing::warn!(tick = %tick::rfc3339(tick), %refusal, "the sink refuses a tick");
                self.horizon.sent(tick);
                self.ledger.complete(tick).await?;
            }
        }
        Ok(())
    }

    /// Remembers that nothing was missed so far: a schedule that is edited now begins now.
    async fn leave(mut self) -> Result<(), SourceError> {
        let next = self.spec.schedule.next_after(self.ledger.done());
        if let Some(now) = self.horizon.at_work(self.context.clock.now())
            && next.is_none_or(|tick| tick > now)
        {
            self.ledger.pass(now).await?;
        }
        Ok(())
    }

    fn delay(&self, tick: Timestamp) -> Duration {
        tick::delay(&self.context.name, tick, self.spec.jitter)
    }
}
