//! A certificate authority for one test, and what it has signed, as files that servers and clients read.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority, whose certificate and those it signs are files in one folder.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own certificate.
    pub file: PathBuf,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// What clients and servers trust.
    pub authority: PathBuf,
    /// For this machine, and for the API as the pods of a node reach it.
    pub server: Pair,
    /// Of a client with the common name `millrace`.
    pub client: Pair,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

// === impl Pair ===

impl Pair {
    /// The flags of a process that listens with it, at a port that the system chooses.
    pub fn listening(&self) -> Vec<String> {
        let file = |path: &Path| path.to_string_lossy().into_owned();
        let (certificate, key) = (file(&self.certificate), file(&self.key));
        [
            "--listen-tls",
            "127.0.0.1:0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

// === impl Authority ===

impl Authority {
    /// Makes one of this name, with its files in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem())?;
        Ok(Self {
            issuer,
            folder: folder.to_path_buf(),
            file,
        })
    }

    /// A certificate for a server on this machine, and for the API as the pods of a node reach it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn server(&self, name: &str) -> anyhow::Result<Pair> {
        self.sign(
            name,
            &["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"],
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A certificate for a client, with these names beside the common one: one with a colon is a URI.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn client(&self, name: &str, names: &[&str]) -> anyhow::Result<Pair> {
        self.sign(name, names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> anyhow::Result<Pair> {
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(hosts.into_iter().map(str::to_owned).collect::<Vec<_>>())?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        fs::write(&pair.certificate, certificate.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

// === impl Certificates ===

impl Certificates {
    /// Makes all of them in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let authority = Authority::make(folder, "ca")?;
        Ok(Self {
            server: authority.server("server")?,
            client: authority.client("millrace", &[])?,
            authority: authority.file,
        })
    }
}
