//! Where an issuer's keys are: OpenID Connect Discovery 1.0.

use http::Uri;

use super::json::Object;

/// The largest document, in octets.
pub const MAX_DOCUMENT: usize = 64 << 10;
/// Where an issuer says where its keys are.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where the document of an issuer is. A slash at its end is not doubled.
pub fn address(issuer: &str) -> String {
    format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
}

/// Where its keys are, as the document says.
///
/// # Errors
/// It is none, or that of another issuer. A sentence.
pub fn keys_address(document: &[u8], issuer: &str) -> Result<Uri, String> {
    if document.len() > MAX_DOCUMENT {
        return Err(format!(
            "the discovery document has more than {MAX_DOCUMENT} octets"
        ));
    }
    let object =
        Object::read(document).map_err(|why| format!("the discovery document cannot be read: {why}"))?;
    let text = |name| object.get::<String>(name).ok().flatten();
    if text("issuer").as_deref() != Some(issuer) {
        return Err("the discovery document is that of another issuer".to_owned());
    }
    let keys =
        text("jwks_uri").ok_or("the discovery document does not say where the keys are (`jwks_uri`)")?;
    checked(&keys).map_err(|why| format!("`jwks_uri` of the discovery document: {why}"))
}

/// A place to fetch keys from. Whoever can change them on the way could make tokens, so it is https, but for
/// this machine.
///
/// # Errors
/// A sentence.
pub fn checked(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str =
        "an https URL without user name and fragment is expected (http only to this machine)";
    let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
    let host = uri.host().unwrap_or_default();
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let is_safe = match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        _ => false,
    };
    let has_user = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if !is_safe || has_user || text.contains('#') {
        return Err(EXPECTED);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_from_safe_places_that_the_issuer_names() {
        for (text, is_good) in [
            ("https://id.example/keys", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://localhost/keys", true),
            ("http://id.example/keys", false),
            ("http://127.0.0.1.example/keys", false),
            ("https://u:p@id.example/keys", false),
            ("https://id.example/keys#x", false),
            ("file:///etc/passwd", false),
            ("/keys", false),
            ("", false),
        ] {
            assert_eq!(checked(text).is_ok(), is_good, "{text}");
        }
        let document = |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
        let ask = |text: &str| keys_address(text.as_bytes(), "https://id.example/a");
        assert!(ask(&document("https://id.example/a", "https://id.example/k")).is_ok());
        for text in [
            document("https://id.example/a/", "https://id.example/k"),
            document("https://id.example/b", "https://id.example/k"),
            document("https://id.example/a", "http://id.example/k"),
            r#"{"issuer":"https://id.example/a"}"#.to_owned(),
            "<html>".to_owned(),
        ] {
            assert!(ask(&text).is_err(), "{text}");
        }
        assert_eq!(
            address("https://id.example/a/"),
            "https://id.example/a/.well-known/openid-configuration"
        );
    }
}
