//! The HTTP protocol binding (CloudEvents HTTP 1.0.2): binary, structured and batched content mode.

use bytes::Bytes;
use http::HeaderMap;

use crate::{Event, Invalid};

/// The three content modes of a request, told by its Content-Type (case-insensitive, batch first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in `ce-` headers, data in the body.
    Binary,
    /// One event as JSON in the body.
    Structured,
    /// An array of events as JSON in the body.
    Batch,
}

/// What is not to be exceeded while decoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Decoded data of one event, in bytes.
    pub event_bytes: usize,
    /// Events of a batch.
    pub batch_events: usize,
    /// Depth of nesting of a JSON body.
    pub json_depth: usize,
}

/// How an event is written for a subscriber.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Keep `knativebrokerttl` (only for Brokers of this mesh), with this value when given; else it is left out.
    pub ttl: Option<u32>,
    /// Attributes to add to the event's own, replacing those of the same name.
    pub extra: &'a [(&'a str, &'a str)],
}

/// The mode of a message with these headers; `None` when it is no CloudEvent at all (no CloudEvents media type and no `ce-specversion`-like header).
pub fn mode(headers: &HeaderMap) -> Result<Option<Mode>, Invalid> {
    todo!()
}
/// Decodes one message; a batch gives several events (or none).
pub fn decode(headers: &HeaderMap, body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Invalid> {
    todo!()
}
/// Adds the `ce-` headers, Content-Type and passed-on headers of binary mode; the body is `event.data()`.
pub fn write_binary(event: &Event, outgoing: &Outgoing<'_>, headers: &mut HeaderMap) {
    todo!()
}
/// The body of structured mode; Content-Type is `application/cloudevents+json; charset=utf-8`.
pub fn write_structured(event: &Event, outgoing: &Outgoing<'_>) -> Bytes {
    todo!()
}
