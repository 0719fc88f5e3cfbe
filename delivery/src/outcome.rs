//! What an attempt came to.

use std::time::Duration;

use bytes::Bytes;
use millrace_event::Event;

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered (any 2xx).
    Done {
        /// The status.
        status: u16,
        /// The answer had a body that is not a CloudEvent (or a broken one), which counts as success.
        odd_body: bool,
        /// The first bytes of the answer's body, for the history.
        body: Bytes,
    },
    /// Delivered, and the 200 carried a CloudEvent.
    Reply {
        /// The reply; boxed, since most answers have none.
        event: Box<Event>,
    },
    /// Not delivered.
    Failed(Failure),
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do next.
    pub verdict: Verdict,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// A sentence for people, e.g. `connection refused`, `no answer within 30s`, `503 Service Unavailable`.
    pub reason: String,
    /// The first 1 024 bytes of the answer's body.
    pub body: Bytes,
    /// What the answer's Retry-After asked for (429 and 503 only; nonsense is ignored).
    pub retry_after: Option<Duration>,
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No answer, 404, 408, 409, 429, 5xx or an unknown code: try again by the policy.
    Again,
    /// Any other answer (1xx, 3xx, 400, 401, 403, 410, 415, ...), or a target we refuse to connect to: final.
    Final,
}
