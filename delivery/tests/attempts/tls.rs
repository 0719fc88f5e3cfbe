//! https: certificates are checked, and what is wrong with them is said.

use std::sync::Arc;
use std::time::Duration;

use millrace_delivery::{Connector, ConnectorOptions, Outcome, Request, To, Verdict};
use millrace_model::Authorities;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{OK, Server, Step, answers, done, event, failure, play, request};

/// A self-signed certificate and its key, valid from 2020 to 2119 and good for nothing but these tests:
/// `loopback` for the address 127.0.0.1, `other` for the name other.example.
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
    serve(identity.certificate, identity.key).await
}

async fn serve(certificate: &str, key: &str) -> u16 {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
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
    Connector::new(ConnectorOptions::default())
        .with_roots(&[identity.certificate()])
        .expect("TLS")
}

#[tokio::test]
async fn a_trusted_target_gets_its_deliveries_on_one_connection() {
    let port = server(&LOOPBACK).await;
    let uri = format!("https://127.0.0.1:{port}/ship").parse().expect("a URL");
    let (event, mut slot) = (event(), trusting(&LOOPBACK).slot());
    for _ in 0..2 {
        assert_eq!(done(slot.attempt(&uri, &request(&event)).await).0, 202);
        assert!(slot.is_open());
    }
}

#[tokio::test]
async fn an_untrusted_certificate_or_another_name_fails_the_attempt() {
    let (port, other_port) = (server(&LOOPBACK).await, server(&OTHER).await);
    for (port, trusted) in [(port, &OTHER), (other_port, &OTHER), (other_port, &LOOPBACK)] {
        let uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
        let failure = failure(trusting(trusted).slot().attempt(&uri, &request(&event())).await);
        assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
        assert!(
            failure.reason.starts_with("the TLS handshake failed"),
            "{}",
            failure.reason
        );
    }
}

/// A self-signed certificate that claims to be an authority, as `openssl req -x509` makes it, and its key.
fn of_its_own(host: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, host);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The outcome of an attempt at a server that shows the first certificate, while the second one is trusted.
async fn outcome(shown: &(String, String), trusted: &str) -> Outcome {
    let port = serve(&shown.0, &shown.1).await;
    let trusted = CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate");
    let connector = Connector::new(ConnectorOptions::default())
        .with_roots(&[trusted])
        .expect("TLS");
    let uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
    connector.slot().attempt(&uri, &request(&event())).await
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_where_it_is_trusted_itself() {
    let own = of_its_own("127.0.0.1", |_| {});
    assert_eq!(done(outcome(&own, &own.0).await).0, 202);
}

#[tokio::test]
async fn reasons_of_refused_certificates_are_words() {
    let own = of_its_own("127.0.0.1", |_| {});
    let another = of_its_own("127.0.0.1", |_| {});
    let elsewhere = of_its_own("other.example", |_| {});
    let expired = of_its_own("127.0.0.1", |params| {
        params.not_after = date_time_ymd(2020, 9, 13)
    });
    let early = of_its_own("127.0.0.1", |params| {
        params.not_before = date_time_ymd(4000, 1, 1)
    });
    for (shown, trusted, expected) in [
        (
            &elsewhere,
            &elsewhere,
            "the certificate is not for 127.0.0.1 but for other.example",
        ),
        (
            &expired,
            &expired,
            "the certificate expired at Sun, 13 Sep 2020 00:00:00 GMT",
        ),
        (
            &early,
            &early,
            "the certificate is valid only from Sat, 01 Jan 4000 00:00:00 GMT on",
        ),
        (
            &own,
            &another,
            "the certificate is its own authority and is not trusted; `CACerts` of the destination can name it, and so \
             can the file that SSL_CERT_FILE names",
        ),
    ] {
        let failure = failure(outcome(shown, &trusted.0).await);
        assert_eq!(failure.reason, format!("the TLS handshake failed: {expected}"));
        assert_eq!(failure.verdict, Verdict::Again);
    }
    let (loopback, other) = (server(&LOOPBACK).await, trusting(&OTHER));
    let uri = format!("https://127.0.0.1:{loopback}/").parse().expect("a URL");
    let untrusted = failure(other.slot().attempt(&uri, &request(&event())).await);
    let words = "the TLS handshake failed: the certificate is not signed by a trusted authority";
    assert!(untrusted.reason.starts_with(words), "{}", untrusted.reason);
}

#[tokio::test]
async fn a_destination_may_name_its_own_authority_and_others_gain_nothing_by_it() {
    let own = of_its_own("127.0.0.1", |_| {});
    let port = serve(&own.0, &own.1).await;
    let uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
    let (named, event) = (Authorities::new(own.0), event());
    let vouched = To {
        uri: &uri,
        authorities: Some(&named),
    };
    let (connector, request) = (trusting(&OTHER), request(&event));
    let mut slot = connector.slot();
    assert_eq!(done(slot.attempt(vouched, &request).await).0, 202);
    assert!(slot.is_open());
    // Nor does a delivery that trusts nobody else go over the connection that was made by that trust.
    failure(slot.attempt(&uri, &request).await);
    assert_eq!(done(slot.attempt(vouched, &request).await).0, 202);
    // The machine's own are trusted beside them.
    let others = serve(OTHER.certificate, OTHER.key).await;
    let uri = format!("https://127.0.0.1:{others}/").parse().expect("a URL");
    let vouched = To {
        uri: &uri,
        authorities: Some(&named),
    };
    let reason = failure(connector.slot().attempt(vouched, &request).await).reason;
    let expected = "the TLS handshake failed: the certificate is not for 127.0.0.1 but for other.example";
    assert_eq!(reason, expected, "it is trusted, and of another host");
}

#[tokio::test]
async fn bundles_vouch_for_every_target_while_they_are_there() {
    let own = of_its_own("127.0.0.1", |_| {});
    let port = serve(&own.0, &own.1).await;
    let uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
    let (bundles, event, connector) = (Authorities::new(own.0), event(), trusting(&OTHER));
    let request = request(&event);
    failure(connector.slot().attempt(&uri, &request).await);
    connector.trust(Some(&bundles));
    assert_eq!(done(connector.slot().attempt(&uri, &request).await).0, 202);
    connector.trust(None);
    failure(connector.slot().attempt(&uri, &request).await);
}

#[tokio::test]
async fn more_authorities_than_are_kept_are_trusted_each_in_its_turn() {
    let connector = trusting(&OTHER);
    let event = event();
    let mut targets = Vec::new();
    for number in 0..70 {
        if number < 2 {
            let own = of_its_own("127.0.0.1", |_| {});
            let port = serve(&own.0, &own.1).await;
            let uri: http::Uri = format!("https://127.0.0.1:{port}/").parse().expect("a URL");
            targets.push((uri, own.0));
        }
        let (uri, certificate) = &targets[number % 2];
        // Each text is another set of authorities.
        let authorities = Authorities::new(format!("# {number}\n{certificate}"));
        let to = To {
            uri,
            authorities: Some(&authorities),
        };
        assert_eq!(done(connector.slot().attempt(to, &request(&event)).await).0, 202);
    }
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_a_failed_attempt() {
    let server = Server::start(vec![vec![Step::Write(b"not TLS at all".to_vec())]]).await;
    let uri = format!("https://{}/", server.address).parse().expect("a URL");
    let failure = failure(trusting(&LOOPBACK).slot().attempt(&uri, &request(&event())).await);
    assert_eq!((failure.verdict, failure.status), (Verdict::Again, None));
    assert_eq!(
        failure.reason,
        "the TLS handshake failed: what came back is not TLS"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_no_connection() {
    let server = Server::start(vec![vec![Step::Hold]]).await;
    let uri = format!("https://{}/", server.address).parse().expect("a URL");
    let event = event();
    let request = Request {
        timeout: Duration::from_millis(50),
        sender: None,
        ..request(&event)
    };
    let failure = failure(trusting(&LOOPBACK).slot().attempt(&uri, &request).await);
    assert_eq!(
        (failure.verdict, failure.reason.as_str()),
        (Verdict::Again, "no connection within 50 ms")
    );
}
