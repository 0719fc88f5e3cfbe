//! What a client certificate says about its owner, once the handshake has checked it.

use std::fmt;
use std::sync::Arc;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The name in a client certificate that an authority of this listener has signed: its SPIFFE id, else its
/// first DNS name, else its subject. [`crate::serve`] puts it into the extensions of each request of the
/// connection. Cheap to clone.
///
/// # Guarantees
/// No two kinds of names can be mistaken for each other: a SPIFFE id begins with `spiffe://`, only a subject
/// has an `=`, and a DNS name has ASCII letters, digits and `-._*` alone. A certificate with several SPIFFE
/// ids, with one that has control characters, or with a subject whose text is ambiguous, has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(Arc<str>);

/// What a SPIFFE id begins with.
const SPIFFE: &str = "spiffe://";
/// The longest name.
const MAX_BYTES: usize = 2_048;

// === impl ClientCertificate ===

impl ClientCertificate {
    /// The name in this certificate, in DER form; `None` when it has none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = name_of(&certificate)?;
        (name.len() <= MAX_BYTES).then(|| Self(name.into()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name_of(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let mut ids = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with(SPIFFE) => Some(*uri),
        _ => None,
    });
    match (ids.next(), ids.next()) {
        (Some(id), None) => return (!id.chars().any(char::is_control)).then(|| id.to_owned()),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let dns = names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) if is_host(name) => Some(*name),
        _ => None,
    });
    match dns {
        Some(name) => Some(name.to_ascii_lowercase()),
        None => subject(certificate),
    }
}

/// Whether a name is of letters that names of hosts have.
fn is_host(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    !name.is_empty() && name.bytes().all(is_letter)
}

/// The subject as text, `O=shop, CN=checkout`. A value with a separator in it could pretend to be several.
fn subject(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut attributes = certificate.subject().iter_attributes();
    let plain = attributes.all(|attribute| {
        attribute.as_str().is_ok_and(|value| {
            !value.contains(['=', ',', '+', '"', '\\', '<', '>', ';']) && !value.chars().any(char::is_control)
        })
    });
    let text = certificate.subject().to_string();
    (plain && text.contains('=')).then_some(text)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    /// The name in a certificate with this common name and these other names.
    fn name(common: &str, names: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !common.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        ClientCertificate::read(certificate.der()).map(|certificate| certificate.to_string())
    }

    fn uri(uri: &str) -> SanType {
        SanType::URI(uri.try_into().expect("ASCII"))
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("ASCII"))
    }

    #[test]
    fn a_certificate_is_named_by_its_spiffe_id_its_dns_name_or_its_subject() {
        let id = "spiffe://example.org/ns/shop/sa/checkout";
        let table = [
            ("checkout", vec![dns("a.example"), uri(id)], Some(id)),
            (
                "checkout",
                vec![uri("https://x/"), dns("A.example")],
                Some("a.example"),
            ),
            ("checkout", vec![], Some("CN=checkout")),
            (
                "checkout",
                vec![dns("spiffe://example.org/x")],
                Some("CN=checkout"),
            ),
            ("checkout", vec![dns("a.example\nx")], Some("CN=checkout")),
            (
                "checkout",
                vec![dns("a b"), dns("*.b_c-1.example")],
                Some("*.b_c-1.example"),
            ),
            ("checkout", vec![uri("spiffe://example.org/x\ny")], None),
            ("checkout, O=admin", vec![], None),
            ("spiffe://a=b", vec![], None),
            ("", vec![], None),
            ("checkout", vec![uri(id), uri("spiffe://example.org/other")], None),
        ];
        for (common, names, expected) in table {
            assert_eq!(
                name(common, names.clone()).as_deref(),
                expected,
                "{common} {names:?}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        assert_eq!(ClientCertificate::read(b"\x30\x03\x02\x01\x01"), None);
    }
}
