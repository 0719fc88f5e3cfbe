//! Keep-alive connections of a lane's own, driven directly on `hyper::client::conn`.
//!
//! A pool would cost more than the request itself (two thirds more CPU, measured) and lets one lane wait for
//! another's connections. So each slot of a lane has its own connection, and the slot's owner decides how
//! long it lives. An idle connection is closed for another owner only while that owner waits for one
//! (`outgoing`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use millrace_budget::{Hold, Part};
use millrace_event::Clock;
use millrace_model::Shortage;
use rustls::pki_types::CertificateDer;

use crate::connect::{self, connect};
use crate::exchange::{Answer, Bounds, Open};
use crate::guard::Guard;
use crate::means::Means;
use crate::metrics::{Class, Metrics};
use crate::no_answer::{NoAnswer, Unmade};
use crate::outgoing::{Outgoing, Owner, Parked};
use crate::patience::Patience;
use crate::place::Place;
use crate::resolve::Resolver;
use crate::tls::Tls;
use crate::{Outcome, Request, reply};

/// The first and the longest pause before another try, after the kernel had run out of something.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What all connections share.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    /// The guard.
    pub guard: Guard,
    /// Bytes of an answer's body that are read; 1 MiB by default. More is cut off, and the connection closed.
    pub max_answer_bytes: usize,
    /// Connections that may be open at one time; 20 000 by default.
    pub max_connections: usize,
    /// Name lookups that may run at one time, each on a thread of its own; 1 024 by default.
    pub max_lookups: usize,
    /// Memory for answers that may be replies, until they are stored; 64 MiB by default.
    pub replies: Part,
}

/// Makes connections: resolves, asks the guard, connects, speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    shared: Arc<Shared>,
}

/// The share of a Trigger or source in what is limited: connections and name lookups. Clones share it.
#[derive(Clone, Debug)]
pub struct Share {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// One slot's connection: at most one open TCP connection, kept alive between attempts at the same authority and
/// replaced when the target's authority changes. An owner drops it when idle.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    /// The connection, while no attempt uses it.
    parked: Arc<Parked>,
    means: Means,
    /// The map of the last answer, emptied: the next request's headers go there.
    headers: HeaderMap,
    /// The memory of the last reply, until its owner has stored it.
    reply: Option<Hold>,
}

#[derive(Clone, Debug)]
struct Shared {
    options: ConnectorOptions,
    outgoing: Arc<Outgoing>,
    resolver: Resolver,
    tls: Tls,
    clock: Clock,
    metrics: Metrics,
}

/// How far an attempt has come: it outlives the future that makes it, for when time runs out.
#[derive(Debug, Default)]
struct Progress {
    connected: bool,
    answer: Option<Answer>,
}

/// The most bytes that are read of an answer's body, unless the caller sets a limit.
const MAX_ANSWER: usize = 1 << 20;

// === impl ConnectorOptions ===

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            max_answer_bytes: MAX_ANSWER,
            replies: Part::new(64 << 20, MAX_ANSWER),
            max_connections: 20_000,
            max_lookups: 1_024,
        }
    }
}

// === impl Connector ===

impl Connector {
    /// A connector with these options, the machine's clock and root certificates, and metrics of its own.
    pub fn new(options: ConnectorOptions) -> Self {
        let metrics = Metrics::default();
        Self {
            shared: Arc::new(Shared {
                outgoing: Outgoing::new(options.max_connections, metrics.room.clone()),
                resolver: Resolver::system(options.max_lookups, metrics.lookups.clone()),
                options,
                tls: Tls::default(),
                clock: Clock::default(),
                metrics,
            }),
        }
    }

    /// The clock that a Retry-After date is held against.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.shared).clock = clock;
        self
    }

    /// Counts attempts and connections there; must be called before the first share is made.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.outgoing = Outgoing::new(shared.options.max_connections, metrics.room.clone());
        shared.resolver = Resolver::system(shared.options.max_lookups, metrics.lookups.clone());
        shared.metrics = metrics;
        self
    }

    /// Trusts these certificates for https, and not the machine's.
    ///
    /// # Errors
    /// When none of them can be used, or TLS cannot be set up on this machine at all.
    pub fn with_roots(mut self, roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        Arc::make_mut(&mut self.shared).tls = Tls::with_roots(roots)?;
        Ok(self)
    }

    /// The guard that is asked about each address: for code that connects by itself.
    pub fn guard(&self) -> &Guard {
        &self.shared.options.guard
    }

    /// A share of what is limited. `name` names its owner in log lines.
    pub fn share(&self, name: impl Into<String>) -> Share {
        Share {
            shared: self.shared.clone(),
            owner: self.shared.outgoing.owner(name.into()),
        }
    }

    /// A slot without an open connection yet, with a share of its own.
    pub fn slot(&self) -> Connection {
        self.share("a connection").slot()
    }
}

// === impl Share ===

impl Share {
    /// A slot without an open connection yet.
    pub fn slot(&self) -> Connection {
        Connection {
            shared: self.shared.clone(),
            parked: self.owner.place(),
            means: Means::default(),
            headers: HeaderMap::new(),
            reply: None,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// As [`Connection::try_attempt`], but waits as long as it takes for what is short.
    pub async fn attempt(&mut self, request: &Request<'_>) -> Outcome {
        loop {
            match self.try_attempt(request).await {
                Ok(outcome) => return outcome,
                Err(shortage) => self.room(shortage).await,
            }
        }
    }

    /// Makes one attempt. A kept-alive connection that turns out to be stale is replaced once and is not a failed attempt.
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
    pub async fn try_attempt(&mut self, request: &Request<'_>) -> Result<Outcome, Shortage> {
        let began = Instant::now();
        let (mut progress, patience) = (Progress::default(), Patience::default());
        self.reply_stored();
        let delivery = self.deliver(request, &patience, &mut progress);
        let result = match patience.limit(request.timeout, delivery).await {
            Some(Err(Unmade::Short(shortage))) => {
                self.is_short(shortage);
                return Err(shortage);
            }
            Some(Err(Unmade::Failed(error))) => Err(error),
            Some(Ok(())) => Ok(()),
            None => Err(progress.too_late(request.timeout)),
        };
        self.means = Means::default();
        let (outcome, class) = self.judge(request, result, progress.answer.as_ref());
        if let Some(answer) = progress.answer {
            self.headers = answer.headers;
            self.headers.clear();
            // Only a reply is kept longer than the answer that it came in.
            self.reply = answer.held.filter(|_| matches!(outcome, Outcome::Reply { .. }));
        }
        self.shared.metrics.attempt(class, began.elapsed());
        Ok(outcome)
    }

    /// Waits until another try makes sense after this shortage: without limit, and without spinning.
    ///
    /// # Guarantees
    /// Dropping the future keeps the place in the line. A shortage that lasts for 10 s is logged, once for all slots of
    /// the share.
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
        !self.parked.is_empty()
    }

    /// Closes the connection, if one is kept, and leaves every line in which the slot stands. It can be used again.
    pub fn close(&mut self) {
        self.means = Means::default();
        drop(self.parked.take());
    }

    /// Sends the request on the kept connection or a new one, and keeps the connection if it can be used again.
    async fn deliver(
        &mut self,
        request: &Request<'_>,
        patience: &Patience,
        progress: &mut Progress,
    ) -> Result<(), Unmade> {
        let shared = Arc::clone(&self.shared);
        let bounds = Bounds {
            wants_reply: request.wants_reply,
            max: shared.options.max_answer_bytes,
            replies: &shared.options.replies,
            patience,
        };
        let mut kept = self.parked.take();
        if let Some(open) = &mut kept
            && !open.takes(request.uri).await
        {
            self.means.permit = kept.take().map(|open| open.into_permit());
        }
        loop {
            let reused = kept.is_some();
            progress.connected = false;
            let mut open = match kept.take() {
                Some(open) => open,
                // Boxed: connecting is rare, and its state should not make every attempt's future larger.
                None => Box::pin(self.connect(request)).await?,
            };
            progress.connected = true;
            let http = request.http(open.host(), std::mem::take(&mut self.headers));
            match open.exchange(http, &bounds, &mut progress.answer).await {
                // The peer closed it while it was idle and our request crossed that on the way: no failure of
                // either side.
                Err(_) if reused && !open.was_heard() => {
                    self.shared.metrics.stale.inc();
                    self.means.permit = Some(open.into_permit());
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    let whole = progress
                        .answer
                        .as_ref()
                        .is_some_and(|answer| answer.body.is_whole());
                    if whole && open.is_idle().await {
                        self.parked.put(open);
                    }
                    return Ok(());
                }
            };
        }
    }

    /// A new connection. The name is looked up before a permit is asked for, so that no permit is held
    /// meanwhile.
    async fn connect(&mut self, request: &Request<'_>) -> Result<Box<Open>, Unmade> {
        let Shared {
            options,
            resolver,
            tls,
            metrics,
            ..
        } = &*self.shared;
        let place = Place::of(request.uri)?;
        let (owner, means) = (self.parked.owner(), &mut self.means);
        // The addresses stay valid until the permit is there: another lookup would begin from the start.
        let resolved = match means.resolved.take().filter(|resolved| resolved.is_of(&place)) {
            Some(resolved) => resolved,
            None => {
                if !Resolver::knows(&place) {
                    means.give_permit_up();
                }
                resolver.addresses(owner.id, &place, &mut means.lookup).await?
            }
        };
        let addresses = resolved.with_port(place.port);
        let permit = match means.permit(owner) {
            Some(permit) => permit,
            None => {
                means.resolved = Some(resolved);
                return Err(Unmade::Short(Shortage::Connections));
            }
        };
        let limit = request.timeout.min(connect::LIMIT);
        let wire = connect(&place, &addresses, &options.guard, tls, limit).await?;
        metrics.connections.inc();
        Ok(Box::new(Open::new(place, wire, permit).await?))
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

    /// What it came to. A fault in the middle of the answer counts only where the missing rest would have been a reply:
    /// the status had arrived, and it says whether the target has the event.
    fn judge(
        &self,
        request: &Request<'_>,
        result: Result<(), NoAnswer>,
        answer: Option<&Answer>,
    ) -> (Outcome, Class) {
        match (result, answer) {
            (Err(error), None) => (Outcome::Failed(error.failure()), error.class()),
            (Err(error), Some(answer))
                if reply::announced(answer.status, &answer.headers, request.wants_reply) =>
            {
                (Outcome::Failed(error.failure()), error.class())
            }
            (_, Some(answer)) => {
                let Shared { options, clock, .. } = &*self.shared;
                let outcome = Outcome::of(answer, request.wants_reply, options.max_answer_bytes, clock.now());
                let class = outcome.class();
                (outcome, class)
            }
            (Ok(()), None) => (Outcome::Failed(NoAnswer::Closed.failure()), Class::Broken),
        }
    }
}

// === impl Progress ===

impl Progress {
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
