//! The way of one call: read within bounds, verified, understood, stored, and only then answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use millrace_event::{Clock, Event, Timestamp};
use millrace_filter::Turns;
use millrace_model::Octets;
use millrace_model::source::GitWebhook;
use millrace_model::source::git_webhook::{Forge, Verification};
use millrace_serve::{BodyBudget, Hold, discard, empty};
use parking_lot::RwLock;
use tracing::{Instrument as _, Span};

use super::detect;
use super::mapping::{Call, Mapper};
use super::payload::{Payload, Wrapping};
use super::rate::Rate;
use super::refuse::RefusedCall;
use super::secrets::FoundSecrets;
use super::verify::{Signed, verify};
use crate::webhooks::DISCARD;
use crate::{Context, Endpoint, Outlet, Report, SourceError};

/// Answers the calls to one source.
pub(super) struct Hook {
    forge: Forge,
    verification: Verification,
    secrets: RwLock<Arc<[Octets]>>,
    rate: Rate,
    mapper: Arc<Mapper>,
    turns: Turns,
    outlet: Arc<Outlet>,
    report: Report,
    clock: Clock,
    max_event_bytes: usize,
    /// The source's: calls come on tasks of the listener.
    span: Span,
}

/// How long a body may take to arrive. A forge gives up after ten seconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The most work done on an I/O thread: bytes of JSON, counted once for reading and once for each path.
const AT_ONCE: usize = 128 * 1024;
/// How long the sink may take, so that the forge still gets an answer.
const SINK_TIMEOUT: Duration = Duration::from_secs(8);

// === impl Hook ===

impl Hook {
    pub(super) fn new(spec: &GitWebhook, context: &Context) -> Result<Self, SourceError> {
        Ok(Self {
            forge: spec.forge,
            verification: spec.verification.clone(),
            secrets: RwLock::new([].into()),
            rate: Rate::new(spec.requests_per_second),
            mapper: Arc::new(Mapper::new(spec, &context.name)?),
            turns: context.turns.clone(),
            outlet: context.outlet.clone(),
            report: context.report.clone(),
            clock: context.clock.clone(),
            max_event_bytes: context.max_event_bytes,
            span: Span::current(),
        })
    }

    /// Verifies calls with these from now on.
    pub(super) fn use_secrets(&self, found: &FoundSecrets) {
        *self.secrets.write() = found.secrets().cloned().collect();
    }

    /// Whether there is what calls are verified with.
    pub(super) fn can_verify(&self) -> bool {
        self.verification == Verification::None || !self.secrets.read().is_empty()
    }

    /// Whether a call is the test of a connection that Bitbucket Data Center makes without a signature, also
    /// where there is a secret. It says nothing, so it is answered, and nothing is stored.
    fn is_unsigned_ping(&self, head: &request::Parts) -> bool {
        let is = |name: &str, value: &str| head.headers.get(name).is_some_and(|found| found == value);
        self.forge == Forge::BitbucketServer
            && self.verification == Verification::Forge
            && is("x-event-key", "diagnostics:ping")
            && !head.headers.contains_key("x-hub-signature")
    }

    /// What can be decided before the body is read.
    fn open(&self, head: &request::Parts) -> Result<Wrapping, RefusedCall> {
        if head.method != Method::POST {
            return Err(RefusedCall::Method);
        }
        if !self.can_verify() {
            return Err(RefusedCall::NoSecret);
        }
        Wrapping::of(self.forge, &head.headers)
    }

    /// Reads, verifies, maps and stores.
    async fn take(
        &self,
        wrapping: Wrapping,
        head: &request::Parts,
        body: Incoming,
        budget: &BodyBudget,
    ) -> Result<(), RefusedCall> {
        let (data, _held) = self.read(wrapping, head, body, budget).await?;
        detect::check(self.forge, &head.headers)?;
        let event = self.understand(&head.headers, data).await?;
        match tokio::time::timeout(SINK_TIMEOUT, self.outlet.offer(&[event])).await {
            Ok(taken) => Ok(taken?),
            Err(_) => Err(RefusedCall::SinkTimeout),
        }
    }

    /// The event that a verified call becomes. What takes long is done in turns with others, off the I/O
    /// threads.
    async fn understand(&self, headers: &HeaderMap, data: Bytes) -> Result<Event, RefusedCall> {
        let received = self.clock.now();
        if data.len().saturating_mul(1 + self.mapper.paths()) <= AT_ONCE {
            return map(&self.mapper, headers, &data, received);
        }
        let job = (self.mapper.clone(), headers.clone(), data, None);
        let job = self
            .turns
            .work((job, received), |((mapper, headers, data, event), received)| {
                *event = Some(map(mapper, headers, data, *received));
                true
            });
        let ((.., event), _) = job.await;
        event.expect("invariant: the only slice makes it")
    }

    /// The JSON of a call that is verified and within the rate. The rate is checked after the signature:
    /// otherwise anybody who knows the address could use it up, and the forge would be turned away.
    async fn read(
        &self,
        wrapping: Wrapping,
        head: &request::Parts,
        body: Incoming,
        budget: &BodyBudget,
    ) -> Result<(Bytes, Hold), RefusedCall> {
        let limit = wrapping.body_bytes(self.max_event_bytes);
        let peer = head.extensions.get().copied();
        let (body, held) = budget.read(body, limit, BODY_TIMEOUT, peer).await?;
        let data = wrapping.unwrap(&body, self.max_event_bytes);
        let received = self.clock.now();
        let signed = Signed {
            headers: &head.headers,
            body: &body,
            payload: data.as_ref().unwrap_or(&body),
            received,
        };
        let secrets = self.secrets.read().clone();
        verify(&self.verification, self.forge, &secrets, signed)?;
        self.rate
            .take(self.clock.steady())
            .map_err(RefusedCall::TooMany)?;
        Ok((data?, held))
    }

    /// The answer to a call, taken or not.
    async fn answer_here(&self, request: Request<Incoming>, budget: &BodyBudget) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let wrapping = match self.open(&head) {
            Ok(wrapping) => wrapping,
            Err(refused) => {
                let problem = self.refuse(&refused);
                // A client that waits for `100 Continue` must not get it now.
                let waits = head.headers.contains_key(EXPECT) && !body.is_end_stream();
                if waits || !discard(body, DISCARD.0, DISCARD.1).await {
                    return problem.closing().into_response();
                }
                return problem.into_response();
            }
        };
        if self.is_unsigned_ping(&head) {
            if discard(body, DISCARD.0, DISCARD.1).await {
                return empty(StatusCode::OK);
            }
            return self
                .refuse(&RefusedCall::SignatureMissing)
                .closing()
                .into_response();
        }
        match self.take(wrapping, &head, body, budget).await {
            Ok(()) => empty(StatusCode::ACCEPTED),
            Err(refused) => self.refuse(&refused).into_response(),
        }
    }

    /// The answer to a call that is not taken. What the sink refused is counted where it was offered.
    fn refuse(&self, refused: &RefusedCall) -> millrace_serve::Problem {
        let problem = refused.problem();
        if !matches!(refused, RefusedCall::Sink(_)) {
            self.report.refused(problem.code(), refused.to_string());
        }
        problem
    }
}

/// The event of a call with this JSON.
fn map(mapper: &Mapper, headers: &HeaderMap, data: &[u8], received: Timestamp) -> Result<Event, RefusedCall> {
    let payload = Payload::read(data)?;
    let call = Call {
        headers,
        payload: &payload,
        data,
        received,
    };
    Ok(mapper.event(&call)?)
}

#[async_trait::async_trait]
impl Endpoint for Hook {
    async fn answer(&self, request: Request<Incoming>, budget: &BodyBudget) -> Response<Full<Bytes>> {
        let answered = self.answer_here(request, budget);
        answered.instrument(self.span.clone()).await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("forge", &self.forge)
            .field("secrets", &self.secrets.read().len())
            .finish_non_exhaustive()
    }
}
