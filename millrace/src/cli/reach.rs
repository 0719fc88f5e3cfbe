//! How commands reach a Millrace: its address, whom they trust, and what shows who they are. From flags,
//! from variables, or from a [context](crate::cli::context).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use http::{HeaderValue, Uri};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::cli::client::{Caller, url};
use crate::cli::context::{Contexts, Place};
use crate::cli::out;

/// Where the admin API is if nothing says so.
const ADMIN: &str = "http://127.0.0.1:9090";
/// Where events are sent if nothing says so.
const INGRESS: &str = "http://127.0.0.1:8080";
/// The variable that holds a token.
const TOKEN: &str = "MILLRACE_TOKEN";

/// The flags of every command that asks or sends.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Reach {
    /// The admin API of the Millrace to ask [default: that of the context, else http://127.0.0.1:9090]
    #[arg(long, global = true, value_name = "URL", env = "MILLRACE_ADMIN")]
    admin: Option<String>,
    /// The context to use, instead of the current one (`millrace context`)
    #[arg(long, global = true, value_name = "NAME", env = "MILLRACE_CONTEXT")]
    context: Option<String>,
    /// A file with the token that shows who asks. MILLRACE_TOKEN is the token itself
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The authorities to trust for https, in PEM form, instead of the machine's
    #[arg(long, global = true, value_name = "FILE", env = "MILLRACE_CA")]
    ca: Option<PathBuf>,
    /// A client certificate that shows who asks, in PEM form
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MILLRACE_CLIENT_CERT",
        requires = "client_key"
    )]
    client_cert: Option<PathBuf>,
    /// The key of the client certificate
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MILLRACE_CLIENT_KEY",
        requires = "client_cert"
    )]
    client_key: Option<PathBuf>,
}

/// The ids of these flags.
pub(crate) const FLAGS: [&str; 6] = [
    "admin",
    "context",
    "token_file",
    "ca",
    "client_cert",
    "client_key",
];

/// An address, and how to ask there.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) base: Uri,
    pub(crate) caller: Caller,
}

/// Which of the two listeners.
#[derive(Clone, Copy)]
enum Door {
    Admin,
    Ingress,
}

// === impl Reach ===

impl Reach {
    /// The admin API.
    ///
    /// # Errors
    /// What does not make sense, in the flags or in the context.
    pub(crate) fn admin(&self) -> anyhow::Result<Reached> {
        self.reached(Door::Admin, self.admin.as_deref())
    }

    /// Where events are sent, which a flag may say.
    ///
    /// # Errors
    /// As [`Reach::admin`].
    pub(crate) fn ingress(&self, url: Option<&str>) -> anyhow::Result<Reached> {
        self.reached(Door::Ingress, url)
    }

    fn reached(&self, door: Door, given: Option<&str>) -> anyhow::Result<Reached> {
        let contexts = match self.context {
            Some(_) => Contexts::load()?,
            None => Contexts::load_if_any()?,
        };
        let context = contexts.chosen(self.context.as_deref())?;
        let of_context = context.as_ref().and_then(|place| door.of(place));
        let address = given.or(of_context).unwrap_or(door.usual());
        let base = url(door.flag(), address)?;
        // What shows who asks is for the place that the context names, and for no other.
        let is_its_place = of_context.is_some_and(|own| own == address);
        let place = context.filter(|_| is_its_place).unwrap_or_default();
        let place = Place {
            token_file: self.token_file.clone().or(place.token_file),
            ca: self.ca.clone().or(place.ca),
            client_cert: self.client_cert.clone().or(place.client_cert),
            client_key: self.client_key.clone().or(place.client_key),
            ..Place::default()
        };
        let token = self.token(place.token_file.as_deref())?;
        if token.is_some() && base.scheme_str() == Some("http") && !is_loopback(&base) {
            out::remark("warning: the token is sent in clear text; use https");
        }
        let caller = Caller::new(tls(&base, &place)?, token);
        Ok(Reached { base, caller })
    }

    /// The Authorization header: of the flag, the variable, or the context.
    fn token(&self, file: Option<&Path>) -> anyhow::Result<Option<HeaderValue>> {
        let of_variable = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let token = match (of_variable, file) {
            (Some(token), _) if self.token_file.is_none() => token,
            (_, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("the token in {} cannot be read", file.display()))?,
            (_, None) => return Ok(None),
        };
        let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        // Without the error, which might show a piece of it.
        let mut header = header
            .ok()
            .context("the token has characters that no token has")?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// The place that the flags describe, to be kept.
    pub(crate) fn place(&self, ingress: Option<String>) -> anyhow::Result<Place> {
        if let Some(admin) = &self.admin {
            url("--admin", admin)?;
        }
        if let Some(ingress) = &ingress {
            url("--url", ingress)?;
        }
        let absolute = |file: &Option<PathBuf>| file.as_ref().map(std::path::absolute).transpose();
        Ok(Place {
            admin: self.admin.clone(),
            url: ingress,
            token_file: absolute(&self.token_file)?,
            ca: absolute(&self.ca)?,
            client_cert: absolute(&self.client_cert)?,
            client_key: absolute(&self.client_key)?,
        })
    }
}

// === impl Door ===

impl Door {
    fn of(self, place: &Place) -> Option<&str> {
        match self {
            Self::Admin => place.admin.as_deref(),
            Self::Ingress => place.url.as_deref(),
        }
    }

    fn usual(self) -> &'static str {
        match self {
            Self::Admin => ADMIN,
            Self::Ingress => INGRESS,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Admin => "--admin",
            Self::Ingress => "--url",
        }
    }
}

fn is_loopback(base: &Uri) -> bool {
    let host = base.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = |ip: std::net::IpAddr| ip.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_local)
}

/// Whom to trust, and what to show. Certificates are read only for https.
fn tls(base: &Uri, place: &Place) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if base.scheme_str() == Some("https") {
        let trusted = match &place.ca {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(trusted);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let (Some(certificate), Some(key)) = (&place.client_cert, &place.client_key) else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| anyhow::anyhow!("{} holds no key in PEM form", key.display()))?;
    builder
        .with_client_auth_cert(certificates(certificate)?, key)
        .with_context(|| format!("the client certificate {} cannot be used", certificate.display()))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let none = || format!("{} holds no certificate in PEM form", file.display());
    let read = CertificateDer::pem_file_iter(file).with_context(none)?;
    let certificates = read.collect::<Result<Vec<_>, _>>().with_context(none)?;
    anyhow::ensure!(!certificates.is_empty(), none());
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machine_itself_gets_a_token_in_clear_text_without_a_warning() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://LOCALHOST", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&url.parse().expect("a URL")), expected, "{url}");
        }
    }
}
