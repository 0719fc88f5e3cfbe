//! When the target asks to be tried again: the Retry-After header (RFC 9110 §10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode, header};
use millrace_event::Timestamp;

/// How long the answer asks to wait from `now` on: seconds, or an HTTP date in one of its three forms. Only
/// 429 and 503 are listened to. A date in the past is zero; nonsense is as if the header were not there.
pub(crate) fn asked(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still a number: the longest wait there is, for the policy to cap.
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    let date = Timestamp(i64::try_from(date.as_millis()).ok()?);
    Some(date.since(now))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// 1994-11-06T08:49:37Z, the date of the RFC's examples.
    const EXAMPLE: Timestamp = Timestamp(784_111_777_000);

    fn headers(value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(header::RETRY_AFTER, value);
        }
        headers
    }

    #[test]
    fn seconds_and_dates_are_understood_and_nonsense_is_ignored() {
        let half_a_minute_before = Timestamp(EXAMPLE.0 - 30_000);
        let cases: [(&str, Option<Duration>); 19] = [
            ("0", Some(Duration::ZERO)),
            ("7", Some(Duration::from_secs(7))),
            (" 120 ", Some(Duration::from_secs(120))),
            ("18446744073709551615", Some(Duration::from_secs(u64::MAX))),
            ("99999999999999999999999", Some(Duration::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(Duration::from_secs(30))),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(Duration::from_secs(30))),
            ("Sun Nov  6 08:49:37 1994", Some(Duration::from_secs(30))),
            ("Sun, 06 Nov 1994 08:49:06 GMT", Some(Duration::ZERO)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(Duration::ZERO)),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("1e3", None),
            ("5 seconds", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("1994-11-06T08:49:37Z", None),
        ];
        for (value, expected) in cases {
            let got = asked(
                StatusCode::TOO_MANY_REQUESTS,
                &headers(value.as_bytes()),
                half_a_minute_before,
            );
            assert_eq!(got, expected, "{value:?}");
        }
    }

    #[test]
    fn only_429_and_503_are_listened_to() {
        for (status, expected) in [
            (429, true),
            (503, true),
            (500, false),
            (202, false),
            (408, false),
            (404, false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                asked(status, &headers(b"5"), EXAMPLE).is_some(),
                expected,
                "{status}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value: Vec<u8>, now: i64) {
            let _ = asked(StatusCode::SERVICE_UNAVAILABLE, &headers(&value), Timestamp(now));
        }
    }
}
