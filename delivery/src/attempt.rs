//! The request of an attempt: what the dispatcher asks for, and how it stands on the wire.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use millrace_event::http::{Outgoing, write_binary, write_structured};
use millrace_event::{Event, Origin, Timestamp};
use millrace_model::Format;

use crate::auth::{Sender, Shown};
use crate::no_answer::NoAnswer;

/// What to send, and how. [`crate::target`] knows where to.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What.
    pub event: &'a Event,
    /// Where the event comes from, which a Broker of this mesh is told. From within the mesh it carries on
    /// how many Brokers it may still pass.
    pub origin: Origin,
    /// Changes to it on its way: the attributes of a dead letter.
    pub outgoing: Outgoing<'a>,
    /// The content mode, where it leaves by HTTP. Data that is itself a CloudEvent leaves in structured mode
    /// in any case ([`write_binary`]).
    pub format: Format,
    /// The namespace of the trigger or source, sent as `Kn-Namespace`.
    pub namespace: &'a str,
    /// Send `Prefer: reply` and take a CloudEvent in a 200 as a reply (deliveries to subscribers; not dead
    /// letters).
    pub wants_reply: bool,
    /// The longest an attempt by HTTP may take, connecting included.
    pub timeout: Duration,
    /// As whom it is sent, where the target is shown that.
    pub sender: Option<Sender<'a>>,
}

const KN_NAMESPACE: HeaderName = HeaderName::from_static("kn-namespace");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const REPLY: HeaderValue = HeaderValue::from_static("reply");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION")));
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

// === impl Request ===

impl Request<'_> {
    /// The HTTP request, in origin form, with what it shows now. `headers` is an empty map to fill: the
    /// connection hands in its last one, which saves growing a new one for each delivery.
    ///
    /// # Errors
    /// When what it has to show cannot be put on it.
    pub(crate) fn http(
        &self,
        uri: &Uri,
        host: HeaderValue,
        mut headers: HeaderMap,
        shown: Option<(&Shown, Timestamp)>,
    ) -> Result<http::Request<Full<Bytes>>, NoAnswer> {
        let format = match shown {
            Some((shown, _)) if shown.signs_body() => Format::Json,
            Some(_) | None => self.format,
        };
        let body = match format {
            Format::Binary => write_binary(self.event, &self.outgoing, &mut headers),
            Format::Json => write_structured(self.event, &self.outgoing, &mut headers),
        };
        // Ours come last, so that no header which an event brought along can stand in for them.
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, AGENT);
        // A compressed reply could not be taken, and a compressed error message could not be read.
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Ok(namespace) = HeaderValue::from_str(self.namespace) {
            headers.insert(KN_NAMESPACE, namespace);
        }
        if self.wants_reply {
            headers.insert(PREFER, REPLY);
        }
        if let (Some((shown, now)), Some(sender)) = (shown, &self.sender) {
            shown.put_on(&mut headers, (uri, &body), self.event, sender, now)?;
        }
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = origin_form(uri);
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Path and query, as they stand after a request's method; `/` where the URL has none.
pub(crate) fn origin_form(uri: &Uri) -> Uri {
    Uri::from(
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_line_carries_path_and_query_only() {
        for (url, expected) in [
            ("http://a.example", "/"),
            ("http://a.example/", "/"),
            ("http://a.example?x=1", "/?x=1"),
            ("http://a.example:81/b/c?x=1&y=%20", "/b/c?x=1&y=%20"),
            ("https://u:p@a.example/b", "/b"),
        ] {
            assert_eq!(
                origin_form(&url.parse().expect(url)).to_string(),
                expected,
                "{url}"
            );
        }
    }
}
