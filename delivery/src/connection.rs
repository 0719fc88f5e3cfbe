//! Keep-alive connections of a lane's own, driven directly on `hyper::client::conn`.
//!
//! A pool would cost more than the request itself (two thirds more CPU, measured) and lets one lane wait for another's
//! connections. So each slot of a lane has its own, and whoever owns the slot decides how long it lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use millrace_event::Clock;
use rustls::RootCertStore;

use crate::connect::connect;
use crate::exchange::{Answer, Open};
use crate::guard::Guard;
use crate::metrics::{Class, Metrics};
use crate::no_answer::NoAnswer;
use crate::place::Place;
use crate::resolve::Resolver;
use crate::tls::Tls;
use crate::{Outcome, Request, reply};

/// What all connections share.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    /// The guard.
    pub guard: Guard,
    /// Bytes of an answer's body that are read; 1 MiB by default. More is cut off, and the connection closed.
    pub max_answer_bytes: usize,
}

/// Makes connections: resolves, asks the guard, connects, speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    shared: Arc<Shared>,
}

/// One slot's connection: at most one open TCP connection, kept alive between attempts at the same authority and
/// replaced when the target's authority changes. An owner drops it when idle.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    // Boxed: a slot without a connection is small, and taking it out for an attempt moves a pointer.
    open: Option<Box<Open>>,
    /// The map of the last answer, emptied: the next request's headers go there.
    headers: HeaderMap,
}

#[derive(Clone, Debug, Default)]
struct Shared {
    options: ConnectorOptions,
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

// === impl ConnectorOptions ===

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            max_answer_bytes: 1 << 20,
        }
    }
}

// === impl Connector ===

impl Connector {
    /// A connector with these options, the machine's clock and root certificates, and metrics of its own.
    pub fn new(options: ConnectorOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                ..Shared::default()
            }),
        }
    }

    /// The clock that a Retry-After date is held against.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.shared).clock = clock;
        self
    }

    /// Counts attempts and connections there.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        Arc::make_mut(&mut self.shared).metrics = metrics;
        self
    }

    /// Trusts these certificates for https, and not the machine's.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine at all.
    pub fn with_roots(mut self, roots: RootCertStore) -> Result<Self, rustls::Error> {
        Arc::make_mut(&mut self.shared).tls = Tls::with_roots(roots)?;
        Ok(self)
    }

    /// The guard that is asked about each address: for who connects without this.
    pub fn guard(&self) -> &Guard {
        &self.shared.options.guard
    }

    /// A slot without an open connection yet.
    pub fn slot(&self) -> Connection {
        Connection {
            shared: Arc::clone(&self.shared),
            open: None,
            headers: HeaderMap::new(),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Makes one attempt. A kept-alive connection that turns out to be stale is replaced once and is not a failed attempt.
    ///
    /// # Guarantees
    /// It ends within the request's timeout. Dropping the future closes the connection, so that nothing of an attempt
    /// given up on is taken for the answer to a later one; the event may have arrived all the same.
    ///
    /// # Caveats
    /// Once the target has sent the head of a 2xx that announces no reply, the event is delivered, whether or not the
    /// rest of the answer comes. A head that announces one binds us to its body: without it the attempt has failed.
    pub async fn attempt(&mut self, request: &Request<'_>) -> Outcome {
        let began = Instant::now();
        let mut progress = Progress::default();
        let result = match tokio::time::timeout(request.timeout, self.deliver(request, &mut progress)).await {
            Ok(result) => result,
            Err(_) => Err(progress.too_late(request.timeout)),
        };
        let (outcome, class) = self.judge(request, result, progress.answer.as_ref());
        if let Some(answer) = progress.answer {
            self.headers = answer.headers;
            self.headers.clear();
        }
        self.shared.metrics.attempt(class, began.elapsed());
        outcome
    }

    /// Whether a connection is kept open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the connection, if one is kept. The slot can be used again.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends the request on the kept connection or a new one, and keeps the connection if it can be used again.
    async fn deliver(&mut self, request: &Request<'_>, progress: &mut Progress) -> Result<(), NoAnswer> {
        let max = self.shared.options.max_answer_bytes;
        let mut kept = self.open.take();
        if let Some(open) = &mut kept
            && !open.takes(request.uri).await
        {
            kept = None;
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
            match open
                .exchange(http, request.wants_reply, max, &mut progress.answer)
                .await
            {
                // The peer closed it while it was idle and our request crossed that on the way: nobody's failure.
                Err(_) if reused && !open.was_heard() => self.shared.metrics.stale.inc(),
                Err(error) => return Err(error),
                Ok(()) => {
                    let whole = progress
                        .answer
                        .as_ref()
                        .is_some_and(|answer| answer.body.is_whole());
                    if whole && open.is_idle().await {
                        self.open = Some(open);
                    }
                    return Ok(());
                }
            };
        }
    }

    async fn connect(&self, request: &Request<'_>) -> Result<Box<Open>, NoAnswer> {
        let Shared {
            options,
            resolver,
            tls,
            metrics,
            ..
        } = &*self.shared;
        let place = Place::of(request.uri)?;
        let wire = connect(&place, &options.guard, resolver, tls, request.timeout).await?;
        metrics.connections.inc();
        Ok(Box::new(Open::new(place, wire).await?))
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
