//! Which senders of webhooks may send: those who ask first, and say which system they are
//! (`WebHook-Request-Origin`).
//!
//! ```yaml
//! webhooks:
//!   origins: [eventgrid.example.net, "*.partners.example.com"]
//! ```
//!
//! A name that somebody gives themselves proves nothing. It is asked for beside the login, never instead.

use serde::Deserialize;

/// The most entries.
const MAX: usize = 1_000;
/// The longest name, as in the DNS.
const MAX_NAME: usize = 253;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireWebhooks {
    origins: Option<Vec<String>>,
}

/// The origins that may send.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// `None`: every one.
    allowed: Option<Vec<Pattern>>,
}

/// A name, in lower case.
#[derive(Debug)]
enum Pattern {
    /// `*`.
    All,
    /// `*.example.com`; with its dot, without the star.
    Below(String),
    /// `hooks.example.com`.
    One(String),
}

// === impl WireWebhooks ===

impl WireWebhooks {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence, with the place.
    pub(crate) fn read(self) -> Result<Origins, String> {
        let Some(origins) = self.origins else {
            return Ok(Origins::default());
        };
        if origins.len() > MAX {
            return Err(format!("origins: there are more than {MAX}"));
        }
        let patterns = origins.iter().enumerate().map(|(nth, text)| {
            Pattern::read(text).ok_or_else(|| {
                format!(
                    "origins[{nth}]: a name such as `hooks.example.com`, `*.example.com` or `*` is expected"
                )
            })
        });
        Ok(Origins {
            allowed: Some(patterns.collect::<Result<_, _>>()?),
        })
    }
}

// === impl Origins ===

impl Origins {
    /// Whether this one may send.
    pub(crate) fn allow(&self, origin: &[u8]) -> bool {
        let Some(allowed) = &self.allowed else {
            return true;
        };
        if origin.len() > MAX_NAME {
            return false;
        }
        let origin = origin.to_ascii_lowercase();
        allowed.iter().any(|pattern| pattern.fits(&origin))
    }
}

// === impl Pattern ===

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (is_below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if name.is_empty() || text.len() > MAX_NAME || !name.bytes().all(is_plain) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        Some(match is_below {
            true => Self::Below(format!(".{name}")),
            false => Self::One(name),
        })
    }

    fn fits(&self, origin: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => name.as_bytes() == origin,
            // Something stands before the dot.
            Self::Below(end) => origin.len() > end.len() && origin.ends_with(end.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(origins: &[&str]) -> Result<Origins, String> {
        let origins = origins.iter().map(|text| (*text).to_owned()).collect();
        WireWebhooks {
            origins: Some(origins),
        }
        .read()
    }

    #[test]
    fn an_origin_is_a_name_a_domain_or_any() {
        let table: [(&[&str], &str, bool); 13] = [
            (&["hooks.example.com"], "hooks.example.com", true),
            (&["Hooks.example.com"], "hooks.EXAMPLE.com", true),
            (&["hooks.example.com"], "hooks.example.com.evil.example", false),
            (&["hooks.example.com"], "xhooks.example.com", false),
            (&["*.example.com"], "hooks.example.com", true),
            (&["*.example.com"], "a.b.example.com", true),
            (&["*.example.com"], "example.com", false),
            (&["*.example.com"], ".example.com", false),
            (&["*.example.com"], "evilexample.com", false),
            (&["a.example", "*"], "anything", true),
            (&["a.example"], "*", false),
            (&[], "a.example", false),
            (&["localhost:8080"], "localhost:8080", true),
        ];
        for (origins, origin, expected) in table {
            let origins = read(origins).expect("origins");
            assert_eq!(origins.allow(origin.as_bytes()), expected, "{origins:?} {origin}");
        }
        assert!(Origins::default().allow(b"anything at all"));
        let long = "x".repeat(10_000);
        assert!(!read(&["*"]).expect("origins").allow(long.as_bytes()));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        for text in [
            "",
            "*.",
            "**",
            "a*",
            "*a.example",
            "https://a.example",
            "a b",
            "a/b",
            "é.example",
        ] {
            let said = read(&["a.example", text]).expect_err(text);
            assert!(said.starts_with("origins[1]: "), "{text}: {said}");
        }
        assert!(read(&vec!["a.example"; MAX + 1]).is_err());
    }
}
