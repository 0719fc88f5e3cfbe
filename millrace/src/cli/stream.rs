//! The lines of an answer as they come, however many there are.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

/// The longest line: an event of the largest size, in Base64.
const MAX_LINE: usize = 64 << 20;
/// How long nothing may come. A follower gets an empty line every few seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 << 10;

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no line's end.
    searched: usize,
}

/// Why no more lines come although the answer has not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The connection.
    #[error("the connection broke: {0}")]
    Connection(#[from] hyper::Error),
    /// Nothing came.
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    /// More than a line may have.
    #[error("a line is too long")]
    TooLong,
}

// === impl Lines ===

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line that is not empty, without its end; `None` when the answer has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                let line = line.slice(..line.len() - 1);
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(Broken::TooLong);
            }
            match timeout(SILENCE, self.body.frame()).await {
                Err(_) => return Err(Broken::Silent),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => {
                    if let Some(data) = frame?.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }

    /// What comes, as far as it is a refusal of a sensible length.
    pub(crate) async fn all(mut self) -> Bytes {
        while self.buffer.len() < MAX_REFUSAL {
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        self.buffer.freeze()
    }
}
