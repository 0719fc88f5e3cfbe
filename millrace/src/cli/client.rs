//! One HTTP request and its answer, for the commands that ask a server. It is bounded in time and size, and
//! its errors distinguish what a script must distinguish.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::stream::{Driver, Lines};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may take from connecting to the end of its answer.
const WHOLE: Duration = Duration::from_secs(60);
/// The longest answer.
const MAX_ANSWER: usize = 64 << 20;

/// A request to be made, perhaps more than once.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
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

/// Reads an `http://` URL of a flag.
pub(crate) fn url(flag: &str, text: &str) -> anyhow::Result<Uri> {
    let uri: Uri = text
        .parse()
        .with_context(|| format!("{flag} {text} is not a URL"))?;
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("https") => anyhow::bail!("{flag} {text}: https is not supported by this command yet; use http"),
        _ => anyhow::bail!("{flag} {text} is not a URL; write for example http://127.0.0.1:8080"),
    }
}

/// `base` with other path segments behind its own.
pub(crate) fn below(base: &Uri, path: &str) -> anyhow::Result<Uri> {
    let authority = base.authority().context("a URL has a host")?;
    let before = base.path().trim_end_matches('/');
    Ok(format!("http://{authority}{before}/{path}").parse()?)
}

// === impl Ask ===

impl Ask {
    pub(crate) fn new(method: Method, url: Uri) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Makes the request on a connection of its own.
    pub(crate) async fn make(&self) -> Result<Answer, NoAnswer> {
        let stream = self.connect().await?;
        match timeout(WHOLE, self.exchange(stream)).await {
            Ok(answer) => answer.map_err(|error| self.lost(&crate::reasons::reasons(&error))),
            Err(_) => Err(self.lost(&format!("nothing within {} s", WHOLE.as_secs()))),
        }
    }

    /// Makes the request, and leaves the body of its answer to be read line by line.
    pub(crate) async fn stream(&self) -> Result<Streamed, NoAnswer> {
        let stream = self.connect().await?;
        match timeout(WHOLE, self.begin(stream)).await {
            Ok(answer) => answer.map_err(|error| self.lost(&crate::reasons::reasons(&error))),
            Err(_) => Err(self.lost(&format!("nothing within {} s", WHOLE.as_secs()))),
        }
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

    async fn connect(&self) -> Result<TcpStream, NoAnswer> {
        let unreachable = |reason: String| NoAnswer::Unreachable {
            authority: self.authority(),
            reason,
        };
        let address = (
            self.url.host().unwrap_or_default().trim_matches(['[', ']']),
            self.url.port_u16().unwrap_or(80),
        );
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!(
                "no connection within {} s",
                CONNECT.as_secs()
            ))),
        }
    }

    async fn begin(&self, stream: TcpStream) -> anyhow::Result<Streamed> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = Driver(tokio::spawn(async move {
            // The reader of the answer sees the error.
            let _ = connection.await;
        }));
        let (parts, body) = sender.send_request(self.request()?).await?.into_parts();
        Ok(Streamed {
            status: parts.status,
            lines: Lines::new(body, driver),
        })
    }

    async fn exchange(&self, stream: TcpStream) -> anyhow::Result<Answer> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with the answer, or when this function is dropped; `sender` is its other half.
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(self.request()?).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        driver.abort();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let path = self
            .url
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let authority = self.url.authority().context("a URL has a host")?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.parse()?;
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION"))),
        );
        if self.method != Method::GET {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        Ok(request)
    }
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
    fn urls_of_flags_are_plain_http_with_a_host() {
        for text in ["http://127.0.0.1:9090", "http://localhost/", "http://[::1]:1/x"] {
            assert!(url("--admin", text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9090",
            "localhost",
            "https://a/",
            "ftp://a/",
            "http://",
            "http:///x",
            "/x",
        ] {
            assert!(url("--admin", text).is_err(), "{text}");
        }
        let base = url("--url", "http://a:1/x/").expect("a URL");
        assert_eq!(
            below(&base, "b/c").expect("a URL").to_string(),
            "http://a:1/x/b/c"
        );
    }
}
