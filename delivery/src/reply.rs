//! Whether a 2xx carries replies. Only a 200 may, and only where a reply was asked for. A 200 that claims to
//! be a CloudEvent and cannot be taken is a reply refused for good, and is kept. Any other body of a 2xx
//! changes nothing about the success.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use millrace_event::http::{Limits, decode};
use millrace_event::invalid::Fault;
use millrace_event::{Event, Invalid};

use crate::Outcome;
use crate::exchange::Answer;

/// The events of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One event, or those of a batch in order; never none.
    pub events: Vec<Event>,
    /// The answer as it came, if it is a batch: a batch is refused as a whole.
    pub came: Option<Came>,
}

/// An answer that claims to be a CloudEvent and cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadReply {
    /// What is wrong, and with which header or member.
    pub invalid: Invalid,
    /// The answer as it came.
    pub came: Came,
}

/// The contents of an answer, as they came, kept so that people can look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Its Content-Type.
    pub media_type: Option<String>,
    /// The values of its `ce-` headers, by their names without `ce-`, as far as they are ASCII.
    pub attributes: Vec<(String, String)>,
    /// Its body, as far as it was read.
    pub body: Bytes,
}

/// The outcome of a 2xx.
pub(crate) fn accepted(answer: &Answer, wants_reply: bool, max_answer_bytes: usize) -> Outcome {
    if answer.announces_reply(wants_reply) {
        match read(answer, max_answer_bytes) {
            // An empty batch is valid and has no event.
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                let came = (events.len() > 1).then(|| Came::of(answer));
                return Outcome::Reply(Box::new(Reply { events, came }));
            }
            Err(invalid) => {
                let came = Came::of(answer);
                return Outcome::BadReply(Box::new(BadReply { invalid, came }));
            }
        }
        return done(answer, false);
    }
    done(answer, is_odd(answer, wants_reply))
}

fn done(answer: &Answer, odd_body: bool) -> Outcome {
    Outcome::Done {
        status: Some(answer.status.as_u16()),
        odd_body,
        body: answer.body.first_bytes(),
    }
}

/// The valid events of the answer.
fn read(answer: &Answer, max_answer_bytes: usize) -> Result<Vec<Event>, Invalid> {
    if !answer.body.is_whole() {
        return Err(Invalid {
            fault: Fault::EventTooLarge,
            field: None,
            message: format!("the answer is larger than {max_answer_bytes} bytes"),
        });
    }
    let limits = Limits {
        event_bytes: max_answer_bytes,
        ..Limits::default()
    };
    decode(&answer.headers, &answer.body.bytes(), &limits)
}

/// Something came that was perhaps meant as a reply and is not taken for one. Where none was asked for, an
/// event in the answer is not odd: nobody is misled about what becomes of it.
fn is_odd(answer: &Answer, wants_reply: bool) -> bool {
    if wants_reply {
        answer.says_event || !answer.body.is_empty()
    } else {
        !answer.says_event && !answer.body.is_empty()
    }
}

// === impl Came ===

impl Came {
    fn of(answer: &Answer) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
        let attributes = answer.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("ce-")?;
            Some((name.to_owned(), text(value)?))
        });
        Self {
            media_type: answer.headers.get(CONTENT_TYPE).and_then(text),
            attributes: attributes.collect(),
            body: answer.body.bytes(),
        }
    }
}
