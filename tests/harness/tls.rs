//! TLS before a subscriber, with a certificate of the test's choice, and as a client of the ingress.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::Authority;
use crate::{Sink, within};

/// A certificate and its key, in PEM form.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    key: String,
}

/// A server that lets in only clients with a certificate.
#[derive(Debug)]
pub struct Asking {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

// === impl Identity ===

impl Identity {
    /// Its private key.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn parsed(&self) -> anyhow::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        Ok((certificate, PrivateKeyDer::from_pem_slice(self.key.as_bytes())?))
    }
}

// === impl Asking ===

impl Asking {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a client has shown this certificate.
    pub fn saw(&self, identity: &Identity) -> bool {
        let parsed = identity.parsed().map(|(certificate, _)| certificate);
        parsed.is_ok_and(|certificate| self.seen.lock().contains(&certificate))
    }
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

/// A certificate for this machine, signed by an authority of its own; and that authority's, in PEM form.
///
/// # Errors
/// When a file cannot be written or read.
pub fn signed() -> anyhow::Result<(Identity, String)> {
    let folder = tempfile::tempdir()?;
    // Unique names: an issuer is found by its name.
    let authority = Authority::make(folder.path(), &format!("test-{:x}", fastrand::u64(..)))?;
    let pair = authority.server("server")?;
    let identity = Identity {
        certificate: fs::read_to_string(pair.certificate)?,
        key: fs::read_to_string(pair.key)?,
    };
    Ok((identity, fs::read_to_string(authority.file)?))
}

/// Serves TLS with this certificate at the returned address, as long as the test runs, and passes requests on
/// to `sink`.
///
/// # Errors
/// When no port can be had, or the certificate cannot be used.
pub async fn before(sink: &Sink, identity: &Identity) -> anyhow::Result<SocketAddr> {
    let (certificate, key) = identity.parsed()?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    serve(config, sink, Arc::default()).await
}

/// The same, but only clients with one of these certificates get in.
///
/// # Errors
/// As [`before`].
pub async fn asking(sink: &Sink, identity: &Identity, clients: &[&Identity]) -> anyhow::Result<Asking> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut trusted = RootCertStore::empty();
    for client in clients {
        trusted.add(client.parsed()?.0)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider.clone()).build()?;
    let (certificate, key) = identity.parsed()?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let address = serve(config, sink, seen.clone()).await?;
    Ok(Asking { address, seen })
}

/// Passes requests on to `sink`, and notes which certificates clients show.
async fn serve(
    config: ServerConfig,
    sink: &Sink,
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
) -> anyhow::Result<SocketAddr> {
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), sink.address());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), seen.clone());
            tokio::spawn(async move {
                let mut tls = acceptor.accept(tcp).await?;
                let shown = tls.get_ref().1.peer_certificates();
                seen.lock().extend(shown.into_iter().flatten().take(1).cloned());
                let mut plain = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut tls, &mut plain).await
            });
        }
    });
    Ok(address)
}

/// A connection to a server that this authority vouches for, which offers these protocols by ALPN.
///
/// # Errors
/// When there is none before the deadline.
pub async fn connect(
    address: SocketAddr,
    authority: &Path,
    protocols: &[&str],
) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(address.ip().to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    within("a TLS connection", async {
        let tcp = TcpStream::connect(address).await?;
        anyhow::Ok(connector.connect(name, tcp).await?)
    })
    .await
}
