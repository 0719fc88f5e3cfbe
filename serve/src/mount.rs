//! A part of one listener's paths that another component answers.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// Answers requests on a listener that belongs to another component. The listener bounds headers, connections
/// and time; the mount must bound the body.
#[async_trait::async_trait]
pub trait Mount: Send + Sync + fmt::Debug {
    /// The answer to one request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>>;
}
