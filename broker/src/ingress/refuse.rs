//! What each refusal looks like over HTTP: its status and headers.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use millrace_access::{Identity, PolicyFault};
use millrace_event::http::{self as binding, Mode};
use millrace_event::invalid::Fault;
use millrace_event::{Invalid, Refusal, hops};
use millrace_model::event_policy::Ruling;
use millrace_serve::{BodyError, Problem};

use super::handshake::METHODS;

/// When to come back if the refusal does not say so itself.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn method() -> Problem {
    let detail = "events are sent with POST; OPTIONS tells what is allowed";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).allow(METHODS)
}

pub(super) fn path() -> Problem {
    let detail = "there is nothing at this path; events are sent to /{namespace}/{broker}";
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

pub(super) fn unknown_broker() -> Problem {
    let detail = "there is no broker of that namespace and name";
    Problem::new(StatusCode::NOT_FOUND, "unknown-broker", detail)
}

/// The content mode, or why the request is no event that can be read.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    match binding::mode(headers) {
        Ok(Some(mode)) => Ok(mode),
        Ok(None) => Err(not_an_event()),
        Err(fault) => Err(invalid(fault)),
    }
}

fn not_an_event() -> Problem {
    let message = "this is not a CloudEvent: it has neither ce- headers nor a Content-Type of \
                   application/cloudevents+json or application/cloudevents-batch+json";
    invalid(Invalid {
        fault: Fault::NotAnEvent,
        field: None,
        message: message.to_owned(),
    })
}

pub(super) fn invalid(invalid: Invalid) -> Problem {
    let status = StatusCode::from_u16(invalid.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, invalid.code(), invalid.message);
    match invalid.field {
        Some(field) => problem.field(field),
        None => problem,
    }
}

/// A body over the limit has the code that the same event would have had if it had been decoded.
pub(super) fn body(error: &BodyError, mode: Mode) -> Problem {
    let BodyError::TooLarge { limit } = error else {
        return error.problem();
    };
    let (fault, what) = match mode {
        Mode::Binary | Mode::Structured => (Fault::EventTooLarge, "the event"),
        Mode::Batch => (Fault::BatchTooLarge, "the batch"),
    };
    let detail = format!("{what} is too large: its body has more than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, fault.code(), detail).closing()
}

pub(super) fn refusal(refusal: &Refusal) -> Problem {
    let problem = |status| Problem::new(status, refusal.code(), refusal.to_string());
    match refusal {
        Refusal::UnknownBroker(_) => unknown_broker(),
        Refusal::TooLarge(_) => problem(StatusCode::PAYLOAD_TOO_LARGE),
        Refusal::Looping => problem(StatusCode::BAD_REQUEST).field(hops::TTL),
        Refusal::NotAllowed { .. } => problem(StatusCode::FORBIDDEN),
        Refusal::Full { retry_after, .. } => {
            problem(StatusCode::SERVICE_UNAVAILABLE).retry_after(*retry_after)
        }
        Refusal::Unavailable { .. } => problem(StatusCode::SERVICE_UNAVAILABLE).retry_after(SOON),
    }
}

/// No policy lets who calls send this.
pub(super) fn policy(who: Identity, ruling: &Ruling) -> millrace_access::Refusal {
    let fault = match ruling {
        Ruling::DeniedByDefault(_) => PolicyFault::Default,
        Ruling::NoneAllows | Ruling::AllowedBy(_) | Ruling::AllowedByDefault(_) => PolicyFault::NoneAllows,
    };
    millrace_access::Refusal::Policy(who, fault)
}

#[cfg(test)]
mod tests {
    use millrace_event::ObjectName;

    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        let full = |code| Refusal::Full {
            code,
            reason: "full".into(),
            retry_after: Duration::from_secs(7),
        };
        let unavailable = |code| Refusal::Unavailable {
            code,
            reason: "not now".into(),
        };
        let table = [
            (Refusal::UnknownBroker(ObjectName::new("a", "b")), 404, None),
            (Refusal::TooLarge("too large".into()), 413, None),
            (Refusal::Looping, 400, None),
            (full("disk-full"), 503, Some("7")),
            (full("backlog-full"), 503, Some("7")),
            (unavailable("storage-failed"), 503, Some("1")),
        ];
        for (from, status, retry_after) in table {
            let problem = refusal(&from);
            assert_eq!(problem.code(), from.code());
            let response = problem.into_response();
            assert_eq!(response.status(), status, "{from:?}");
            let told = response
                .headers()
                .get("retry-after")
                .map(|value| value.to_str().unwrap());
            assert_eq!(told, retry_after, "{from:?}");
        }
    }

    #[test]
    fn every_fault_of_an_event_is_told_with_its_own_status_and_code() {
        for fault in Fault::ALL {
            let from = Invalid {
                fault,
                field: Some("ce-time".into()),
                message: "so it is".into(),
            };
            let problem = invalid(from);
            assert_eq!(
                (problem.status().as_u16(), problem.code()),
                (fault.status(), fault.code())
            );
        }
    }
}
