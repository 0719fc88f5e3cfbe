//! The HTTP ingress: `POST /{namespace}/{broker}` takes an event or a batch, 202 says that it is durable.
//!
//! `config` says how it listens. The other files follow a request: which broker its path names (`route`),
//! what OPTIONS answers (`handshake`), and how a refusal is told (`refuse`); this one leads it through. Who
//! calls is known by [`millrace_access`].

mod config;
mod handshake;
mod refuse;
mod route;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use millrace_access::{Counted, Gate, Identity, Load, Paid, Refusal};
use millrace_channel::Class;
use millrace_event::{Event, http as binding};
use millrace_model::event_policy::Ruling;
use millrace_serve::{
    BodyBudget, Drained, Hosts, Listener, ListenerMetrics, Mount, Problem, ServeOptions, discard, empty,
    framing, serve,
};
use tokio_util::sync::CancellationToken;

pub use self::config::{HostRule, IngressConfig};
use crate::admission::Admission;
use crate::doors::Door;
use crate::policies::Left;
use crate::turned_away::Away;

/// The ingress, bound to its addresses. Clients may connect from now on; [`Ingress::run`] serves them.
///
/// # Guarantees
/// Cheap checks come first: host, framing, who calls, method, path, whether they may, broker, media type
/// and announced length are decided before any of the body is read. 202 is answered only when all events of
/// the request are durable. Any other answer but 503 `storage-failed` means that none of them is stored.
pub struct Ingress {
    listener: Listener,
    options: ServeOptions,
    metrics: ListenerMetrics,
    handler: Arc<Handler>,
}

/// What an ingress is made of.
pub struct IngressParts {
    /// Where it is called.
    pub listener: Listener,
    /// Where events go.
    pub admission: Arc<Admission>,
    /// Answers the requests below `/sources/`; without it they are 404. They ask for no login: each source
    /// checks its own signature.
    pub webhooks: Option<Arc<dyn Mount>>,
    /// The memory for bodies that are being read or stored.
    pub bodies: BodyBudget,
    /// Who may publish, and how much; `None`: anybody, anything.
    pub gate: Option<Arc<Gate>>,
    /// Where connections are counted.
    pub metrics: ListenerMetrics,
}

struct Handler {
    admission: Arc<Admission>,
    gate: Option<Arc<Gate>>,
    hosts: Hosts,
    budget: BodyBudget,
    body_timeout: Duration,
    /// Answers what is below `/sources/`.
    webhooks: Option<Arc<dyn Mount>>,
}

/// Why a request does not reach a broker.
enum NotOpened {
    /// There is nothing there.
    Nowhere(Problem),
    /// Who calls may not go there.
    NotAllowed(Refusal),
}

/// The sender, and what policies still ask of the events.
struct Asked {
    who: Identity,
    left: Left,
}

/// Why events that were read are not stored.
enum NotTaken {
    /// They are not let in: the place in the batch, if one event is the reason.
    NotLetIn(Box<Refusal>, Option<usize>),
    /// Something else.
    Otherwise(Problem),
}

/// What is left unread of a refused request up to this size is read and dropped, so that its connection can
/// be used again; beyond it the connection is closed.
const DISCARD_BYTES: usize = 64 * 1024;
/// And only as long as this.
const DISCARD_TIME: Duration = Duration::from_secs(1);

impl From<Problem> for NotTaken {
    fn from(problem: Problem) -> Self {
        Self::Otherwise(problem)
    }
}

// === impl Ingress ===

impl Ingress {
    /// The ingress of these parts.
    pub fn build(config: &IngressConfig, parts: IngressParts) -> Self {
        // Where nobody is asked who they are, each address is somebody.
        let names_peers = parts.gate.as_ref().is_some_and(|gate| !gate.asks_who_calls());
        let handler = Handler {
            hosts: config.hosts.at(&parts.listener.addresses()),
            budget: parts.bodies,
            body_timeout: config.body_timeout,
            admission: parts.admission,
            gate: parts.gate,
            webhooks: parts.webhooks,
        };
        Self {
            listener: parts.listener,
            options: ServeOptions {
                names_peers,
                ..config.serve
            },
            metrics: parts.metrics,
            handler: Arc::new(handler),
        }
    }

    /// Serves until `shutdown`, then finishes what is in hand within the drain timeout.
    pub async fn run(self, shutdown: CancellationToken) -> Drained {
        let handler = self.handler;
        let service = service_fn(move |request| {
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(handler.answer(request).await) }
        });
        serve(self.listener, self.options, self.metrics, service, shutdown).await
    }
}

// === impl Handler ===

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let checked = self.hosts.check(&request);
        if let Err(problem) = checked.and_then(|()| framing::check(&request)) {
            let (head, body) = request.into_parts();
            return self.refuse(problem, None, &head, body).await;
        }
        if let Some(webhooks) = &self.webhooks
            && route::is_webhook(request.uri().path())
        {
            return webhooks.answer(request).await;
        }
        let (head, body) = request.into_parts();
        let who = match self.identify(&head) {
            Ok(who) => who,
            Err(refusal) => return self.turn_away(&refusal, &head, body).await,
        };
        let (door, asked) = match self.open(&head, who.as_ref()) {
            Ok(opened) => opened,
            Err(NotOpened::NotAllowed(refusal)) => return self.turn_away(&refusal, &head, body).await,
            Err(NotOpened::Nowhere(problem)) => return self.refuse(problem, None, &head, body).await,
        };
        if head.method == Method::OPTIONS {
            let rate = asked.and_then(|asked| self.admission.per_minute(&door, &asked.who));
            return handshake::answer(&head.headers, rate);
        }
        let mode = match refuse::mode(&head.headers) {
            Ok(mode) => mode,
            Err(problem) => return self.refuse(problem, Some(&door), &head, body).await,
        };
        let _in_hand = match self.has_room(&door, asked.as_ref(), mode, &head) {
            Ok(counted) => counted,
            Err(refusal) => return self.turn_away(&refusal, &head, body).await,
        };
        match self.take(&door, (mode, asked), &head, body).await {
            Ok(()) => empty(StatusCode::ACCEPTED),
            Err(NotTaken::NotLetIn(refusal, nth)) => self.not_let_in(&door, &refusal, nth),
            Err(NotTaken::Otherwise(problem)) => {
                door.refused(problem.code());
                problem.into_response()
            }
        }
    }

    /// Who calls; `None` where it makes no difference.
    fn identify(&self, head: &request::Parts) -> Result<Option<Identity>, Refusal> {
        match &self.gate {
            None => Ok(None),
            Some(gate) => gate.identify(&head.headers, &head.extensions).map(Some),
        }
    }

    /// Method, path, whether they may, and broker. Whether a broker is there is told only to who may
    /// publish to it.
    fn open(
        &self,
        head: &request::Parts,
        who: Option<&Identity>,
    ) -> Result<(Arc<Door>, Option<Asked>), NotOpened> {
        if head.method != Method::POST && head.method != Method::OPTIONS {
            return Err(NotOpened::Nowhere(refuse::method()));
        }
        let broker = route::broker_of(head.uri.path()).ok_or_else(|| NotOpened::Nowhere(refuse::path()))?;
        if let Some(who) = who {
            who.may_publish(broker).map_err(NotOpened::NotAllowed)?;
        }
        let door = self.admission.doors().at(broker);
        let door = door.ok_or_else(|| NotOpened::Nowhere(refuse::unknown_broker()))?;
        let Some(who) = who else {
            return Ok((door, None));
        };
        let left = self.admission.ask(&door, &who.subject());
        let left = left.map_err(|ruling| NotOpened::NotAllowed(refuse::policy(who.clone(), &ruling)))?;
        if !handshake::origins(&head.headers).all(|origin| self.admission.allows_origin(origin)) {
            return Err(NotOpened::NotAllowed(Refusal::Origin(who.clone())));
        }
        let who = who.clone();
        Ok((door, Some(Asked { who, left })))
    }

    /// Whether there is room in the limits for what is known before the body is read. Who is at its limit
    /// costs no more than that. The request counts as in hand until what is returned is dropped.
    fn has_room(
        &self,
        door: &Door,
        asked: Option<&Asked>,
        mode: binding::Mode,
        head: &request::Parts,
    ) -> Result<Option<Counted>, Refusal> {
        let Some(Asked { who, .. }) = asked else {
            return Ok(None);
        };
        let bytes = match mode {
            binding::Mode::Binary => announced(&head.headers).unwrap_or(0),
            // How much of it is data is not known yet.
            binding::Mode::Structured | binding::Mode::Batch => 1,
        };
        let room = self.admission.has_room(door, who, Load { events: 1, bytes });
        let counted = room.and_then(|()| self.admission.begin(door, who));
        counted.map_err(|too_much| Refusal::TooMuch(who.clone(), too_much))
    }

    /// Refuses events that were read and are not let in.
    fn not_let_in(&self, door: &Door, refusal: &Refusal, nth: Option<usize>) -> Response<Full<Bytes>> {
        self.admission.turn_away(door, Away::Caller(refusal));
        let problem = refusal.problem();
        door.refused(problem.code());
        match nth {
            Some(nth) => problem.field(format!("[{nth}]")).into_response(),
            None => problem.into_response(),
        }
    }

    /// Refuses somebody whom the gate does not let in, and says so where it was.
    async fn turn_away(
        &self,
        refusal: &Refusal,
        head: &request::Parts,
        body: Incoming,
    ) -> Response<Full<Bytes>> {
        let door = route::broker_of(head.uri.path()).and_then(|broker| self.admission.doors().at(broker));
        if let Some(door) = &door {
            self.admission.turn_away(door, Away::Caller(refusal));
        }
        self.refuse(refusal.problem(), door.as_deref(), head, body).await
    }

    /// Reads, decodes and admits. What is read is counted against the budget until it is stored.
    async fn take(
        &self,
        door: &Door,
        (mode, asked): (binding::Mode, Option<Asked>),
        head: &request::Parts,
        body: Incoming,
    ) -> Result<(), NotTaken> {
        let limits = self.admission.limits();
        let read = self
            .budget
            .read(
                body,
                limits.body_bytes(mode),
                self.body_timeout,
                head.extensions.get().copied(),
            )
            .await;
        let (bytes, _held) = read.map_err(|error| refuse::body(&error, mode))?;
        let decoded = binding::decode(&head.headers, &bytes, &limits.decoding());
        // The events have their own copy by now; the connection's buffer is free while they are stored.
        drop(bytes);
        let events = decoded.map_err(refuse::invalid)?;
        if events.is_empty() {
            return Ok(());
        }
        let ready = self.admission.ready(door, events);
        let ready = ready.map_err(|refusal| refuse::refusal(&refusal))?;
        let paid = match asked {
            Some(asked) => self.let_in(door, asked, &ready.events).await?,
            None => Paid::default(),
        };
        let stored = self.admission.store(door, ready, paid, Class::Producer).await;
        Ok(stored.map_err(|refusal| refuse::refusal(&refusal))?)
    }

    /// Asks what could not be asked before: how much it is, and the filters of policies. Those take time, so
    /// that what they refuse is paid.
    async fn let_in(&self, door: &Door, asked: Asked, events: &[Event]) -> Result<Paid, NotTaken> {
        let Asked { who, left } = asked;
        let paid = self.admission.spend(door, &who, events);
        let paid = paid.map_err(|too_much| {
            NotTaken::NotLetIn(Box::new(Refusal::TooMuch(who.clone(), too_much)), None)
        })?;
        if let left @ Left::Filters(_) = left
            && let Some(nth) = self.admission.first_refused(left, events.to_vec()).await
        {
            let is_batch = events.len() > 1;
            let refusal = Box::new(refuse::policy(who, &Ruling::NoneAllows));
            return Err(NotTaken::NotLetIn(refusal, is_batch.then_some(nth)));
        }
        Ok(paid)
    }

    /// Refuses before the body was read, and sees to the body.
    async fn refuse(
        &self,
        problem: Problem,
        door: Option<&Door>,
        head: &request::Parts,
        body: Incoming,
    ) -> Response<Full<Bytes>> {
        match door {
            Some(door) => door.refused(problem.code()),
            None => self.admission.doors().metrics().refused_elsewhere(problem.code()),
        }
        // A client that waits for `100 Continue` must not get it now.
        let waits = head.headers.contains_key(EXPECT) && !body.is_end_stream();
        if waits || !discard(body, DISCARD_BYTES, DISCARD_TIME).await {
            return problem.closing().into_response();
        }
        problem.into_response()
    }
}

/// The announced length of the body. [`framing`] has checked it.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
