//! https: certificates are checked, and what is wrong with them is said.

use std::sync::Arc;
use std::time::Duration;

use millrace_delivery::{Connector, ConnectorOptions, Request, Verdict};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{OK, Server, Step, answers, done, event, failure, play, request};

/// A self-signed certificate and its key, valid from 2020 to 2119 and good for nothing but these tests: `loopback` for
/// the address 127.0.0.1, `other` for the name other.example.
struct Identity {
    certificate: &'static str,
    key: &'static str,
}

const LOOPBACK: Identity = Identity {
    certificate: include_str!("tls/loopback.pem"),
    key: include_str!("tls/loopback.key.pem"),
};
const OTHER: Identity = Identity {
    certificate: include_str!("tls/other.pem"),
    key: include_str!("tls/other.key.pem"),
};

impl Identity {
    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A TLS server's port; it answers two requests on each connection.
async fn server(identity: &Identity) -> u16 {
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (sender, _requests) = mpsc::unbounded_channel();
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(tls) = acceptor.accept(tcp).await {
                tokio::spawn(play(tls, answers(&[OK, OK]), sender.clone()));
            }
        }
    });
    port
}

fn trusting(identity: &Identity) -> Connector {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate()).expect("a root");
    Connector::new(ConnectorOptions::default())
        .with_roots(roots)
        .expect("TLS")
}

#[tokio::test]
async fn a_trusted_target_gets_its_deliveries_on_one_connection() {
    let port = server(&LOOPBACK).await;
    let uri = format!("https://127.0.0.1:{port}/ship").parse().expect("a URL");
    let (event, mut slot) = (event(), trusting(&LOOPBACK).slot());
    for _ in 0..2 {
        assert_eq!(done(slot.attempt(&request(&uri, &event)).await).0, 202);
        assert!(slot.is_open());
    }
}

#[tokio::test]
async fn an_untrusted_certificate_or_another_name_fails_the_attempt() {
    let (port, other_port) = (server(&LOOPBACK).await, server(&OTHER).await);
    for (port, trusted) in [(port, &OTHER), (other_port, &OTHER), (other_port, &LOOPBACK)] {
        let uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
        let failure = failure(trusting(trusted).slot().attempt(&request(&uri, &event())).await);
        assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
        assert!(
            failure.reason.starts_with("the TLS handshake failed"),
            "{}",
            failure.reason
        );
    }
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_a_failed_attempt() {
    let server = Server::start(vec![vec![Step::Write(b"not TLS at all".to_vec())]]).await;
    let uri = format!("https://{}/", server.address).parse().expect("a URL");
    let failure = failure(trusting(&LOOPBACK).slot().attempt(&request(&uri, &event())).await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_no_connection() {
    let server = Server::start(vec![vec![Step::Hold]]).await;
    let uri = format!("https://{}/", server.address).parse().expect("a URL");
    let event = event();
    let request = Request {
        timeout: Duration::from_millis(50),
        ..request(&uri, &event)
    };
    let failure = failure(trusting(&LOOPBACK).slot().attempt(&request).await);
    assert_eq!(
        (failure.verdict, failure.reason.as_str()),
        (Verdict::Again, "no connection within 50 ms")
    );
}
