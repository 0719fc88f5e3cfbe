//! TLS towards targets. The provider is given explicitly, and the root certificates are read when first
//! needed, so that a mesh without https pays nothing for it.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name the certificates, as for curl; otherwise they are the machine's.
//! A destination may name more, and so may trust bundles. [`crate::trust`] checks a target against them.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use millrace_model::Authorities;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls_native_certs::CertificateResult;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::auth::Identity;
use crate::no_answer::{NoAnswer, Unmade};
use crate::trust::{Pool, Verifier};
use crate::{shortage, tls_words};

/// The variables that name certificates to use instead of the machine's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Sets of authorities beside the machine's for which connectors are kept; those used last.
const SETS_KEPT: usize = 64;

/// What all TLS connections share. Clones share what was loaded.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The machine's certificates.
    machine: OnceCell<Arc<Pool>>,
    known: Mutex<Known>,
}

/// Whom else to trust, and what was made of it.
#[derive(Default)]
struct Known {
    /// Those of trust bundles: they vouch for every target.
    bundles: Option<Arc<Pool>>,
    /// The connectors used last, the newest first.
    recent: VecDeque<(Option<Authorities>, Arc<Trusting>)>,
}

/// What makes connections to targets for which the same authorities vouch: so their sessions can be resumed.
struct Trusting {
    verifier: Arc<Verifier>,
    /// It shows no certificate of ours.
    connector: TlsConnector,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms<'a> {
    /// The client certificate that it shows.
    pub(crate) identity: Option<&'a Arc<Identity>>,
    /// Who vouches for the target, beside those who vouch for every one.
    pub(crate) authorities: Option<&'a Authorities>,
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
        let machine = Arc::new(Pool::new(roots, &provider())?);
        Ok(Self {
            shared: Arc::new(Shared {
                machine: OnceCell::new_with(Some(machine)),
                known: Mutex::default(),
            }),
        })
    }

    /// Trusts these for every target, instead of those that were given before. New connections obey.
    pub(crate) fn trust(&self, bundles: Option<&Authorities>) {
        let pool = bundles.and_then(|bundles| {
            let pool = pool(bundles);
            let refused = |error: &rustls::Error| tracing::error!(%error, "trust bundles cannot be used");
            pool.inspect_err(refused).ok()
        });
        let mut known = self.shared.known.lock();
        known.bundles = pool;
        known.recent.clear();
    }

    /// Speaks TLS on a fresh connection to `host`, and checks that it is that host. The host is shown the
    /// client certificate, if it asks for one.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
        terms: Terms<'_>,
    ) -> Result<TlsStream<TcpStream>, Unmade> {
        let name = host
            .to_owned()
            .try_into()
            .map_err(|_| NoAnswer::Tls(format!("`{host}` is not a host name")))?;
        let trusting = self.trusting(terms.authorities).await?;
        let connector = match terms.identity {
            None => trusting.connector.clone(),
            Some(identity) => identity
                .connector(&trusting.verifier)
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

    /// What makes connections to targets for which these vouch, too.
    async fn trusting(&self, authorities: Option<&Authorities>) -> Result<Arc<Trusting>, Unmade> {
        let bundles = {
            let mut known = self.shared.known.lock();
            if let Some(found) = known.found(authorities) {
                return Ok(found);
            }
            known.bundles.clone()
        };
        let refused = |error: rustls::Error| NoAnswer::Tls(tls_words::error(&error, ""));
        let own = authorities.map(pool).transpose().map_err(refused)?;
        let mut pools: Vec<_> = own.into_iter().chain(bundles.clone()).collect();
        // A failure is not kept: the next attempt looks for certificates again.
        let is_whole = match self.shared.machine.get_or_try_init(load).await {
            Ok(machine) => {
                pools.push(machine.clone());
                true
            }
            Err(Unmade::Failed(NoAnswer::NoRoots(_))) if !pools.is_empty() => false,
            Err(unmade) => return Err(unmade),
        };
        let trusting = Arc::new(Trusting::new(pools).map_err(refused)?);
        let mut known = self.shared.known.lock();
        if is_whole && known.bundles.as_ref().map(Arc::as_ptr) == bundles.as_ref().map(Arc::as_ptr) {
            known.keep(authorities.cloned(), trusting.clone());
        }
        Ok(trusting)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("loaded", &self.shared.machine.initialized())
            .finish()
    }
}

// === impl Known ===

impl Known {
    fn found(&mut self, authorities: Option<&Authorities>) -> Option<Arc<Trusting>> {
        let is_it = |(of, _): &(Option<Authorities>, _)| of.as_ref() == authorities;
        let found = self.recent.iter().position(is_it)?;
        let newest = self.recent.remove(found)?;
        let trusting = newest.1.clone();
        self.recent.push_front(newest);
        Some(trusting)
    }

    fn keep(&mut self, authorities: Option<Authorities>, trusting: Arc<Trusting>) {
        self.recent.push_front((authorities, trusting));
        self.recent.truncate(SETS_KEPT);
    }
}

/// Reads the roots, on a thread that may block on files.
async fn load() -> Result<Arc<Pool>, Unmade> {
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
    let pool = Pool::new(&found.certs, &provider());
    pool.map(Arc::new)
        .map_err(|error| NoAnswer::NoRoots(tls_words::error(&error, "")).into())
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

// === impl Trusting ===

impl Trusting {
    fn new(pools: Vec<Arc<Pool>>) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Verifier::new(pools, &provider()));
        Ok(Self {
            connector: connector(verifier.clone(), None)?,
            verifier,
        })
    }
}

/// The certificates of a text.
fn pool(authorities: &Authorities) -> Result<Arc<Pool>, rustls::Error> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(authorities.pem().as_bytes()).collect();
    let certificates = certificates.map_err(|error| rustls::Error::General(error.to_string()))?;
    Pool::new(&certificates, &provider()).map(Arc::new)
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
