//! What a refusal looks like: problem details (RFC 9457) with a stable code, so that people and programs can
//! tell what was wrong. And the few plain answers that every listener gives.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// A refusal. `type` is `https://millrace.dev/errors/` and the code: a name first of all, whether or not it
/// can be opened; `docs/reference/errors.md` lists the codes.
///
/// ```
/// # use millrace_serve::Problem;
/// # use http::StatusCode;
/// let response = Problem::new(StatusCode::BAD_REQUEST, "missing-attribute", "the attribute is required")
///     .field("ce-id")
///     .into_response();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    /// A list and not a map: there are hardly ever two, and a map would make the value too large to hand
    /// around.
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// The names of problems begin so.
const TYPE: &str = "https://millrace.dev/errors/";

// === impl Problem ===

impl Problem {
    /// A refusal with a stable code and a sentence for people. The sentence must not repeat what a client
    /// sent.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            headers: Vec::new(),
        }
    }

    /// Names the header, member or attribute at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says when to come back, in whole seconds, rounded up and at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Says which methods are allowed.
    #[must_use]
    pub fn allow(self, methods: &'static str) -> Self {
        self.header(ALLOW, HeaderValue::from_static(methods))
    }

    /// Ends the connection after the answer, as when the request's body was not read.
    #[must_use]
    pub fn closing(self) -> Self {
        self.header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Adds or replaces a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The answer. For HEAD hyper leaves the body out by itself.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let wire = Wire {
            kind: format!("{TYPE}{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            field: self.field.as_deref(),
        };
        let body = serde_json::to_vec(&wire).expect("invariant: strings and numbers are always JSON");
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        response
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn text(response: Response<Full<Bytes>>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_names_type_title_status_detail_code_and_field() {
        let problem =
            Problem::new(StatusCode::BAD_REQUEST, "bad-json", "a \"quoted\" sentence").field("time");
        assert_eq!(
            text(problem.into_response()).await,
            r#"{"type":"https://millrace.dev/errors/bad-json","title":"Bad Request","status":400,"detail":"a \"quoted\" sentence","code":"bad-json","field":"time"}"#
        );
        let without = text(Problem::new(StatusCode::NOT_FOUND, "x", "y").into_response()).await;
        assert!(!without.contains("field"), "{without}");
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (wait, told) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (600_000, "600")] {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", "full");
            let response = problem.retry_after(Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], told, "{wait} ms");
        }
    }

    #[test]
    fn headers_of_a_problem_reach_the_answer() {
        let response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "no")
            .allow("POST, OPTIONS")
            .closing()
            .into_response();
        assert_eq!(response.headers()[ALLOW], "POST, OPTIONS");
        assert_eq!(response.headers()[CONNECTION], "close");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
