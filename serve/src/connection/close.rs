//! The end of a connection: it is counted and logged, and closed so that what was answered arrives.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::debug;

use super::{End, Shared};
use crate::metrics::Abuse;
use crate::progress::{Expired, Progress};

/// What a client gets that did not finish its header in time; hyper says nothing in that case.
const SLOW_HEADER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Counts and logs how a connection ended.
pub(super) fn note(end: &End, shared: &Shared) {
    match end {
        End::Finished(Ok(())) | End::Left => {}
        End::Finished(Err(error)) => {
            if is_flood(error) {
                shared.metrics.abused(Abuse::Flood);
            }
            debug!(%error, "connection ended with an error");
        }
        End::Expired(expired) => {
            shared.metrics.expired(*expired);
            debug!(?expired, "connection ended by its deadline");
        }
        End::Abused => {
            shared.metrics.abused(Abuse::Resets);
            debug!("connection ended: its client cancels nearly everything that it asks for");
        }
    }
}

/// Whether h2 itself found that a client floods it: with resets, with pieces of a header, or with frames that
/// cost more than they bring.
fn is_flood(error: &hyper::Error) -> bool {
    let found = error.source().and_then(|error| error.downcast_ref::<h2::Error>());
    found.is_some_and(|error| error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// Closes so that what was answered arrives: a socket closed with unread bytes in it resets the connection,
/// and a reset takes the answer away from a client that is still sending. So what still comes is read for a
/// moment.
pub(super) async fn close<T>(mut stream: T, end: End, progress: &Progress, shared: &Shared)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    note(&end, shared);
    match end {
        End::Finished(_) => {}
        // It was idle: its last answer has long arrived.
        End::Left | End::Abused => return,
        End::Expired(Expired::Header) => {
            // What does not fit into the empty send buffer of a client that sends slowly is not worth waiting
            // for.
            write_now(&mut stream, SLOW_HEADER).await;
        }
        End::Expired(Expired::Idle | Expired::Write) => return,
    }
    let linger = async {
        let _ = stream.shutdown().await;
        if progress.ended() || shared.drain.has_begun() {
            return;
        }
        let mut waste = vec![0; 16 * 1024];
        while matches!(stream.read(&mut waste).await, Ok(read) if read > 0) {}
    };
    let _ = tokio::time::timeout(shared.options.linger, linger).await;
}

/// Writes as much as goes at once.
async fn write_now<T: AsyncWrite + Unpin>(stream: &mut T, bytes: &[u8]) {
    poll_fn(|cx: &mut Context<'_>| {
        let _ = Pin::new(&mut *stream).poll_write(cx, bytes);
        let _ = Pin::new(&mut *stream).poll_flush(cx);
        Poll::Ready(())
    })
    .await;
}
