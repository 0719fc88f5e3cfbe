//! OPTIONS: which methods there are, and the consent that senders of webhooks ask for before they send
//! (CloudEvents HTTP 1.1 Web Hooks §4).
//!
//! Who asks has logged in as for sending, and their origin is one that the access file allows: otherwise they
//! are refused before. Deliveries that name an origin are asked about it too.

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

/// The names that a sender of webhooks gives itself. There is one, or none.
pub(super) fn origins(asked: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    asked.get_all(REQUEST_ORIGIN).iter().map(HeaderValue::as_bytes)
}

/// The consent to who asks for it, with the requests a minute that the limits let through; `None`: any
/// number. A limit is said also to who does not ask for a rate, so that nobody has to find out by 429.
pub(super) fn answer(asked: &HeaderMap, rate: Option<u64>) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    let Some(origin) = asked.get(REQUEST_ORIGIN) else {
        return response;
    };
    headers.insert(ALLOWED_ORIGIN, origin.clone());
    let rate = match rate {
        Some(rate) => Some(HeaderValue::from(rate)),
        None => asked.get(REQUEST_RATE).map(|_| HeaderValue::from_static("*")),
    };
    if let Some(rate) = rate {
        headers.insert(ALLOWED_RATE, rate);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_given_to_who_asks_with_the_rate_that_the_limits_let_through() {
        let plain = answer(&HeaderMap::new(), Some(60));
        assert_eq!(plain.status(), StatusCode::OK);
        assert_eq!(plain.headers()[ALLOW], METHODS);
        assert_eq!(plain.headers().len(), 1);

        let mut asked = HeaderMap::new();
        asked.insert(REQUEST_ORIGIN, HeaderValue::from_static("sender.example.com"));
        let consent = answer(&asked, None);
        assert_eq!(consent.headers()[ALLOWED_ORIGIN], "sender.example.com");
        assert!(!consent.headers().contains_key(ALLOWED_RATE));
        assert_eq!(answer(&asked, Some(60)).headers()[ALLOWED_RATE], "60");

        asked.insert(REQUEST_RATE, HeaderValue::from_static("120"));
        assert_eq!(answer(&asked, None).headers()[ALLOWED_RATE], "*");
        assert_eq!(answer(&asked, Some(60)).headers()[ALLOWED_RATE], "60");
    }
}
