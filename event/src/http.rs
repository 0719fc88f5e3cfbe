//! The HTTP protocol binding (CloudEvents HTTP 1.0.2): binary, structured and batched content mode.
//!
//! The folder follows a message: which mode it is in ([`mode()`]), what its header values spell (`percent`),
//! how a binary message becomes an event (`read`), which other headers go along (`passed`), and how an event
//! is written (`write`).

mod mode;
mod names;
mod passed;
pub(crate) mod percent;
mod read;
mod write;

use bytes::Bytes;
use http::HeaderMap;

use crate::hops::TTL;
use crate::{Event, Invalid, json};

pub use mode::{Mode, is_claimed, mode};
pub(crate) use write::json_spelled_base64;
pub use write::{write_binary, write_structured};

/// What is not to be exceeded while decoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Decoded data of one event, in bytes.
    pub event_bytes: usize,
    /// Events of a batch.
    pub batch_events: usize,
    /// Depth of nesting of a JSON body: how many objects and arrays may be open at once.
    pub json_depth: usize,
}

/// How an event is written for a target. Its own `knativebrokerttl` never goes along: that is the mesh's
/// business.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Attributes to add to the event's own, replacing those of the same name. One whose name is not
    /// `[a-z0-9]+` is left out.
    pub extra: &'a [(&'a str, &'a str)],
    /// The `knativebrokerttl` that goes along, where the event may come back from there ([`crate::hops`]).
    pub ttl: Option<&'a str>,
}

// === impl Limits ===

impl Default for Limits {
    /// The limits: 1 MiB of data, 1 000 events a batch, and 128 levels of nesting.
    fn default() -> Self {
        Self {
            event_bytes: 1024 * 1024,
            batch_events: 1000,
            json_depth: 128,
        }
    }
}

// === impl Outgoing ===

impl Outgoing<'_> {
    /// Whether the event's own attribute of that name is written: it is neither replaced nor the mesh's own
    /// business.
    fn keeps(&self, name: &str) -> bool {
        name != TTL && !self.replaces(name)
    }

    fn replaces(&self, name: &str) -> bool {
        self.extra.iter().any(|(extra, _)| *extra == name)
    }

    /// The event's own attributes that are written, but for `specversion`.
    pub(crate) fn own<'e>(&self, event: &'e Event) -> impl Iterator<Item = crate::stored::Row> + use<'e, '_> {
        let this = *self;
        let rows = event.layout().rows(event.stored());
        rows.filter(move |row| this.keeps(event.text(row.name.clone())))
    }

    /// The attributes that are added, each name once: the last one counts.
    pub(crate) fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra;
        let added = extra
            .iter()
            .enumerate()
            .filter_map(move |(index, &(name, value))| {
                let last = !extra[index + 1..].iter().any(|(later, _)| *later == name);
                let good = crate::rules::check_name(name).is_ok() && !matches!(name, TTL | "specversion");
                (last && good).then_some((name, value))
            });
        added.chain(self.ttl.map(|ttl| (TTL, ttl)))
    }
}

/// Decodes one message; a batch gives several events (or none).
///
/// Headers of the mesh's list are kept with each event, to be passed on to subscribers.
///
/// # Errors
/// [`Invalid`] with the header or JSON member at fault. A message without any mark of a CloudEvent is
/// [`Fault::NotAnEvent`](crate::invalid::Fault::NotAnEvent).
pub fn decode(headers: &HeaderMap, body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Invalid> {
    let (mode, content_type) = mode::examine(headers)?;
    let mode = mode.ok_or_else(mode::not_an_event)?;
    mode::check_coding(headers)?;
    match mode {
        Mode::Binary => Ok(vec![read::binary(
            headers,
            content_type.as_deref(),
            body,
            limits,
        )?]),
        Mode::Structured => Ok(vec![json::decode_one(body, limits, &passed::list(headers))?]),
        Mode::Batch => json::decode_many(body, limits, &passed::list(headers)),
    }
}
