//! As whom the load calls: by http or https, with an Authorization header or without.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name in the server's certificate.
pub(crate) const SERVER: &str = "localhost";

/// Nobody in particular, by http, unless it says more.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    /// By https, and whom it trusts.
    pub(crate) tls: Option<Tls>,
    /// What stands behind `Authorization:`.
    pub(crate) authorization: Option<String>,
}

/// How the load speaks TLS.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

// === impl Tls ===

impl Tls {
    /// Trusts this certificate.
    pub(crate) fn trusting(certificate: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(SERVER)?;
        let connected = self.0.connect(name, stream).await;
        connected.context("the load's TLS handshake failed")
    }
}

// === impl Caller ===

impl Caller {
    /// The line of a request's head that says who calls.
    pub(crate) fn line(&self) -> String {
        let value = self.authorization.as_ref();
        value.map_or(String::new(), |value| format!("authorization: {value}\r\n"))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("tls", &self.tls.is_some())
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}
