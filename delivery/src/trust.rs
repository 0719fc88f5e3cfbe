//! Whether a target's certificate is trusted: signed by one of the roots, or itself one of them. The roots
//! are those of the machine, of trust bundles and of the destination; each counts by itself.
//!
//! The second kind is what `openssl req -x509` makes and what people name with `SSL_CERT_FILE`: a self-signed
//! certificate that claims to be an authority. curl accepts it; webpki by itself holds that an authority
//! cannot be a server.
//!
//! # Guarantees
//! A certificate is accepted in the second way only if it is byte for byte one of the roots, is valid now,
//! and is for the host's name. The handshake's signature is checked as always: nobody can use the certificate
//! without its key.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// Certificates from one place: the machine's, those of trust bundles, or those of one destination.
#[derive(Debug)]
pub(crate) struct Pool {
    webpki: Arc<WebPkiServerVerifier>,
    /// The certificates as they stand in their files.
    roots: HashSet<Vec<u8>>,
}

/// Trusts what any of its pools vouches for.
#[derive(Debug)]
pub(crate) struct Verifier {
    pools: Vec<Arc<Pool>>,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl Pool ===

impl Pool {
    /// # Errors
    /// When none of these is a certificate.
    pub(crate) fn new(
        roots: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self {
            webpki,
            roots: roots.iter().map(|root| root.to_vec()).collect(),
        })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.webpki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if is_authority(&error) && self.roots.contains(end_entity.as_ref()) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// Pools that are asked in this order.
    pub(crate) fn new(pools: Vec<Arc<Pool>>, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { pools, algorithms }
    }
}

/// Whether the error means that a server showed a certificate which claims to be an authority. webpki checks
/// a certificate's time before its purpose, so this error means that the time is right.
pub(crate) fn says_authority(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if says_authority(other))
}

/// Whether the error only says that a pool does not know who signed the certificate: another pool may say
/// more.
fn says_little(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut told = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for pool in &self.pools {
            match pool.verify(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                Err(error) if says_little(&told) => told = error,
                Err(_) => {}
            }
        }
        Err(told)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
