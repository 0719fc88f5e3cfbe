//! OPTIONS: which methods there are, and the consent that senders of webhooks ask for before they send
//! (CloudEvents HTTP 1.1 Web Hooks §4).

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use millrace_serve::empty;

/// The methods of a broker.
pub(super) const METHODS: &str = "POST, OPTIONS";

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The answer: every origin that asks may send, at any rate. What is too much is answered when it comes
/// (503).
pub(super) fn answer(asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    if let Some(origin) = asked.get(REQUEST_ORIGIN) {
        headers.insert(ALLOWED_ORIGIN, origin.clone());
    }
    if asked.contains_key(REQUEST_RATE) {
        headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_given_to_who_asks_for_what_is_asked() {
        let plain = answer(&HeaderMap::new());
        assert_eq!(plain.status(), StatusCode::OK);
        assert_eq!(plain.headers()[ALLOW], METHODS);
        assert_eq!(plain.headers().len(), 1);

        let mut asked = HeaderMap::new();
        asked.insert(REQUEST_ORIGIN, HeaderValue::from_static("sender.example.com"));
        let consent = answer(&asked);
        assert_eq!(consent.headers()[ALLOWED_ORIGIN], "sender.example.com");
        assert!(!consent.headers().contains_key(ALLOWED_RATE));

        asked.insert(REQUEST_RATE, HeaderValue::from_static("120"));
        assert_eq!(answer(&asked).headers()[ALLOWED_RATE], "*");
    }
}
