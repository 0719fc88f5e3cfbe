//! Why a call is not taken, and how that is told: a status and a stable code each.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use millrace_event::Invalid;
use millrace_serve::{BodyError, Problem};

use crate::NotTaken;

/// Why a call is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedCall {
    /// Not a POST.
    #[error("calls are made with POST")]
    Method,
    /// A Content-Type that is not taken.
    #[error("a call holds JSON (or, from GitHub, Gitea and Forgejo, a form with `payload`)")]
    MediaType,
    /// A Content-Encoding.
    #[error("the body is compressed, which is not taken")]
    Encoding,
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The JSON in a form is larger than an event may be.
    #[error("the payload is larger than {0} bytes")]
    TooLarge(usize),
    /// A form without JSON in it.
    #[error("the form has no `payload`")]
    FormWithoutPayload,
    /// Not JSON, with what is wrong and where.
    #[error("the body cannot be read as JSON: {0}")]
    BadJson(String),
    /// No signature, token or the like.
    #[error("the call is not signed")]
    SignatureMissing,
    /// By none of the secrets.
    #[error("the signature, or token, is not of a secret that is known here")]
    SignatureWrong,
    /// Signed long ago, or in the future.
    #[error("the signature is of another time: more than five minutes away")]
    SignatureStale,
    /// The source has no secret at the moment, so no call can be verified.
    #[error("the source has no secret to verify calls with")]
    NoSecret,
    /// Not a call of a forge at all.
    #[error("no header tells what happened: this is no call of a forge")]
    NoEventHeader,
    /// The call of a forge, but of another one.
    #[error("this is a call of {0}, and the source is for another forge")]
    OtherForge(&'static str),
    /// No event can be made of it; nothing that a call says leads here.
    #[error("no event can be made of the call: {0}")]
    NoEvent(#[from] Invalid),
    /// Too many calls.
    #[error("too many calls in a second")]
    TooMany(Duration),
    /// The sink has not taken the event.
    #[error(transparent)]
    Sink(#[from] NotTaken),
    /// The sink took too long.
    #[error("the sink did not take the event in time")]
    SinkTimeout,
}

/// When to come back where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

// === impl RefusedCall ===

impl RefusedCall {
    /// The answer.
    pub(super) fn problem(&self) -> Problem {
        let problem = |status, code| Problem::new(status, code, self.to_string());
        match self {
            Self::Method => problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").allow("POST"),
            Self::MediaType => problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"),
            Self::Encoding => problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding"),
            Self::Body(error) => error.problem(),
            Self::TooLarge(_) => problem(StatusCode::PAYLOAD_TOO_LARGE, "event-too-large"),
            Self::FormWithoutPayload => problem(StatusCode::BAD_REQUEST, "form-without-payload"),
            Self::BadJson(_) => problem(StatusCode::BAD_REQUEST, "bad-json"),
            Self::SignatureMissing => unauthorized(problem(StatusCode::UNAUTHORIZED, "signature-missing")),
            Self::SignatureWrong => unauthorized(problem(StatusCode::UNAUTHORIZED, "signature-wrong")),
            Self::SignatureStale => unauthorized(problem(StatusCode::UNAUTHORIZED, "signature-stale")),
            Self::NoSecret => problem(StatusCode::SERVICE_UNAVAILABLE, "no-secret").retry_after(SOON),
            Self::NoEventHeader => problem(StatusCode::BAD_REQUEST, "event-header-missing"),
            Self::OtherForge(_) => problem(StatusCode::BAD_REQUEST, "other-forge"),
            Self::NoEvent(_) => problem(StatusCode::BAD_REQUEST, "invalid-event"),
            Self::TooMany(wait) => {
                problem(StatusCode::TOO_MANY_REQUESTS, "too-many-calls").retry_after(*wait)
            }
            Self::Sink(refusal) => sink(refusal),
            Self::SinkTimeout => problem(StatusCode::SERVICE_UNAVAILABLE, "sink-timeout").retry_after(SOON),
        }
    }
}

/// Every 401 has to name a scheme (RFC 9110 §11.6.1); how the forges sign has no registered name.
fn unauthorized(problem: Problem) -> Problem {
    problem.header(WWW_AUTHENTICATE, HeaderValue::from_static("Webhook-Signature"))
}

fn sink(refusal: &NotTaken) -> Problem {
    let reason = refusal.reason.clone();
    if refusal.is_temporary {
        let wait = refusal.retry_after.unwrap_or(SOON);
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.code, reason).retry_after(wait);
    }
    let status = match refusal.code {
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, refusal.code, reason)
}
