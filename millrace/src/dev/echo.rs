//! The subscriber that `millrace dev` brings along: it takes every event and says thanks.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use millrace_serve::{Drained, Listener, ListenerMetrics, ServeOptions};
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown`.
pub(crate) async fn serve(listener: Listener, shutdown: CancellationToken) -> Drained {
    let service = service_fn(take);
    millrace_serve::serve(
        listener,
        ServeOptions::default(),
        ListenerMetrics::default(),
        service,
        shutdown,
    )
    .await
}

async fn take(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // Read to its end, so that the connection can serve the next event.
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
