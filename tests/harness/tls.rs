//! TLS before a subscriber, with a certificate of the test's choice.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Sink;

/// A certificate and its key, in PEM form.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    key: String,
}

/// A self-signed certificate for these names and addresses. With `authority` it claims to be an authority, as
/// those of `openssl req -x509` do.
///
/// # Errors
/// When a name is invalid.
pub fn self_signed(hosts: &[&str], authority: bool) -> anyhow::Result<Identity> {
    let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    // Unique names: an issuer is found by its name.
    let name = format!("test {:x}", fastrand::u64(..));
    params.distinguished_name.push(DnType::CommonName, name);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

/// Serves TLS with this certificate at the returned address, as long as the test runs, and passes requests on
/// to `sink`.
///
/// # Errors
/// When no port can be had, or the certificate cannot be used.
pub async fn before(sink: &Sink, identity: &Identity) -> anyhow::Result<SocketAddr> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), sink.address());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut tls = acceptor.accept(tcp).await?;
                let mut plain = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut tls, &mut plain).await
            });
        }
    });
    Ok(address)
}
