//! Where an attempt goes ([`To`]), and where its URL leads: scheme, host and port, and the Host header for
//! it. Parsed once per connection.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use millrace_model::Authorities;

use crate::no_answer::NoAnswer;

/// Where an attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// An absolute `http` or `https` URL.
    pub uri: &'a Uri,
    /// Who vouches for it, beside those whom the machine trusts.
    pub authorities: Option<&'a Authorities>,
}

/// The far end of a connection, as a URL names it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    authority: Authority,
    /// Speak TLS.
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The Host header: without user information, and without the port that the scheme implies.
    pub(crate) host_header: HeaderValue,
}

// === impl To ===

impl<'a> From<&'a Uri> for To<'a> {
    /// A URL for which nobody else vouches.
    fn from(uri: &'a Uri) -> Self {
        let authorities = None;
        Self { uri, authorities }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint of an absolute `http` or `https` URL.
    pub(crate) fn of(uri: &Uri) -> Result<Self, NoAnswer> {
        Self::parse(uri).ok_or_else(|| NoAnswer::BadUrl(uri.clone()))
    }

    /// Whether this URL leads here too.
    pub(crate) fn is(&self, uri: &Uri) -> bool {
        tls(uri) == Some(self.tls) && uri.authority() == Some(&self.authority)
    }

    fn parse(uri: &Uri) -> Option<Self> {
        let tls = tls(uri)?;
        let authority = uri.authority()?;
        let host = authority.host();
        let implied = if tls { 443 } else { 80 };
        let port = match explicit_port(authority) {
            None => implied,
            Some(text) => text.parse().ok().filter(|port| *port != 0)?,
        };
        let host_header = if port == implied {
            HeaderValue::from_str(host)
        } else {
            HeaderValue::try_from(format!("{host}:{port}"))
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if bare.is_empty() {
            return None;
        }
        let host_header = host_header.ok()?;
        Some(Self {
            authority: authority.clone(),
            tls,
            host: bare.to_owned(),
            port,
            host_header,
        })
    }
}

fn tls(uri: &Uri) -> Option<bool> {
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => Some(false),
        Some(scheme) if *scheme == Scheme::HTTPS => Some(true),
        _ => None,
    }
}

/// The port's text. `Authority::port` also says `None` for one that is no port, which must not become the
/// implied one.
fn explicit_port(authority: &Authority) -> Option<&str> {
    let after_user = authority.as_str().rsplit('@').next().unwrap_or_default();
    let after_host = after_user.strip_prefix(authority.host())?;
    after_host.strip_prefix(':').filter(|port| !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_host_header() {
        let cases: [(&str, bool, &str, u16, &str); 10] = [
            ("http://a.example", false, "a.example", 80, "a.example"),
            ("http://a.example:/x", false, "a.example", 80, "a.example"),
            ("http://a.example:80/x", false, "a.example", 80, "a.example"),
            (
                "http://a.example:8080/x",
                false,
                "a.example",
                8080,
                "a.example:8080",
            ),
            ("https://a.example/x", true, "a.example", 443, "a.example"),
            ("https://a.example:80/x", true, "a.example", 80, "a.example:80"),
            ("HTTP://A.example/x", false, "A.example", 80, "A.example"),
            (
                "http://u:p@a.example:81/x",
                false,
                "a.example",
                81,
                "a.example:81",
            ),
            ("http://[::1]:9000/x", false, "::1", 9000, "[::1]:9000"),
            (
                "http://127.0.0.1:9001/",
                false,
                "127.0.0.1",
                9001,
                "127.0.0.1:9001",
            ),
        ];
        for (url, tls, host, port, header) in cases {
            let endpoint = Endpoint::of(&url.parse().expect(url)).expect(url);
            let got = (
                endpoint.tls,
                endpoint.host.as_str(),
                endpoint.port,
                endpoint.host_header.to_str().expect("text"),
            );
            assert_eq!(got, (tls, host, port, header), "{url}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for url in [
            "/only/a/path",
            "a.example",
            "ftp://a.example/",
            "http://a.example:99999/",
            "http://a.example:0/",
        ] {
            let refused = Endpoint::of(&url.parse().expect(url)).map(|endpoint| endpoint.port);
            assert!(matches!(refused, Err(NoAnswer::BadUrl(_))), "{url}: {refused:?}");
        }
    }

    #[test]
    fn two_urls_share_a_place_when_scheme_and_authority_agree() {
        let endpoint = Endpoint::of(&Uri::from_static("http://a.example:81/x")).expect("an endpoint");
        for (url, expected) in [
            ("http://a.example:81/other?y", true),
            ("http://A.EXAMPLE:81/", true),
            ("https://a.example:81/x", false),
            ("http://a.example:82/x", false),
            ("http://b.example:81/x", false),
        ] {
            assert_eq!(endpoint.is(&url.parse().expect(url)), expected, "{url}");
        }
    }
}
