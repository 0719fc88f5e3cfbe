//! One HTTP request and its answer, for the commands that ask a server. It is bounded in time and size, and
//! its errors distinguish what a script must distinguish. hyper-util's client carries it, over http or
//! https.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::time::timeout;

use crate::cli::stream::Lines;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may take from connecting to the end of its answer.
const WHOLE: Duration = Duration::from_secs(60);
/// The longest answer.
const MAX_ANSWER: usize = 64 << 20;

/// Who makes requests: over which connections, and what shows who it is. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// A request to be made, perhaps more than once.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    caller: Caller,
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body has only begun.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) status: StatusCode,
    pub(crate) lines: Lines,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// There was no connection, so nothing was sent.
    #[error("{authority} cannot be reached: {reason}")]
    Unreachable { authority: String, reason: String },
    /// It is unknown what became of the request.
    #[error("{authority} gave no answer: {reason}")]
    Lost { authority: String, reason: String },
}

/// A refusal as RFC 9457 says it, as far as it is one.
#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(crate) struct Refusal {
    pub(crate) code: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) field: Option<String>,
}

/// Reads a URL of a flag. Nothing that may be a password in it is repeated.
pub(crate) fn url(flag: &str, text: &str) -> anyhow::Result<Uri> {
    let read = text.parse::<Uri>();
    let has_user = |uri: &Uri| {
        uri.authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
    };
    match read {
        Ok(uri) if has_user(&uri) => {
            anyhow::bail!("{flag} has a user name in its URL; show who asks with --token-file")
        }
        Err(_) if text.contains('@') => anyhow::bail!("{flag} is not a URL, or has a user name in it"),
        _ => {}
    }
    let uri = read.with_context(|| format!("{flag} {text} is not a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => anyhow::bail!("{flag} {text} is not a URL; write for example http://127.0.0.1:8080"),
    }
}

/// `base` with other path segments behind its own.
pub(crate) fn below(base: &Uri, path: &str) -> anyhow::Result<Uri> {
    let authority = base.authority().context("a URL has a host")?;
    let scheme = base.scheme_str().context("a URL has a scheme")?;
    let before = base.path().trim_end_matches('/');
    Ok(format!("{scheme}://{authority}{before}/{path}").parse()?)
}

// === impl Caller ===

impl Caller {
    /// One that trusts as `tls` says, and shows this token.
    pub(crate) fn new(tls: ClientConfig, authorization: Option<HeaderValue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A connection for each request: a command makes few, and a server may close one that is idle.
        let http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Self { http, authorization }
    }
}

// === impl Ask ===

impl Ask {
    pub(crate) fn new(caller: Caller, method: Method, url: Uri) -> Self {
        Self {
            caller,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Makes the request on a connection of its own.
    pub(crate) async fn make(&self) -> Result<Answer, NoAnswer> {
        self.within(async {
            let (parts, body) = self.begin().await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.lost(&error.to_string()))?;
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            })
        })
        .await
    }

    /// Makes the request, and leaves the body of its answer to be read line by line.
    pub(crate) async fn stream(&self) -> Result<Streamed, NoAnswer> {
        let (parts, body) = self.within(self.begin()).await?.into_parts();
        Ok(Streamed {
            status: parts.status,
            lines: Lines::new(body),
        })
    }

    async fn within<T>(&self, asking: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, NoAnswer> {
        let made = timeout(WHOLE, asking).await;
        made.unwrap_or_else(|_| Err(self.lost(&format!("nothing within {} s", WHOLE.as_secs()))))
    }

    async fn begin(&self) -> Result<Response<Incoming>, NoAnswer> {
        let answer = self.caller.http.request(self.request()).await;
        answer.map_err(|error| {
            let reason = root(&error);
            if error.is_connect() {
                NoAnswer::Unreachable {
                    authority: self.authority(),
                    reason,
                }
            } else {
                self.lost(&reason)
            }
        })
    }

    fn authority(&self) -> String {
        self.url
            .authority()
            .map(|authority| authority.as_str().to_owned())
            .unwrap_or_default()
    }

    fn lost(&self, reason: &str) -> NoAnswer {
        NoAnswer::Lost {
            authority: self.authority(),
            reason: reason.to_owned(),
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = &self.caller.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if self.method != Method::GET {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        request
    }
}

/// What lies behind an error: the words around it name parts of the client.
fn root(error: &Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

// === impl Answer ===

impl Answer {
    /// The refusal in the body; empty when there is none.
    pub(crate) fn refusal(&self) -> Refusal {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `404 Not Found`.
    pub(crate) fn status_line(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or_default();
        format!("{} {reason}", self.status.as_str()).trim_end().to_owned()
    }

    /// Whole seconds of a Retry-After.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self
            .headers
            .get(RETRY_AFTER)?
            .to_str()
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_flags_are_http_or_https_with_a_host() {
        for text in [
            "http://127.0.0.1:9090",
            "http://localhost/",
            "http://[::1]:1/x",
            "https://a/",
            "https://a/@b",
        ] {
            assert!(url("--admin", text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9090",
            "localhost",
            "https://",
            "ftp://a/",
            "http://",
            "http:///x",
            "/x",
        ] {
            assert!(url("--admin", text).is_err(), "{text}");
        }
        for text in [
            "http://hunter2@a/",
            "https://user:hunter2@a:1/x",
            "user:hunter2@a",
            "ftp://user:hunter2@a/",
        ] {
            let said = format!("{:#}", url("--admin", text).expect_err(text));
            assert!(said.contains("user name") && !said.contains("hunter2"), "{said}");
        }
        let base = url("--url", "http://a:1/x/").expect("a URL");
        assert_eq!(
            below(&base, "b/c").expect("a URL").to_string(),
            "http://a:1/x/b/c"
        );
        let base = url("--url", "https://a").expect("a URL");
        assert_eq!(below(&base, "b").expect("a URL").to_string(), "https://a/b");
    }
}
