//! TLS towards targets: the provider is given explicitly and the machine's root certificates are read when first needed,
//! so that a mesh without https pays nothing for it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::no_answer::NoAnswer;

/// What all TLS connections share. Clones share what was loaded.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    connector: Arc<OnceCell<TlsConnector>>,
}

// === impl Tls ===

impl Tls {
    /// TLS that trusts these certificates and not the machine's.
    pub(crate) fn with_roots(roots: RootCertStore) -> Result<Self, rustls::Error> {
        Ok(Self {
            connector: Arc::new(OnceCell::new_with(Some(connector(roots)?))),
        })
    }

    /// Speaks TLS on a fresh connection to `host`, and checks that it is that host.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let name = host
            .to_owned()
            .try_into()
            .map_err(|_| NoAnswer::Tls(format!("`{host}` is not a host name")))?;
        // A failure is not kept: the next attempt looks for certificates again.
        let connector = self.connector.get_or_try_init(load).await?;
        connector
            .connect(name, tcp)
            .await
            .map_err(|error| NoAnswer::Tls(error.to_string()))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("loaded", &self.connector.initialized())
            .finish()
    }
}

/// Reads the machine's roots, on a thread that may block on files.
async fn load() -> Result<TlsConnector, NoAnswer> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| NoAnswer::NoRoots(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(
        usable,
        unusable,
        errors = found.errors.len(),
        "loaded root certificates"
    );
    if usable == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "the store is empty".to_owned(), ToString::to_string);
        return Err(NoAnswer::NoRoots(cause));
    }
    connector(roots).map_err(|error| NoAnswer::Tls(error.to_string()))
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
