//! How a listener secures its connections: with which certificate, and which client certificates it takes.
//!
//! The settings are read from files and can be read again while connections are served: those that are open
//! keep theirs, and each new one gets the latest.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How HTTP/2 is called in a handshake.
pub(crate) const HTTP2: &[u8] = b"h2";
/// How HTTP/1.1 is called in a handshake.
const HTTP1: &[u8] = b"http/1.1";
/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Where certificate and key are. Inert data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those of its authorities but the root, in PEM form.
    pub certificate: PathBuf,
    /// Its key, in PEM form, not encrypted.
    pub key: PathBuf,
    /// The authorities whose client certificates are taken, in PEM form; `None`: no client is asked for one.
    pub client_authorities: Option<PathBuf>,
    /// Whether a client must show one.
    pub clients: ClientCertificates,
}

/// Whether a client must show a certificate, where there are authorities for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It may. One of another authority ends the handshake.
    #[default]
    Optional,
    /// Without one there is no connection.
    Required,
}

/// How connections are secured, from the latest files that could be used.
///
/// # Guarantees
/// TLS 1.2 and 1.3, with the cipher suites that rustls ships. HTTP/2 and HTTP/1.1 by ALPN; a client without
/// ALPN gets HTTP/1.1. Files that cannot be used change nothing. No early data is taken. With authorities
/// for clients each connection shows and checks certificates anew.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

/// What was made of the files.
struct Loaded {
    config: Arc<ServerConfig>,
    not_after: i64,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One does not hold what it should.
    #[error("{} is not usable: {reason}", .path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not belong together, as while only one of them is replaced.
    #[error("{} and {} do not go together: {source}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

// === impl Tls ===

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(Loaded::read(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again, for the connections from now on.
    ///
    /// # Errors
    /// They cannot be used; what was read before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(Loaded::read(&self.files)?));
        Ok(())
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.current.load().not_after
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

// === impl Loaded ===

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let not_after = not_after(&files.certificate, &chain)?;
        let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?).map_err(|_| TlsError::Unusable {
            path: files.key.clone(),
            reason: "it holds no key in PEM form that is not encrypted".to_owned(),
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("invariant: the provider has suites of both versions");
        let builder = match verifier(files)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?;
        if files.client_authorities.is_some() {
            // The certificate of a resumed session is not checked again: neither its end nor its authority.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }
}

fn verifier(files: &TlsFiles) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &files.client_authorities else {
        return Ok(None);
    };
    let unusable = |reason: String| TlsError::Unusable {
        path: path.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match files.clients {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    let verifier = builder.build().map_err(|error| unusable(error.to_string()))?;
    Ok(Some(verifier))
}

/// The certificates in a file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(path)?;
    let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Unusable {
            path: path.to_owned(),
            reason: "it holds no certificate in PEM form".to_owned(),
        }),
    }
}

fn not_after(path: &Path, chain: &[CertificateDer<'_>]) -> Result<i64, TlsError> {
    let first = chain.first().map_or(&[][..], |certificate| certificate);
    let parsed = X509Certificate::from_der(first);
    let (_, certificate) = parsed.map_err(|error| TlsError::Unusable {
        path: path.to_owned(),
        reason: format!("its first certificate cannot be read: {error}"),
    })?;
    Ok(certificate.validity().not_after.timestamp())
}

fn text(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        // Not a device or a pipe, which may have no end.
        let about = std::fs::metadata(path)?;
        if !about.is_file() || about.len() > MAX_BYTES {
            return Err(std::io::Error::other("it is no file of at most 1 MiB"));
        }
        std::fs::read(path)
    };
    read().map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Pair {
        certificate: String,
        key: String,
    }

    fn pair() -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        Pair {
            certificate: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    fn files(folder: &Path, pair: &Pair) -> TlsFiles {
        let files = TlsFiles {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            client_authorities: None,
            clients: ClientCertificates::Optional,
        };
        std::fs::write(&files.certificate, &pair.certificate).expect("a file");
        std::fs::write(&files.key, &pair.key).expect("a file");
        files
    }

    #[test]
    fn files_that_cannot_be_used_change_nothing_and_say_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (pair(), pair());
        let files = files(folder.path(), &first);
        let tls = Tls::load(files.clone()).expect("a pair");
        let before = tls.current();
        // A chain begins with the server's own certificate.
        let turned = format!("{}{}", second.certificate, first.certificate);
        let broken = [
            ("tls.key", second.key.as_str(), "do not go together"),
            ("tls.crt", turned.as_str(), "do not go together"),
            ("tls.key", "", "holds no key"),
            ("tls.crt", "", "holds no certificate"),
            (
                "tls.crt",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be read",
            ),
        ];
        for (file, content, why) in broken {
            std::fs::write(folder.path().join(file), content).expect("a file");
            let said = tls.reload().expect_err("files that are wrong").to_string();
            assert!(said.contains(why), "{file}: {said}");
            assert!(Arc::ptr_eq(&before, &tls.current()), "{file}");
            self::files(folder.path(), &first);
        }
        std::fs::remove_file(&files.key).expect("it is there");
        assert!(matches!(tls.reload(), Err(TlsError::Unreadable { .. })));

        self::files(folder.path(), &second);
        tls.reload().expect("another pair");
        assert!(!Arc::ptr_eq(&before, &tls.current()));
    }

    #[test]
    fn sessions_are_resumed_only_where_no_client_shows_a_certificate() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path(), &pair());
        let resumes = |files: &TlsFiles| {
            let config = Tls::load(files.clone()).expect("a pair").current();
            assert_eq!(config.max_early_data_size, 0);
            let tickets = config.send_tls13_tickets > 0 || config.ticketer.enabled();
            (config.session_storage.can_cache(), tickets)
        };
        assert_eq!(resumes(&files), (true, true));
        let authorities = folder.path().join("ca.crt");
        std::fs::write(&authorities, pair().certificate).expect("a file");
        files.client_authorities = Some(authorities);
        assert_eq!(resumes(&files), (false, false));
    }

    #[test]
    fn authorities_of_clients_are_read_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path(), &pair());
        let authorities = folder.path().join("ca.crt");
        files.client_authorities = Some(authorities.clone());
        assert!(matches!(
            Tls::load(files.clone()),
            Err(TlsError::Unreadable { .. })
        ));
        std::fs::write(&authorities, "no PEM").expect("a file");
        assert!(matches!(Tls::load(files.clone()), Err(TlsError::Unusable { .. })));
        std::fs::write(&authorities, pair().certificate).expect("a file");
        let tls = Tls::load(files).expect("a pair");
        assert!(tls.not_after() > 0);
    }
}
