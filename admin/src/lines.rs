//! Answers of JSON lines whose end is not known when they begin. Lines are made only as fast as the client
//! takes them: a few chunks wait for the client, and the task that makes them pauses meanwhile, or ends when
//! the client has gone.
//!
//! # Guarantees
//! A line holds one whole document, however the data of an event is laid out. Blanks and line ends between
//! the tokens of JSON are left out; nothing within a token changes.

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
    let (writer, answer) = begin();
    let written = write(writer);
    tokio::spawn(async move {
        tokio::select! {
            () = written => {}
            () = shutdown.cancelled() => {}
        }
    });
    answer
}

fn begin() -> (Writer, Response) {
    let (chunks, lines) = mpsc::channel(WAITING);
    let mut answer = Response::new(Body::new(Lines(lines)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let writer = Writer {
        chunks,
        chunk: Vec::new(),
    };
    (writer, answer)
}

// === impl Writer ===

impl Writer {
    /// Adds a line; waits for the client once a chunk is full.
    pub(crate) async fn line(&mut self, line: &impl Serialize) -> Result<(), Gone> {
        let begin = self.chunk.len();
        // Views of ours can always be written: their maps have texts as keys.
        if serde_json::to_writer(&mut self.chunk, line).is_ok() {
            on_one_line(&mut self.chunk, begin);
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
        // A client that takes nothing for so long is as good as gone, and others may want its place.
        let sent = tokio::time::timeout(PATIENCE, self.chunks.send(chunk)).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&self) {
        self.chunks.closed().await;
    }
}

/// Removes the white space between the tokens of the JSON from `begin` on, if it holds a line end. Event data
/// goes into a line as it came, so line ends may stand between its tokens. Within a string JSON escapes them.
fn on_one_line(json: &mut Vec<u8>, begin: usize) {
    if !json[begin..].iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return;
    }
    let (mut kept, mut in_text, mut escaped) = (begin, false, false);
    for at in begin..json.len() {
        let byte = json[at];
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_text = byte == b'"';
        }
        json[kept] = byte;
        kept += 1;
    }
    json.truncate(kept);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// A writer with as many waiting chunks as allowed.
    async fn full() -> (Writer, Body) {
        let (mut writer, answer) = begin();
        for _ in 0..WAITING {
            assert_eq!(writer.beat().await, Ok(()));
        }
        (writer, answer.into_body())
    }

    /// Takes a chunk; `None` when there is no more.
    async fn take(body: &mut Body) -> Option<Bytes> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        frame.ok()?.into_data().ok()
    }

    #[test]
    fn a_line_is_one_line_and_its_tokens_are_as_they_were() {
        let table = [
            ("{ \"a\" : 1.10 }", "{ \"a\" : 1.10 }"),
            (
                "{\n  \"a b\" : [ 1e400 ,\r\n\t-0.0 ]\n}",
                "{\"a b\":[1e400,-0.0]}",
            ),
            (
                "[\"a \\\" b\\\\\",\n\"\\n \\ud800\"]",
                "[\"a \\\" b\\\\\",\"\\n \\ud800\"]",
            ),
            ("\n", ""),
        ];
        for (json, line) in table {
            let mut chunk = format!("{{\n{json}").into_bytes();
            on_one_line(&mut chunk, 2);
            assert_eq!(String::from_utf8_lossy(&chunk), format!("{{\n{line}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_taken_for_gone() {
        let (mut writer, mut body) = full().await;
        let begun = Instant::now();
        let written = timeout(2 * PATIENCE, writer.beat()).await;
        assert_eq!(written, Ok(Err(Gone)));
        assert_eq!(begun.elapsed(), PATIENCE);
        // The waiting chunks are still there for the client, and then the answer ends.
        drop(writer);
        for _ in 0..WAITING {
            assert_eq!(take(&mut body).await.as_deref(), Some(b"\n".as_slice()));
        }
        assert_eq!(take(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_served() {
        let (mut writer, mut body) = full().await;
        for _ in 0..10 {
            let late = async {
                sleep(PATIENCE - Duration::from_millis(1)).await;
                take(&mut body).await
            };
            let (written, taken) = tokio::join!(writer.beat(), late);
            assert_eq!(written, Ok(()));
            assert!(taken.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_client_that_has_gone() {
        let (mut writer, body) = full().await;
        let begun = Instant::now();
        let (written, ()) = tokio::join!(writer.beat(), async { drop(body) });
        assert_eq!(written, Err(Gone));
        writer.gone().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
