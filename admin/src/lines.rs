//! An answer of JSON lines whose end is not known when it begins. What is not taken is not made: a few chunks wait for the
//! client, and who makes them waits for it, or ends when it has gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Chunks that wait for the client.
const WAITING: usize = 4;
/// How long a client may take nothing while lines wait for it; then it is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines are gathered up to so many bytes.
pub(crate) const CHUNK: usize = 32 << 10;

/// Where lines are written.
#[derive(Debug)]
pub(crate) struct Writer {
    chunks: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
}

/// The client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

struct Lines(mpsc::Receiver<Bytes>);

/// The answer of what `write` writes, until it is done or the listener ends.
pub(crate) fn stream<F>(shutdown: CancellationToken, write: impl FnOnce(Writer) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (chunks, lines) = mpsc::channel(WAITING);
    let mut answer = Response::new(Body::new(Lines(lines)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let writer = Writer {
        chunks,
        chunk: Vec::new(),
    };
    let written = write(writer);
    tokio::spawn(async move {
        tokio::select! {
            () = written => {}
            () = shutdown.cancelled() => {}
        }
    });
    answer
}

// === impl Writer ===

impl Writer {
    /// Adds a line; waits for the client once a chunk is full.
    pub(crate) async fn line(&mut self, line: &impl Serialize) -> Result<(), Gone> {
        // Views of ours can always be written: their maps have texts as keys.
        if serde_json::to_writer(&mut self.chunk, line).is_ok() {
            self.chunk.push(b'\n');
        }
        if self.chunk.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    /// Adds an empty line: the client sees that we live, and we see that it does.
    pub(crate) async fn beat(&mut self) -> Result<(), Gone> {
        self.chunk.push(b'\n');
        self.flush().await
    }

    /// Hands over what has gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        // One that takes nothing for so long is as good as gone, and others may want its place.
        let sent = tokio::time::timeout(PATIENCE, self.chunks.send(chunk)).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&self) {
        self.chunks.closed().await;
    }
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
