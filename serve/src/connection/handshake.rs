//! The TLS handshake of a connection, within the deadline of the first request's header.
//!
//! A connection in its handshake counts as idle: it makes room for others as any idle connection does.

use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::Shared;
use crate::certificate::ClientCertificate;
use crate::metrics::NoHandshake;
use crate::progress::{Progress, Socket};
use crate::tls::{HTTP2, Tls};

/// A connection whose handshake is done.
pub(super) struct Secured {
    pub(super) stream: TlsStream<Socket<TcpStream>>,
    /// What the client proved to be, if it showed a certificate.
    pub(super) certificate: Option<ClientCertificate>,
    /// Whether the client chose HTTP/2.
    pub(super) is_http2: bool,
}

/// Shakes hands; `None` when it failed, took too long or must make room.
pub(super) async fn shake(
    tls: &Tls,
    socket: Socket<TcpStream>,
    progress: &Progress,
    shared: &Shared,
) -> Option<Secured> {
    let until = progress.begun() + shared.options.header_read_timeout;
    let accept = TlsAcceptor::from(tls.current()).accept(socket);
    let shaken = tokio::select! {
        biased;
        () = shared.drain.token.cancelled() => return None,
        () = progress.asked() => return None,
        shaken = timeout_at(until, accept) => shaken,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            shared.metrics.no_handshake(NoHandshake::Failed);
            debug!(%error, "no TLS handshake");
            return None;
        }
        Err(_) => {
            shared.metrics.no_handshake(NoHandshake::Timeout);
            debug!("the TLS handshake took too long");
            return None;
        }
    };
    progress.secured();
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(HTTP2);
    // The verifier has checked it against the authorities; one that cannot be read is nobody's.
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let certificate = shown.and_then(|der| ClientCertificate::read(der));
    Some(Secured {
        stream,
        certificate,
        is_http2,
    })
}
