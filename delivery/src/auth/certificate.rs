//! The client certificate of connections by TLS.

use std::sync::Arc;

use millrace_model::{ClientCertificate, Octets};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;

use crate::tls;
use crate::trust::Verifier;

/// Connectors that are kept of one certificate: one for each set of authorities that its targets come from.
const CONNECTORS_KEPT: usize = 16;

/// A client certificate with its key, and the connectors that show it.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The newest last.
    connectors: Mutex<Vec<(Arc<Verifier>, TlsConnector)>>,
}

// === impl Identity ===

impl Identity {
    /// # Errors
    /// A sentence that says what is wrong with the certificate or the key.
    pub(super) fn new(spec: &ClientCertificate<Octets>) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&spec.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| "the client certificate is not in PEM form".to_owned())?;
        let key = PrivateKeyDer::from_pem_slice(&spec.key)
            .map_err(|_| "the key of the client certificate is no private key in PEM form".to_owned())?;
        let identity = Self {
            chain,
            key,
            connectors: Mutex::default(),
        };
        tls::check_identity(&identity.chain, &identity.key)?;
        Ok(identity)
    }

    /// The connector that shows this certificate to targets of this verifier. It is made once, so that a
    /// resumed session is always one of the same client.
    ///
    /// # Errors
    /// When TLS cannot be set up with it.
    pub(crate) fn connector(&self, verifier: &Arc<Verifier>) -> Result<TlsConnector, rustls::Error> {
        let mut connectors = self.connectors.lock();
        if let Some((_, connector)) = connectors.iter().find(|(of, _)| Arc::ptr_eq(of, verifier)) {
            return Ok(connector.clone());
        }
        let shown = (self.chain.clone(), self.key.clone_key());
        let made = tls::connector(verifier.clone(), Some(shown))?;
        if connectors.len() == CONNECTORS_KEPT {
            connectors.remove(0);
        }
        connectors.push((verifier.clone(), made.clone()));
        Ok(made)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}
