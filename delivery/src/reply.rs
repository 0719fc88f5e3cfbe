//! Whether a 2xx carries a reply event. Only a 200 may, and only where one was asked for; everything else that stands in
//! the body of a 2xx changes nothing about the success.

use http::{HeaderMap, StatusCode};
use millrace_event::Event;
use millrace_event::http::{Limits, Mode, decode, mode};

use crate::Outcome;
use crate::exchange::Answer;

/// How deep the JSON of a reply may nest.
const JSON_DEPTH: usize = 128;

/// Whether an answer with this head may turn out to be a reply: then its whole body is worth reading.
pub(crate) fn announced(status: StatusCode, headers: &HeaderMap, wants_reply: bool) -> bool {
    wants_reply
        && status == StatusCode::OK
        && matches!(mode(headers), Ok(Some(Mode::Binary | Mode::Structured)))
}

/// The outcome of a 2xx.
pub(crate) fn accepted(answer: &Answer, wants_reply: bool, max_answer_bytes: usize) -> Outcome {
    if announced(answer.status, &answer.headers, wants_reply)
        && answer.body.is_whole()
        && let Some(event) = single(answer, max_answer_bytes)
    {
        return Outcome::Reply {
            event: Box::new(event),
        };
    }
    Outcome::Done {
        status: answer.status.as_u16(),
        odd_body: is_odd(answer, wants_reply),
        body: answer.body.first_bytes(),
    }
}

/// The one valid event of the answer.
fn single(answer: &Answer, max_answer_bytes: usize) -> Option<Event> {
    let limits = Limits {
        event_bytes: max_answer_bytes,
        batch_events: 1,
        json_depth: JSON_DEPTH,
    };
    match decode(&answer.headers, &answer.body.bytes(), &limits) {
        Ok(mut events) => events.pop().filter(|_| events.is_empty()),
        Err(invalid) => {
            tracing::debug!(%invalid, "the answer's event is broken");
            None
        }
    }
}

/// Something came that was perhaps meant as a reply and is not taken for one. Where none was asked for, an event in the
/// answer is not odd: nobody is misled about what becomes of it.
fn is_odd(answer: &Answer, wants_reply: bool) -> bool {
    let says_event = !matches!(mode(&answer.headers), Ok(None));
    if wants_reply {
        says_event || !answer.body.is_empty()
    } else {
        !says_event && !answer.body.is_empty()
    }
}
