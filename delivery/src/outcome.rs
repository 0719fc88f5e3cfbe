//! What an attempt came to: the table of statuses (Knative data plane, "Status codes"; CloudEvents webhook
//! for 410 and 415).

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use millrace_event::{Clock, Refusal};

use crate::exchange::Answer;
use crate::metrics::Class;
use crate::reply::{self, BadReply, Reply};
use crate::retry_after;

/// How much of an answer's body is kept, in bytes: for the history, and for `knativeerrordata`.
pub const BODY_KEPT: usize = 1_024;

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered (any 2xx).
    Done {
        /// The status, where the target answers with one.
        status: Option<u16>,
        /// The answer had a body that was not taken for a reply although it may have been meant as one: it is
        /// not a CloudEvent, or it came with another status than 200.
        odd_body: bool,
        /// The first 1 024 bytes of the answer's body, for the history.
        body: Bytes,
    },
    /// Delivered, and the 200 carried a CloudEvent or a batch of them. Boxed, since most answers have none.
    Reply(Box<Reply>),
    /// Delivered, but the 200 claims to be a CloudEvent and cannot be taken: no later attempt would change
    /// that.
    BadReply(Box<BadReply>),
    /// Not delivered.
    Failed(Failure),
    /// Not delivered: the intake of a Broker of this mesh refused the event. As a [`Failure`] it says what to
    /// do next.
    Refused(Refusal),
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do next.
    pub verdict: Verdict,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// A sentence for people, e.g. `connection refused`, `no answer within 30 s`, `503 Service Unavailable`.
    pub reason: String,
    /// The first 1 024 bytes of the answer's body.
    pub body: Bytes,
    /// What the answer's Retry-After asked for (429 and 503 only; nonsense is ignored).
    pub retry_after: Option<Duration>,
    /// It is this event that the target does not take. Any other failure (an expired login, a redirect, an
    /// address that may not be connected to) holds for all events.
    pub is_about_event: bool,
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No answer, 404, 408, 409, 429, 5xx or an unknown code: try again by the policy.
    Again,
    /// Any other answer (1xx, 3xx, 400, 401, 403, 410, 415, ...), or a target we refuse to connect to: final.
    Final,
}

// === impl Outcome ===

impl Outcome {
    /// What an answer means. A Retry-After date is held against the clock.
    pub(crate) fn of(answer: &Answer, wants_reply: bool, max_answer_bytes: usize, clock: &Clock) -> Self {
        match verdict(answer.status) {
            None => reply::accepted(answer, wants_reply, max_answer_bytes),
            Some(verdict) => Self::Failed(Failure {
                verdict,
                status: Some(answer.status.as_u16()),
                reason: in_words(answer.status),
                body: answer.body.first_bytes(),
                retry_after: retry_after::asked(answer.status, &answer.headers, clock.now()),
                is_about_event: matches!(answer.status.as_u16(), 400 | 413 | 415 | 422 | 431),
            }),
        }
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Done { odd_body: false, .. } => Class::Delivered,
            Self::Done { odd_body: true, .. } => Class::DeliveredOddBody,
            Self::Reply(_) => Class::Reply,
            Self::BadReply(_) => Class::BadReply,
            Self::Failed(failure) => failure.verdict.class(),
            Self::Refused(refusal) => Verdict::from(refusal).class(),
        }
    }
}

// === impl Failure ===

impl Failure {
    /// A failure without an answer.
    pub fn without_answer(verdict: Verdict, reason: String) -> Self {
        Self {
            verdict,
            status: None,
            reason,
            body: Bytes::new(),
            retry_after: None,
            is_about_event: false,
        }
    }
}

impl From<Refusal> for Failure {
    /// No room counts as a 503. The others have no status.
    fn from(refusal: Refusal) -> Self {
        let failure = Self::without_answer(Verdict::from(&refusal), refusal.to_string());
        match refusal {
            Refusal::Full { retry_after, .. } => Self {
                status: Some(503),
                retry_after: Some(retry_after),
                ..failure
            },
            Refusal::UnknownBroker(_)
            | Refusal::TooLarge(_)
            | Refusal::Looping
            | Refusal::NotAllowed { .. }
            | Refusal::Unavailable { .. } => failure,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// As what a failed attempt counts.
    fn class(self) -> Class {
        match self {
            Self::Again => Class::Failed,
            Self::Final => Class::Rejected,
        }
    }
}

impl From<&Refusal> for Verdict {
    fn from(refusal: &Refusal) -> Self {
        if refusal.is_temporary() {
            Self::Again
        } else {
            Self::Final
        }
    }
}

/// The table: `None` is delivered. Codes of 600 and above are unknown to everybody, so they may pass.
fn verdict(status: StatusCode) -> Option<Verdict> {
    match status.as_u16() {
        200..=299 => None,
        404 | 408 | 409 | 429 | 500.. => Some(Verdict::Again),
        _ => Some(Verdict::Final),
    }
}

/// `503 Service Unavailable`, or the number alone where it has no name.
fn in_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_verdict() {
        let again = [404, 408, 409, 429];
        for code in 100..=999_u16 {
            let expected = match code {
                200..=299 => None,
                code if again.contains(&code) || code >= 500 => Some(Verdict::Again),
                _ => Some(Verdict::Final),
            };
            assert_eq!(
                verdict(StatusCode::from_u16(code).expect("a status")),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn a_status_is_told_by_number_and_name() {
        for (code, expected) in [
            (503, "503 Service Unavailable"),
            (410, "410 Gone"),
            (599, "599"),
            (799, "799"),
        ] {
            assert_eq!(in_words(StatusCode::from_u16(code).expect("a status")), expected);
        }
    }
}
