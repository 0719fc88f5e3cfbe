//! The JSON event format (CloudEvents JSON 1.0.2), decoding without touching the data and encoding without altering it.

use bytes::Bytes;

use crate::http::{Limits, Outgoing};
use crate::{Event, Invalid};

/// One event from its JSON form.
pub fn decode(body: &Bytes, limits: &Limits) -> Result<Event, Invalid> {
    todo!()
}
/// A batch from its JSON form.
pub fn decode_batch(body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Invalid> {
    todo!()
}
/// The JSON form of one event.
pub fn encode(event: &Event, outgoing: &Outgoing<'_>) -> Bytes {
    todo!()
}
