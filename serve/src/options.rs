//! The bounds of a listener. What a client may cost is written here and nowhere else.

use std::time::Duration;

use crate::connection::TaskStarter;

/// How one listener serves. Inert data; [`Default`] gives what Millrace ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// How long a client may take to send a request's header, from its first byte (for the first request:
    /// from the connection's begin). Then it gets 408 and the connection ends. 10 s.
    pub header_read_timeout: Duration,
    /// How long a connection may stand idle between two requests. 75 s: longer than the pools of common
    /// clients keep a connection without using it, so that it is they who close.
    pub idle_timeout: Duration,
    /// How long a client may take none of what is being sent to it. Then the connection ends. 30 s.
    pub write_timeout: Duration,
    /// Headers of one request; beyond it 431, with which the connection ends. 256.
    pub max_headers: usize,
    /// Bytes of one request's header with its first line, and of trailers; beyond it 431. 64 KiB, which is
    /// also what one connection may buffer of what it reads. Not less than 8 KiB.
    pub max_header_bytes: usize,
    /// The most connections at one time, 10 000. Further ones wait until there is room, see
    /// [`crate::serve`]. Of those an eighth of this number, at most 256, are accepted meanwhile, and each
    /// needs a file descriptor.
    pub max_connections: usize,
    /// How long a connection that we close is still read (and what comes thrown away), so that a client that
    /// is still sending sees the answer instead of a reset. 2 s.
    pub linger: Duration,
    /// How long requests in hand may take to finish after shutdown has begun; then they are cut off. 30 s.
    pub drain_timeout: Duration,
    /// Whether each request tells from where it comes ([`crate::Peer`] in its extensions), and not only one
    /// with a large body. No.
    pub names_peers: bool,
}

/// The most requests that one HTTP/2 connection may have in hand. A client learns it with the first frame,
/// and a stream beyond it is refused.
pub const MAX_STREAMS: u32 = 64;
/// How many requests of one HTTP/2 connection may be cancelled before it matters whether more are answered.
pub const MAX_CANCELLED: u64 = 100;
/// Streams that may be reset before they were even looked at; beyond it the connection is closed.
pub const MAX_UNSEEN_RESETS: usize = 20;
/// Bytes of a body that one HTTP/2 stream may send ahead of being read, and of all bodies of a connection.
pub const HTTP2_WINDOWS: (u32, u32) = (64 * 1024, 128 * 1024);
/// Bytes of answers that an HTTP/2 stream keeps for a client that does not take them.
const SEND_BUFFER: usize = 64 * 1024;

/// What hyper takes as the least size of its buffer.
const LEAST_BUFFER: usize = 8 * 1024;

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_headers: 256,
            max_header_bytes: 64 * 1024,
            max_connections: 10_000,
            linger: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(30),
            names_peers: false,
        }
    }
}

// === impl ServeOptions ===

impl ServeOptions {
    /// HTTP/1.1 as it is configured. hyper's own header timeout stays off: it cannot tell an idle
    /// connection from a slow one, closes without an answer and sets a timer for each request (`progress`
    /// does all that once a connection).
    pub(crate) fn http1(&self) -> hyper::server::conn::http1::Builder {
        let mut builder = hyper::server::conn::http1::Builder::new();
        let buffer = self.max_header_bytes.max(LEAST_BUFFER);
        builder
            .header_read_timeout(None)
            .max_headers(self.max_headers)
            .max_header_size(self.max_header_bytes)
            .max_buf_size(buffer)
            // A client that has sent all it wants to say may close its half and still read the answer. It
            // also saves a read for each request, by which hyper would look for the end.
            .half_close(true);
        builder
    }

    /// HTTP/2 as it is configured. A header may have as many bytes as in HTTP/1.1, which also bounds its
    /// CONTINUATION frames; so many of them, or of resets, end the connection (`ENHANCE_YOUR_CALM`).
    pub(crate) fn http2(&self, tasks: TaskStarter) -> hyper::server::conn::http2::Builder<TaskStarter> {
        let header = u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX);
        let (of_stream, of_connection) = HTTP2_WINDOWS;
        let mut builder = hyper::server::conn::http2::Builder::new(tasks);
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(header)
            .initial_stream_window_size(of_stream)
            .initial_connection_window_size(of_connection)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
            .max_local_error_reset_streams(MAX_UNSEEN_RESETS);
        builder
    }
}
