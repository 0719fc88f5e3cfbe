//! A part of one listener's paths that somebody else answers.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// Answers requests that come in on a listener that belongs to somebody else. The listener's bounds of headers,
/// connections and time hold; the body is the mount's to bound.
#[async_trait::async_trait]
pub trait Mount: Send + Sync + fmt::Debug {
    /// The answer to one request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>>;
}
