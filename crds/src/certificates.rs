//! Certificates that documents and addresses name (`CACerts`), and those of trust bundles: texts in PEM,
//! looked at before anything relies on them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_model::Authorities;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use webpki::anchor_from_trusted_cert;

/// The longest text, in octets: as much as the schema allows.
const LONGEST: usize = 64 << 10;

/// Certificates in PEM that can vouch for a target.
///
/// # Errors
/// A sentence that says what is wrong, and repeats nothing of the text: somebody may have put a key there.
pub fn authorities(pem: &str) -> Result<Authorities, String> {
    if pem.len() > LONGEST {
        return Err(format!("certificates have up to {LONGEST} octets together"));
    }
    let mut count = 0;
    for (index, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).enumerate() {
        let number = index + 1;
        let (kind, octets) = section.map_err(|_| format!("part {number} is not PEM"))?;
        if kind != SectionKind::Certificate {
            return Err(format!(
                "part {number} is no certificate, and nothing else may stand here"
            ));
        }
        if !can_vouch(&octets) {
            return Err(format!("certificate {number} cannot be read"));
        }
        count = number;
    }
    if count == 0 {
        return Err(
            "a certificate in PEM is expected, which begins with -----BEGIN CERTIFICATE-----".to_owned(),
        );
    }
    Ok(Authorities::new(pem))
}

/// What a text in PEM has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// Its certificates that can vouch for a target, in PEM.
    pub certificates: String,
    /// How many other parts it has.
    pub others: usize,
}

/// Sorts the certificates that can vouch for a target out of a text in PEM.
pub fn sort(text: &str) -> Sorted {
    let mut sorted = Sorted::default();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        match section {
            Ok((SectionKind::Certificate, octets)) if can_vouch(&octets) => {
                sorted.certificates.push_str(&pem(&octets));
            }
            Ok(_) | Err(_) => sorted.others += 1,
        }
    }
    if sorted.certificates.is_empty() && !text.trim().is_empty() {
        sorted.others = sorted.others.max(1);
    }
    sorted
}

fn can_vouch(octets: &[u8]) -> bool {
    anchor_from_trusted_cert(&CertificateDer::from(octets)).is_ok()
}

/// A certificate as PEM has it, in lines of 64 characters.
fn pem(octets: &[u8]) -> String {
    let encoded = STANDARD.encode(octets);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of nobody, as it stands in a file.
    const CERTIFICATE: &str = include_str!("../tests/data/authority.pem");

    #[test]
    fn certificates_are_sorted_out_as_they_are() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (text, count, others) in [
            (CERTIFICATE, 1, 0),
            (&format!("{CERTIFICATE}{key}# of the shop\n{CERTIFICATE}"), 2, 1),
            ("none", 0, 1),
            ("", 0, 0),
        ] {
            let sorted = sort(text);
            assert_eq!(sorted.certificates, CERTIFICATE.repeat(count), "{text}");
            assert_eq!(sorted.others, others, "{text}");
        }
    }

    #[test]
    fn only_certificates_that_can_be_used_are_taken() {
        let two = format!("# of the shop\n{CERTIFICATE}\n{CERTIFICATE}");
        for pem in [CERTIFICATE, &two, &CERTIFICATE.replace('\n', "\r\n")] {
            assert_eq!(authorities(pem).expect("taken").pem(), pem);
        }
        let key = "-----BEGIN PRIVATE KEY-----\nSECRET==\n-----END PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let cut = &CERTIFICATE[..CERTIFICATE.len() / 2];
        for (pem, expected) in [
            ("", "a certificate in PEM is expected"),
            ("trust me", "a certificate in PEM is expected"),
            (key, "part 1 is no certificate"),
            (&format!("{CERTIFICATE}{key}"), "part 2 is no certificate"),
            (broken, "certificate 1 cannot be read"),
            (&format!("{CERTIFICATE}{broken}"), "certificate 2 cannot be read"),
            (cut, "part 1 is not PEM"),
            (&CERTIFICATE.repeat(200), "certificates have up to 65536 octets"),
        ] {
            let why = authorities(pem).expect_err(expected);
            assert!(why.starts_with(expected), "{why}");
            assert!(!why.contains("SECRET") && !why.contains("MIIB"), "{why}");
        }
    }
}
