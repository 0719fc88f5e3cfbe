//! The JSON event format (CloudEvents JSON 1.0.2), decoding without touching the data and encoding without
//! altering it.
//!
//! The folder follows a body: its members and how deep they nest (`members`), how they become an event
//! (`read`), how a batch becomes several (`batch`), and how an event is written (`write`).

mod batch;
mod members;
mod read;
mod write;

use bytes::Bytes;

use crate::http::{Limits, Outgoing};
use crate::invalid::Fault;
use crate::{Event, Invalid};

/// Names and values of transport headers that go along with the event.
type Passed<'a> = [(&'a str, &'a [u8])];

/// One event from its JSON form.
///
/// # Errors
/// [`Invalid`] with the member at fault. Never panics, whatever the octets; nothing in it recurses into the
/// data.
pub fn decode(body: &Bytes, limits: &Limits) -> Result<Event, Invalid> {
    decode_one(body, limits, &[])
}

/// A batch from its JSON form. An empty array is an empty batch.
///
/// # Errors
/// As [`decode`]; the member at fault is told as `[3].time`. A batch of events of different versions is
/// refused.
pub fn decode_batch(body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Invalid> {
    decode_many(body, limits, &[])
}

/// The JSON form of one event. Data that is JSON stands in it as its own text, byte for byte; text stands as
/// a string; everything else as Base64.
pub fn encode(event: &Event, outgoing: &Outgoing<'_>) -> Bytes {
    write::event(event, outgoing)
}

/// As [`decode`], with headers that go along.
pub(crate) fn decode_one(body: &Bytes, limits: &Limits, passed: &Passed<'_>) -> Result<Event, Invalid> {
    let text = checked_text(body, limits)?;
    read::event(text, body, limits, passed)
}

/// As [`decode_batch`], with headers that go along with each event.
pub(crate) fn decode_many(body: &Bytes, limits: &Limits, passed: &Passed<'_>) -> Result<Vec<Event>, Invalid> {
    let text = checked_text(body, limits)?;
    batch::events(text, body, limits, passed)
}

/// Refuses data that is larger than the limit.
pub(crate) fn check_data_size(size: usize, limits: &Limits) -> Result<(), Invalid> {
    if size <= limits.event_bytes {
        return Ok(());
    }
    let message = format!("the event's data is larger than {} bytes", limits.event_bytes);
    Err(Invalid::of(Fault::EventTooLarge, "data", message))
}

/// The body as text, if it is UTF-8 and not nested too deep.
fn checked_text<'a>(body: &'a Bytes, limits: &Limits) -> Result<&'a str, Invalid> {
    let text = str::from_utf8(body).map_err(|_| Invalid::new(Fault::NotUtf8, "the body is not UTF-8"))?;
    if members::deeper_than(text, limits.json_depth) {
        let message = format!("the body is nested deeper than {} levels", limits.json_depth);
        return Err(Invalid::new(Fault::JsonTooDeep, message));
    }
    Ok(text)
}
