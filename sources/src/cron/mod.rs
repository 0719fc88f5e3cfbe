//! CronSource: an event at each time of a schedule.
//!
//! The files are the steps: which times were missed ([`missed`]), whose a tick is and which are done ([`ledger`]), what is
//! sent for it ([`tick`]); this file waits for the next one.
//!
//! # Guarantees
//! - While it runs, each time of the schedule becomes an event, in order, however long the sink does not take them.
//! - What was missed while it did not run (or the machine slept) is made up as `catchUp` says, never more than
//!   [`MADE_UP`] ticks at once.
//! - A tick goes out once, however the clock jumps and however many instances share a checkpoint. After a crash it may go out
//!   again, with the same id.
//!
//! # Caveats
//! - A clock that was ahead and is set right again: nothing is sent until it passes the last tick. The status says so.
//! - What waits for the sink when the process ends counts as missed at the next start.

mod ledger;
mod missed;
mod tick;

use std::time::Duration;

use millrace_event::Timestamp;
use millrace_model::source::{CatchUp, Cron};
use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};
use ledger::{Claim, Ledger};

/// The most ticks that are made up at once; of more, the newest are.
const MADE_UP: usize = 1_000;
/// The clock is looked at as often as this, so that a clock that is set, or a machine that wakes up, is noticed.
const LOOK: Duration = Duration::from_secs(60);
/// Who has not looked at the clock for so long was not at work.
const LAPSE: Duration = Duration::from_secs(120);
/// A tick so far ahead of the clock was sent when the clock was wrong.
const AHEAD: Duration = Duration::from_secs(60);

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
    /// When it was last known to be at work; `None` at the start.
    seen: Option<Timestamp>,
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
            seen: None,
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
        let now = self.context.clock.now();
        self.say(now);
        if self.seen.is_none_or(|seen| now.since(seen) > LAPSE) {
            self.leave_out(now).await?;
            self.ledger.adopt().await?;
        }
        self.seen = Some(now);
        let next = self.spec.schedule.next_after(self.ledger.done());
        let due = next.map(|tick| tick.after(self.delay(tick)));
        match (next, due) {
            (Some(tick), Some(due)) if due <= now => self.send(tick).await,
            (_, due) => {
                let look = now.after(LOOK);
                self.pause(due.map_or(look, |due| due.min(look))).await;
                Ok(())
            }
        }
    }

    /// Waits until a time, or the shutdown.
    async fn pause(&self, until: Timestamp) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = self.context.clock.sleep_until(until) => {}
        }
    }

    /// Passes by what was missed and is not to be made up. What is left is due, and goes out next.
    async fn leave_out(&mut self, now: Timestamp) -> Result<(), SourceError> {
        // What may still be waiting for its jitter is not missed.
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
            // What the schedule was then is not known any more: no storm of ticks that never were.
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
                source = %self.context.name,
                from = %tick::rfc3339(after), to = %tick::rfc3339(done),
                "ticks of the schedule were missed and are not made up"
            );
        }
        self.ledger.pass(done).await
    }

    /// Sends a tick that is due, unless another instance does or did.
    async fn send(&mut self, tick: Timestamp) -> Result<(), SourceError> {
        match self.ledger.claim(tick).await? {
            Claim::Done => return Ok(()),
            Claim::Others => {
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(ledger::RENEW) => {}
                }
                self.seen = Some(self.context.clock.now());
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
        self.seen = Some(self.context.clock.now());
        match taken {
            Ok(true) => self.ledger.complete(tick).await?,
            Ok(false) => self.ledger.release(tick).await?,
            Err(refusal) => {
                // For good: the same event will not be taken later either, and the next one may be.
                tracing::warn!(source = %self.context.name, tick = %tick::rfc3339(tick), %refusal, "the sink refuses a tick");
                self.ledger.complete(tick).await?;
            }
        }
        Ok(())
    }

    /// Remembers that nothing was missed so far: a schedule that is edited now begins now.
    async fn leave(mut self) -> Result<(), SourceError> {
        let now = self.context.clock.now();
        let next = self.spec.schedule.next_after(self.ledger.done());
        let was_here = self.seen.is_some_and(|seen| now.since(seen) <= LAPSE);
        if was_here && next.is_none_or(|tick| tick > now) {
            self.ledger.pass(now).await?;
        }
        Ok(())
    }

    /// Says how it stands.
    fn say(&self, now: Timestamp) {
        let done = self.ledger.done();
        if done > now.after(AHEAD) {
            self.context.report.ready_but(format!(
                "the clock was set back: it was {} when the last tick was sent, and nothing is sent before",
                tick::rfc3339(done)
            ));
        } else {
            self.context.report.ready();
        }
    }

    fn delay(&self, tick: Timestamp) -> Duration {
        tick::delay(&self.context.name, tick, self.spec.jitter)
    }
}
