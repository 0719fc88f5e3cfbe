//! A certificate authority for one test, and what it has signed, as files that servers and clients read.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// What clients and servers trust.
    pub(crate) authority: PathBuf,
    /// For this machine, and for the API as the pods of a node reach it.
    pub(crate) server: Pair,
    /// Of a client with the common name `millrace`.
    pub(crate) client: Pair,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

// === impl Certificates ===

impl Certificates {
    /// Makes all of them in `folder`.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "the test's authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = folder.join("ca.pem");
        fs::write(&file, authority.pem())?;

        let sign = |name: &str, hosts: &[&str], purpose| {
            let mut params =
                CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            let pair = Pair {
                certificate: folder.join(format!("{name}.pem")),
                key: folder.join(format!("{name}.key")),
            };
            fs::write(&pair.certificate, certificate.pem())?;
            fs::write(&pair.key, key.serialize_pem())?;
            anyhow::Ok(pair)
        };
        Ok(Self {
            authority: file,
            server: sign(
                "server",
                &["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"],
                ExtendedKeyUsagePurpose::ServerAuth,
            )?,
            client: sign("millrace", &[], ExtendedKeyUsagePurpose::ClientAuth)?,
        })
    }
}
