//! Which requests this listener serves. Where nobody has to log in, and where a browser logs in by itself,
//! two checks protect it from web pages in the user's own browser. A name that was pointed at this address
//! (DNS rebinding) fails on `Host`. A form or a script of another origin fails on the header that it cannot
//! send without a CORS preflight, which is never granted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use millrace_serve::{Hosts, framing};

use crate::audit::{Change, reads};
use crate::login::Login;
use crate::refused::{Refused, explained};

/// The header without which nothing is changed.
const CHANGE_HEADER: &str = "millrace-request";
/// The longest path and query, in bytes. Names of resources are up to 253 bytes each.
const MAX_URL_BYTES: usize = 2_048;
/// The largest body, in bytes; an endpoint that reads one reads no more.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// What a request must pass.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) hosts: Hosts,
    /// Who may ask; `None`: anybody.
    pub(crate) login: Option<Login>,
}

/// Lets a request through to its endpoint, or refuses it. A change that somebody known asks
/// for is written down, whatever comes of it.
pub(crate) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Err(refused) = check(&guard.hosts, &request) {
        return refused.into_response();
    }
    let change = Change::of(&request);
    let checked = guard
        .login
        .as_ref()
        .map(|login| login.check(&request))
        .transpose();
    let (pending, answer) = match checked {
        Ok(who) => {
            let pending = change.map(|change| change.begin(who.flatten().as_ref()));
            (pending, explained(next.run(request).await))
        }
        Err(refusal) => {
            let pending = change.zip(refusal.identity());
            let pending = pending.map(|(change, who)| change.begin(Some(who)));
            (pending, Refused::from(refusal.problem()).into_response())
        }
    };
    if let Some(pending) = pending {
        pending.note(&answer);
    }
    answer
}

fn check<B: Body>(hosts: &Hosts, request: &http::Request<B>) -> Result<(), Refused> {
    hosts.check(request)?;
    framing::check(request)?;
    if request
        .uri()
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > MAX_URL_BYTES)
    {
        let detail = format!("path and query may have {MAX_URL_BYTES} bytes together");
        return Err(Refused::new(StatusCode::URI_TOO_LONG, "url-too-long", detail));
    }
    if declared_length(request.headers()) > MAX_BODY_BYTES as u64 {
        return Err(Refused::too_large());
    }
    if !reads(request.method())
        && request
            .headers()
            .get(CHANGE_HEADER)
            .is_none_or(|value| value != "1")
    {
        let detail = "every request that is not a GET needs the header `Millrace-Request: 1`, so that no web page can make it";
        return Err(Refused::new(StatusCode::FORBIDDEN, "missing-header", detail).field("Millrace-Request"));
    }
    Ok(())
}

/// The length a request says its body has. What says nothing is not read by anybody.
fn declared_length(headers: &HeaderMap) -> u64 {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::Method;
    use http_body::Frame;
    use millrace_serve::Address;

    use super::*;

    /// A body whose length is not known before it ends.
    struct Unannounced;

    impl Body for Unannounced {
        type Data = &'static [u8];
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Ready(None)
        }
    }

    fn status(method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let own = Address {
            socket: "127.0.0.1:9090".parse().unwrap(),
            is_tls: false,
        };
        let hosts = Hosts::own(&[own], &[]).strict();
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match check(&hosts, &request.body(Unannounced).unwrap()) {
            Ok(()) => 200,
            Err(refused) => refused.status().as_u16(),
        }
    }

    #[test]
    fn a_foreign_host_and_an_unknown_framing_are_refused() {
        let own = ("host", "127.0.0.1:9090");
        assert_eq!(status(Method::GET, "/", &[own]), 200);
        assert_eq!(status(Method::GET, "/", &[("host", "evil.example:9090")]), 403);
        assert_eq!(status(Method::GET, "/", &[]), 400);
        let framed = ("transfer-encoding", "gzip, chunked");
        assert_eq!(status(Method::GET, "/", &[own, framed]), 501);
    }

    #[test]
    fn changes_need_the_header_and_sizes_are_bounded() {
        let own = ("host", "127.0.0.1:9090");
        for method in [
            Method::POST,
            Method::DELETE,
            Method::PUT,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            assert_eq!(status(method.clone(), "/", &[own]), 403, "{method}");
            assert_eq!(
                status(method.clone(), "/", &[own, ("millrace-request", "0")]),
                403,
                "{method}"
            );
            assert_eq!(
                status(method.clone(), "/", &[own, ("millrace-request", "1")]),
                200,
                "{method}"
            );
        }
        assert_eq!(status(Method::HEAD, "/", &[own]), 200);
        let long = format!("/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(status(Method::GET, &long, &[own]), 414);
        assert_eq!(status(Method::GET, "/", &[own, ("content-length", "65537")]), 413);
        assert_eq!(status(Method::GET, "/", &[own, ("content-length", "65536")]), 200);
    }
}
