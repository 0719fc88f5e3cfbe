//! The request of an attempt.

use std::time::Duration;

use http::Uri;
use millrace_event::Event;
use millrace_event::http::Outgoing;
use millrace_model::Format;

/// What to send, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where to: absolute `http` or `https`.
    pub uri: &'a Uri,
    /// What.
    pub event: &'a Event,
    /// Changes to it on the wire: the TTL for a Broker of this mesh, the attributes of a dead letter.
    pub outgoing: Outgoing<'a>,
    /// The content mode.
    pub format: Format,
    /// The trigger's namespace, sent as `Kn-Namespace`.
    pub namespace: &'a str,
    /// Send `Prefer: reply` and take a CloudEvent in a 200 as a reply (deliveries to subscribers; not dead letters).
    pub wants_reply: bool,
    /// The longest the attempt may take, connecting included.
    pub timeout: Duration,
}
