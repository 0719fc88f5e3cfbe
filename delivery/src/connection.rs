//! Keep-alive connections of a lane's own, driven directly on `hyper::client::conn`.
//!
//! A pool would cost more than the request itself (two thirds more CPU, measured) and lets one lane wait for
//! another's connections. So each slot of a lane has its own connection, and the slot's owner decides how
//! long it lives. A connection is closed for another owner only while that owner waits for one (`outgoing`):
//! at the end of an attempt, or while the slot rests.
//!
//! Every delivery has the futures of an attempt in its task, so they are kept small. A future is pinned where
//! it is called, because a future that is passed by value is stored twice. Rare steps are boxed.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use millrace_budget::Hold;
use millrace_model::Shortage;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::auth::Shown;
use crate::connector::Shared;
use crate::endpoint::To;
use crate::exchange::{Answer, Bounds, Open};
use crate::means::Means;
use crate::metrics::Class;
use crate::no_answer::{NoAnswer, Unmade};
use crate::outcome::BODY_KEPT;
use crate::outgoing::{Owner, Parked};
use crate::patience::Patience;
use crate::tls::Terms;
use crate::{Outcome, Request};

/// The first and the longest pause before another try, after the kernel had run out of something.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// One slot's connection: at most one open TCP connection, kept alive between attempts at the same authority
/// and replaced when the target's authority changes. An owner drops it when idle.
///
/// # Caveats
/// Between two attempts the connection counts as in use. An owner that has nothing to attempt, or that waits
/// for something else first, must call [`Connection::rest`].
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    /// The connection between two attempts.
    open: Option<Box<Open>>,
    /// Where the connection lies while the slot rests, so that it can be closed for others.
    parked: Arc<Parked>,
    means: Means,
    /// The map of the last answer, emptied: the next request's headers go there.
    headers: HeaderMap,
    /// The timer of the last attempt. Moving it to a later time takes no lock; a new timer takes two.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The memory of the last reply, until its owner has stored it.
    reply: Option<Hold>,
}

/// How far an attempt has come: it outlives the future that makes it, for when time runs out.
#[derive(Debug, Default)]
struct Progress {
    connected: bool,
    answer: Option<Answer>,
    /// What the request shows.
    shown: Option<Shown>,
}

// === impl Connection ===

impl Connection {
    /// A slot without an open connection yet, for this owner.
    pub(crate) fn new(shared: Arc<Shared>, owner: &Arc<Owner>) -> Self {
        Self {
            shared,
            open: None,
            parked: owner.place(),
            means: Means::default(),
            headers: HeaderMap::new(),
            alarm: None,
            reply: None,
        }
    }

    /// As [`Connection::try_attempt`], but waits as long as it takes for what is short.
    pub async fn attempt(&mut self, to: impl Into<To<'_>>, request: &Request<'_>) -> Outcome {
        let to = to.into();
        loop {
            match self.try_attempt(to, request).await {
                Ok(outcome) => return outcome,
                Err(shortage) => self.room(shortage).await,
            }
        }
    }

    /// Makes one attempt at an absolute `http` or `https` URL. A kept-alive connection that turns out to be
    /// stale is replaced once and is not a failed attempt.
    ///
    /// # Guarantees
    /// It ends within the request's timeout; waiting for the memory of a reply does not count. Dropping the
    /// future closes the connection, so that no late answer is taken for that of a later attempt. The event
    /// may have arrived all the same.
    ///
    /// # Errors
    /// Something of our own was short, so this was no attempt: the target received nothing. This slot stands
    /// in line for what is short; [`Connection::room`] waits until another try makes sense.
    ///
    /// # Caveats
    /// Once the target has sent the head of a 2xx that announces no reply, the event is delivered, whether or
    /// not the rest of the answer comes. After a head that announces a reply the body is needed: without it
    /// the attempt has failed.
    pub async fn try_attempt(
        &mut self,
        to: impl Into<To<'_>>,
        request: &Request<'_>,
    ) -> Result<Outcome, Shortage> {
        let to = to.into();
        self.reply_stored();
        let began = Instant::now();
        let (mut progress, patience) = (Progress::default(), Patience::new(began));
        let end = began + request.timeout;
        let mut alarm = self.alarm.take().unwrap_or_else(|| Box::pin(sleep_until(end)));
        let delivered = {
            let delivery = pin!(self.deliver(to, request, &patience, &mut progress));
            patience.limit(end, alarm.as_mut(), delivery).await
        };
        self.alarm = Some(alarm);
        let result = match delivered {
            Some(Err(Unmade::Short(shortage))) => {
                self.is_short(shortage);
                return Err(shortage);
            }
            Some(Err(Unmade::Failed(error))) => Err(error),
            Some(Ok(())) => Ok(()),
            None => Err(progress.too_late(request.timeout)),
        };
        self.means = Means::default();
        let (mut outcome, mut class) = self.judge(request, result, progress.answer.as_ref());
        if let Some(shown) = &progress.shown {
            (outcome, class) = shown.conclude(outcome, class);
        }
        if let Some(answer) = progress.answer {
            self.headers = answer.headers;
            self.headers.clear();
            // Only a reply is kept longer than the answer that it came in.
            self.reply = answer.held.filter(|_| matches!(outcome, Outcome::Reply(_)));
        }
        self.shared.metrics.attempt(class, began.elapsed());
        Ok(outcome)
    }

    /// Makes one attempt at a topic of Kafka. The slot rests: the client for the cluster has connections of
    /// its own.
    #[cfg(feature = "kafka")]
    pub(crate) async fn try_write(
        &mut self,
        sink: &millrace_model::KafkaSink,
        request: &Request<'_>,
    ) -> Result<Outcome, Shortage> {
        self.reply_stored();
        self.rest();
        let tried = crate::kafka::attempt(sink, request, &self.shared).await;
        tried.inspect_err(|shortage| self.is_short(*shortage))
    }

    /// Waits until another try makes sense after this shortage: without limit, and without spinning.
    ///
    /// # Guarantees
    /// Dropping the future keeps the place in the line. A shortage that lasts for 10 s is logged, once for
    /// all slots of the share.
    pub async fn room(&mut self, shortage: Shortage) {
        let owner = self.parked.owner().clone();
        let Means {
            permit,
            in_line,
            lookup,
            short,
            ..
        } = &mut self.means;
        let short = short.get_or_insert_with(|| owner.is_short());
        short.tries = short.tries.saturating_add(1);
        let pause = PAUSE.0.saturating_mul(1 << (short.tries - 1).min(8)).min(PAUSE.1);
        let waiting = async {
            match (shortage, in_line, lookup) {
                (Shortage::Connections, Some(pending), _) => *permit = Some(pending.permit().await),
                (Shortage::Lookups, _, Some(lookup)) => lookup.begun().await,
                _ => {
                    // It may be used up until a connection is closed, or until another owner gives way.
                    tokio::select! {
                        () = owner.outgoing().closed_one() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        };
        short.wait(shortage, waiting).await;
    }

    /// Frees the memory of the last attempt's reply: the reply is stored, or not needed.
    pub fn reply_stored(&mut self) {
        self.reply = None;
    }

    /// Whether a connection is kept open.
    pub fn is_open(&self) -> bool {
        self.open.is_some() || !self.parked.is_empty()
    }

    /// Tells that no attempt follows for now. The slot leaves every line in which it stands. Its connection
    /// stays open for the next attempt, unless another owner that holds fewer waits for one.
    pub fn rest(&mut self) {
        self.means = Means::default();
        if let Some(open) = self.open.take() {
            self.parked.put(open);
        }
    }

    /// Closes the connection, if one is kept, and leaves every line in which the slot stands. It can be used
    /// again.
    pub fn close(&mut self) {
        self.means = Means::default();
        self.open = None;
        drop(self.parked.take());
    }

    /// Sends the request on the kept connection or a new one, and keeps the connection if it can be used
    /// again.
    async fn deliver(
        &mut self,
        to: To<'_>,
        request: &Request<'_>,
        patience: &Patience,
        progress: &mut Progress,
    ) -> Result<(), Unmade> {
        let Self {
            shared,
            open: slot,
            parked,
            means,
            headers,
            ..
        } = self;
        let bounds = Bounds {
            wants_reply: request.wants_reply,
            keep: BODY_KEPT,
            max: shared.options.max_answer_bytes,
            replies: &shared.options.replies,
            patience,
        };
        if let Some(sender) = &request.sender {
            // Boxed: most targets are shown nothing.
            let shown = Box::pin(sender.auth.show(shared, parked.owner())).await;
            if matches!(shown, Err(Unmade::Short(_))) {
                // Others may need what this connection holds to get on.
                *slot = None;
                drop(parked.take());
            }
            progress.shown = Some(shown?);
        }
        let identity = progress.shown.as_ref().and_then(Shown::identity);
        let terms = Terms {
            identity,
            authorities: to.authorities,
        };
        let mut kept = slot.take().or_else(|| parked.take());
        if let Some(open) = &mut kept
            && !open.takes(to, identity).await
        {
            means.permit = kept.take().map(|open| open.into_permit());
        }
        loop {
            let reused = kept.is_some();
            progress.connected = false;
            let mut open = match kept.take() {
                Some(open) => open,
                // Boxed: connecting is rare.
                None => {
                    let connecting = means.connect(shared, parked.owner(), to.uri, request.timeout, terms);
                    Box::pin(connecting).await?
                }
            };
            progress.connected = true;
            let exchanged = {
                let shown = progress.shown.as_ref().map(|shown| (shown, shared.clock.now()));
                let http = request.http(to.uri, open.host(), std::mem::take(headers), shown)?;
                let sent = pin!(open.send(http));
                open.exchange(sent, &bounds, &mut progress.answer).await
            };
            match exchanged {
                // The peer closed it while it was idle and our request crossed that on the way: no failure of
                // either side.
                Err(_) if reused && !open.was_heard() => {
                    shared.metrics.stale.inc();
                    means.permit = Some(open.into_permit());
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    if progress.is_whole() && open.is_idle().await && !parked.owner().is_to_give_way() {
                        *slot = Some(open);
                    }
                    return Ok(());
                }
            };
        }
    }

    fn is_short(&mut self, shortage: Shortage) {
        let owner = self.parked.owner();
        if self.means.short.is_none() {
            self.means.short = Some(owner.is_short());
            self.shared.metrics.short(shortage);
        }
        if shortage == Shortage::Descriptors {
            owner.outgoing().close_idle();
        }
    }

    /// What it came to. A fault in the middle of the answer counts only where the missing rest would have
    /// been a reply: the status had arrived, and it says whether the target has the event.
    fn judge(
        &self,
        request: &Request<'_>,
        result: Result<(), NoAnswer>,
        answer: Option<&Answer>,
    ) -> (Outcome, Class) {
        match (result, answer) {
            (Err(error), None) => (Outcome::Failed(error.failure()), error.class()),
            (Err(error), Some(answer)) if answer.announces_reply(request.wants_reply) => {
                (Outcome::Failed(error.failure()), error.class())
            }
            (_, Some(answer)) => {
                let Shared { options, clock, .. } = &*self.shared;
                let outcome = Outcome::of(answer, request.wants_reply, options.max_answer_bytes, clock);
                let class = outcome.class();
                (outcome, class)
            }
            (Ok(()), None) => (Outcome::Failed(NoAnswer::Closed.failure()), Class::Broken),
        }
    }
}

// === impl Progress ===

impl Progress {
    /// The answer came to its end within the limit.
    fn is_whole(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.body.is_whole())
    }

    fn too_late(&self, timeout: Duration) -> NoAnswer {
        match (self.connected, &self.answer) {
            (false, _) => NoAnswer::NotConnected(timeout),
            (true, None) => NoAnswer::Late(timeout),
            (true, Some(_)) => NoAnswer::LateMidway(timeout),
        }
    }
}

#[cfg(test)]
mod tests;
