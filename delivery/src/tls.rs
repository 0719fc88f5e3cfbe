//! TLS towards targets. The provider is given explicitly, and the root certificates are read when first
//! needed, so that a mesh without https pays nothing for it.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name the certificates, as for curl; otherwise they are the machine's.
//! [`crate::trust`] checks a target against them.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls_native_certs::CertificateResult;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::auth::Identity;
use crate::no_answer::{NoAnswer, Unmade};
use crate::trust::Verifier;
use crate::{shortage, tls_words};

/// The variables that name certificates to use instead of the machine's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What all TLS connections share. Clones share what was loaded.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    loaded: Arc<OnceCell<Loaded>>,
}

/// What the root certificates became.
struct Loaded {
    verifier: Arc<Verifier>,
    /// It shows no certificate of ours.
    connector: TlsConnector,
}

/// What is wrong with the certificates that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, one sentence each. Empty
/// if they are not set. Reads files: call it once, at the start.
pub fn wrong_with_roots() -> Vec<String> {
    let set = VARIABLES
        .iter()
        .filter_map(|name| Some((*name, std::env::var_os(name)?)))
        .filter(|(_, value)| !value.is_empty());
    let mut wrong: Vec<String> = set
        .clone()
        .flat_map(|(name, value)| {
            let paths: Vec<_> = if name == "SSL_CERT_DIR" {
                std::env::split_paths(&value).collect()
            } else {
                vec![value.into()]
            };
            paths.into_iter().filter_map(move |path| missing(name, &path))
        })
        .collect();
    if wrong.is_empty() && set.count() > 0 && rustls_native_certs::load_native_certs().certs.is_empty() {
        wrong.push("SSL_CERT_FILE and SSL_CERT_DIR name no certificate in PEM form".to_owned());
    }
    wrong
}

fn missing(name: &str, path: &Path) -> Option<String> {
    let wants_folder = name == "SSL_CERT_DIR";
    let why = match std::fs::metadata(path) {
        Ok(found) if wants_folder && !found.is_dir() => "it is not a folder".to_owned(),
        Ok(found) if !wants_folder && !found.is_file() => "it is not a file".to_owned(),
        Ok(_) if wants_folder => std::fs::read_dir(path).err()?.to_string(),
        Ok(_) => std::fs::File::open(path).err()?.to_string(),
        Err(error) => error.to_string(),
    };
    Some(format!(
        "{name} names {}, which cannot be used: {why}",
        path.display()
    ))
}

// === impl Tls ===

impl Tls {
    /// TLS that trusts these certificates and not the machine's.
    pub(crate) fn with_roots(roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        Ok(Self {
            loaded: Arc::new(OnceCell::new_with(Some(Loaded::new(roots)?))),
        })
    }

    /// Speaks TLS on a fresh connection to `host`, and checks that it is that host. The host is shown the
    /// client certificate, if it asks for one.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
        identity: Option<&Arc<Identity>>,
    ) -> Result<TlsStream<TcpStream>, Unmade> {
        let name = host
            .to_owned()
            .try_into()
            .map_err(|_| NoAnswer::Tls(format!("`{host}` is not a host name")))?;
        // A failure is not kept: the next attempt looks for certificates again.
        let loaded = self.loaded.get_or_try_init(load).await?;
        let connector = match identity {
            None => &loaded.connector,
            Some(identity) => identity
                .connector(&loaded.verifier)
                .map_err(|error| NoAnswer::Tls(tls_words::error(&error, host)))?,
        };
        connector
            .connect(name, tcp)
            .await
            .map_err(|error| match shortage::of(&error) {
                Some(shortage) => Unmade::Short(shortage),
                None => NoAnswer::Tls(tls_words::handshake(&error, host)).into(),
            })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("loaded", &self.loaded.initialized())
            .finish()
    }
}

/// Reads the roots, on a thread that may block on files.
async fn load() -> Result<Loaded, Unmade> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| NoAnswer::NoRoots(error.to_string()))?;
    tracing::debug!(
        certificates = found.certs.len(),
        errors = found.errors.len(),
        "loaded root certificates"
    );
    if let Some(shortage) = found.errors.iter().find_map(short) {
        return Err(Unmade::Short(shortage));
    }
    if found.certs.is_empty() {
        return Err(NoAnswer::NoRoots(why_none(&found)).into());
    }
    Loaded::new(&found.certs).map_err(|error| NoAnswer::NoRoots(tls_words::error(&error, "")).into())
}

fn short(error: &rustls_native_certs::Error) -> Option<millrace_model::Shortage> {
    match &error.kind {
        rustls_native_certs::ErrorKind::Io { inner, .. } => shortage::of(inner),
        _ => None,
    }
}

fn why_none(found: &CertificateResult) -> String {
    found
        .errors
        .first()
        .map_or_else(|| "the store is empty".to_owned(), ToString::to_string)
}

// === impl Loaded ===

impl Loaded {
    fn new(roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Verifier::new(roots, &provider())?);
        Ok(Self {
            connector: connector(verifier.clone(), None)?,
            verifier,
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Whether this can be shown as a client certificate.
///
/// # Errors
/// A sentence that says why not.
pub(crate) fn check_identity(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), String> {
    CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider())
        .map(drop)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "the key is not that of the client certificate".to_owned(),
            error => format!(
                "the client certificate cannot be used: {}",
                tls_words::error(&error, "")
            ),
        })
}

/// What makes connections that trust what `verifier` trusts, and show a certificate with its key, or none.
pub(crate) fn connector(
    verifier: Arc<Verifier>,
    shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        None => config.with_no_client_auth(),
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
