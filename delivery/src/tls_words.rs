//! What is wrong with a TLS handshake, in words for people: rustls prints some of its errors as Rust types.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, PeerIncompatible};

use crate::trust;

/// Why the handshake with `host` failed.
pub(crate) fn handshake(failed: &io::Error, host: &str) -> String {
    match failed.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => error(inner, host),
        None if failed.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed during it; the server may not speak TLS".to_owned()
        }
        None => failed.to_string(),
    }
}

/// The words for an error of rustls.
pub(crate) fn error(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(wrong) => certificate(wrong, host),
        Error::InvalidMessage(_) => "what came back is not TLS".to_owned(),
        Error::AlertReceived(alert) => format!("the target ended it: {}", words(&format!("{alert:?}"))),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the target speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        Error::PeerIncompatible(why) => {
            format!(
                "the target cannot do what is needed: {}",
                words(&format!("{why:?}"))
            )
        }
        Error::PeerMisbehaved(why) => {
            format!("the target breaks the protocol: {}", words(&format!("{why:?}")))
        }
        Error::NoCertificatesPresented => "the target has shown no certificate".to_owned(),
        Error::NoApplicationProtocol => "the target does not speak HTTP/1.1".to_owned(),
        other => words(&other.to_string()),
    }
}

fn certificate(wrong: &CertificateError, host: &str) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            "the certificate is not signed by a trusted authority; `CACerts` of the destination can name its \
             authority, or the certificate itself, and so can the file that SSL_CERT_FILE names"
                .to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", date(*not_after))
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is valid only from {} on", date(*not_before))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            format!("the certificate is not for {host} but for {}", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for {host}: it names no host in subjectAltName")
        }
        CertificateError::BadSignature => {
            "a trusted authority has the name of its issuer, but did not sign it".to_owned()
        }
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        CertificateError::Revoked => "the certificate has been revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one of a server (extendedKeyUsage)".to_owned()
        }
        CertificateError::Other(other) if trust::says_authority(other) => {
            "the certificate is its own authority and is not trusted; `CACerts` of the destination can name it, and \
             so can the file that SSL_CERT_FILE names".to_owned()
        }
        CertificateError::Other(other) => {
            format!("the certificate is not taken: {}", words(&other.0.to_string()))
        }
        other => format!("the certificate is not taken: {}", words(&format!("{other:?}"))),
    }
}

/// `DnsName("a.example")` is `a.example`.
fn plain_name(shown: &str) -> String {
    shown
        .split_once("(\"")
        .and_then(|(_, rest)| rest.strip_suffix("\")"))
        .or_else(|| shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')))
        .unwrap_or(shown)
        .to_owned()
}

fn date(time: UnixTime) -> String {
    // Later dates cannot be printed; certificates use the year 9999 to say "never".
    let last = Duration::from_secs(253_402_300_799);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.as_secs()).min(last))
}

/// `HandshakeFailure` becomes `handshake failure`. Anything in brackets is left out: it is a value and not a
/// reason.
fn words(name: &str) -> String {
    let name = name.split(['(', '{']).next().unwrap_or(name).trim();
    if name.contains(' ') {
        return name.to_owned();
    }
    let mut words = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn reasons_are_words_and_no_types() {
        let name = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: "a.example".try_into().expect("a name"),
            presented: presented.iter().map(|&name| name.to_owned()).collect(),
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_600_000_000));
        let cases: [(Error, &str); 11] = [
            (
                CertificateError::UnknownIssuer.into(),
                "the certificate is not signed by a trusted authority; `CACerts` of the destination can name its \
                 authority, or the certificate itself, and so can the file that SSL_CERT_FILE names",
            ),
            (
                CertificateError::ExpiredContext {
                    time,
                    not_after: time,
                }
                .into(),
                "the certificate expired at Sun, 13 Sep 2020 12:26:40 GMT",
            ),
            (
                CertificateError::NotValidYetContext {
                    time,
                    not_before: time,
                }
                .into(),
                "the certificate is valid only from Sun, 13 Sep 2020 12:26:40 GMT on",
            ),
            (
                name(&["DnsName(\"b.example\")", "IpAddress(127.0.0.1)"]).into(),
                "the certificate is not for a.example but for b.example, 127.0.0.1",
            ),
            (
                name(&[]).into(),
                "the certificate is not for a.example: it names no host in subjectAltName",
            ),
            (
                CertificateError::UnhandledCriticalExtension.into(),
                "the certificate is not taken: unhandled critical extension",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "what came back is not TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the target ended it: handshake failure",
            ),
            (
                Error::AlertReceived(AlertDescription::UnrecognisedName),
                "the target ended it: unrecognised name",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "the target speaks neither TLS 1.2 nor TLS 1.3",
            ),
            (
                Error::General("no verifier (of a test)".to_owned()),
                "unexpected error: no verifier",
            ),
        ];
        for (wrong, expected) in cases {
            let said = error(&wrong, "a.example");
            assert_eq!(said, expected);
        }
    }
}
