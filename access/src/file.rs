//! The access file: which tokens and certificates are good, until when and for what, and who else may vouch
//! for somebody ([`crate::jwt`]).
//!
//! ```yaml
//! authentication:
//!   tokens:
//!     - name: checkout
//!       sha256: b5a7496b73df19be13fbd941997abeec66c66444c1f422023b8ef3b75e8035e8
//!       expires: 2030-01-01T00:00:00Z
//!       brokers: [shop/default]
//!   certificates:
//!     - name: spiffe://example.org/ns/shop/*
//!       brokers: ["shop/*"]
//!       admin: read
//! ```
//!
//! Without `authentication` nobody is asked who they are, and the file only limits how much each address
//! sends and each Broker takes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_event::{Moment, Timestamp};
use millrace_model::event_policy::DefaultMode;
use serde::Deserialize;

use crate::credentials::Shown;
use crate::entry::{check_name, expires, grants, limit};
use crate::gate::Authenticate;
use crate::grants::{BrokerPattern, Grants};
use crate::identity::{Identity, Kind};
use crate::issuers::{self, WireIssuer};
use crate::jwt::compact::{self, Compact};
use crate::jwt::{Claims, Issuer, IssuerKeys, TokenFault};
use crate::limits::Limit;
use crate::limits::wire::{FileLimits, WireLimit, WireLimits};
use crate::origins::{Origins, WireWebhooks};
use crate::refusal::Refusal;
use crate::token::TokenHash;

/// The largest file.
const MAX_BYTES: u64 = 4 << 20;

/// Why an access file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not make sense.
    #[error("{}: {reason}", .path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong, with the place in it.
        reason: String,
    },
}

/// The tokens, certificates and issuers of one access file.
#[derive(Debug, Default)]
pub struct AccessFile {
    /// By [`TokenHash::key`]; there is hardly ever more than one behind it.
    tokens: HashMap<u64, Vec<KnownToken>>,
    certificates: Vec<KnownCertificate>,
    issuers: Vec<Issuer>,
    default_mode: DefaultMode,
    limits: FileLimits,
    origins: Origins,
    /// What anybody may do; `None`: everybody is asked who they are.
    pub(crate) anybody: Option<Arc<Grants>>,
}

#[derive(Debug)]
struct KnownToken {
    hash: TokenHash,
    identity: Identity,
    expires: Option<Timestamp>,
}

#[derive(Debug)]
struct KnownCertificate {
    /// Without the `*` at its end.
    name: String,
    is_prefix: bool,
    grants: Arc<Grants>,
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    authentication: Option<WireAuthentication>,
    authorization: Option<WireAuthorization>,
    limits: Option<WireLimits>,
    webhooks: Option<WireWebhooks>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAuthorization {
    default: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAuthentication {
    #[serde(default)]
    tokens: Vec<WireToken>,
    #[serde(default)]
    certificates: Vec<WireCertificate>,
    #[serde(default)]
    issuers: Vec<WireIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireToken {
    name: String,
    sha256: String,
    expires: Option<String>,
    #[serde(default)]
    brokers: Vec<String>,
    admin: Option<String>,
    limit: Option<WireLimit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCertificate {
    name: String,
    expires: Option<String>,
    #[serde(default)]
    brokers: Vec<String>,
    admin: Option<String>,
    limit: Option<WireLimit>,
}

// === impl AccessFile ===

impl AccessFile {
    /// Reads a file. It may block.
    ///
    /// # Errors
    /// It cannot be read, or does not make sense.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = read(path).map_err(|source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| FileError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads its text.
    ///
    /// # Errors
    /// A sentence, with the place, if it does not make sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A piece of the file in an error would be a piece of the file in the log.
        let options = serde_saphyr::options! { with_snippet: false };
        let wire: Wire =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
        let mut file = Self::default();
        let says_something = wire.limits.is_some() || wire.webhooks.is_some();
        let limits = wire.limits.unwrap_or_default().read();
        file.limits = limits.map_err(|why| format!("limits.{why}"))?;
        let origins = wire.webhooks.unwrap_or_default().read();
        file.origins = origins.map_err(|why| format!("webhooks.{why}"))?;
        let Some(authentication) = wire.authentication else {
            if wire.authorization.is_some() {
                return Err("authorization: it decides nothing without `authentication`".to_owned());
            }
            if !says_something {
                return Err("authentication: it is missing, and there are no `limits` either".to_owned());
            }
            file.anybody = Some(Arc::new(Grants {
                brokers: vec![BrokerPattern::All],
                admin: None,
                limit: file.limits.default.clone(),
            }));
            return Ok(file);
        };
        if let Some(authorization) = wire.authorization {
            let known = DefaultMode::WORDS
                .iter()
                .find(|(word, _)| *word == authorization.default);
            let (_, mode) = known.ok_or(
                "authorization.default: `allow-all`, `allow-same-namespace` or `deny-all` is expected",
            )?;
            file.default_mode = *mode;
        }
        file.read_authentication(authentication)?;
        Ok(file)
    }

    fn read_authentication(&mut self, authentication: WireAuthentication) -> Result<(), String> {
        let mut names = HashSet::new();
        for (nth, token) in authentication.tokens.into_iter().enumerate() {
            let at = format!("authentication.tokens[{nth}]");
            if !names.insert(token.name.clone()) {
                return Err(format!("{at}.name: another token has it already"));
            }
            self.add_token(token).map_err(|why| format!("{at}.{why}"))?;
        }
        for (nth, certificate) in authentication.certificates.into_iter().enumerate() {
            let at = format!("authentication.certificates[{nth}]");
            self.add_certificate(certificate)
                .map_err(|why| format!("{at}.{why}"))?;
        }
        self.issuers = issuers::read(authentication.issuers, self.limits.default.as_ref())
            .map_err(|why| format!("authentication.{why}"))?;
        if self.tokens.is_empty() && self.certificates.is_empty() && self.issuers.is_empty() {
            return Err(
                "authentication: there is no token, no certificate and no issuer, so nobody could get in"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Uses keys that are there already, where they come from the same place.
    pub(crate) fn with_keys(mut self, before: &[Arc<IssuerKeys>]) -> Self {
        for issuer in &mut self.issuers {
            let same = before.iter().find(|keys| keys.source() == issuer.keys.source());
            if let Some(keys) = same {
                issuer.keys = keys.clone();
            }
        }
        self
    }

    /// Whether callers are asked who they are.
    pub fn asks_who_calls(&self) -> bool {
        self.anybody.is_none()
    }

    /// What holds for Brokers without a policy.
    pub fn default_mode(&self) -> DefaultMode {
        self.default_mode
    }

    /// How much Brokers take.
    pub(crate) fn broker_limits(&self) -> Vec<(BrokerPattern, Arc<Limit>)> {
        self.limits.brokers.clone()
    }

    /// Which senders of webhooks may send. They are handed over.
    pub(crate) fn take_origins(&mut self) -> Origins {
        std::mem::take(&mut self.origins)
    }

    /// The keys of its issuers.
    pub(crate) fn keys(&self) -> Vec<Arc<IssuerKeys>> {
        self.issuers.iter().map(|issuer| issuer.keys.clone()).collect()
    }

    fn add_token(&mut self, token: WireToken) -> Result<(), String> {
        let hash: TokenHash = token.sha256.parse().map_err(|error| format!("sha256: {error}"))?;
        if hash.is(&TokenHash::of(b"")) {
            return Err("sha256: it is that of an empty token, which nobody can show".to_owned());
        }
        check_name(&token.name)?;
        let known = self.tokens.entry(hash.key()).or_default();
        if known.iter().any(|other| other.hash.is(&hash)) {
            return Err("sha256: another entry has it already".to_owned());
        }
        let limit = limit(token.limit, self.limits.default.as_ref())?;
        let grants = Arc::new(grants(&token.brokers, token.admin.as_deref(), limit)?);
        known.push(KnownToken {
            hash,
            identity: Identity::new(Kind::Token, token.name, grants),
            expires: expires(token.expires.as_deref())?,
        });
        Ok(())
    }

    fn add_certificate(&mut self, certificate: WireCertificate) -> Result<(), String> {
        check_name(&certificate.name)?;
        let prefix = certificate.name.strip_suffix('*').map(str::to_owned);
        let is_prefix = prefix.is_some();
        let name = prefix.unwrap_or(certificate.name);
        if name.is_empty() || name.contains('*') {
            return Err("name: a `*` may only stand at the end of a longer name".to_owned());
        }
        // A DNS name, which a listener reads in lower case. Others have a `:` or a `=` and are as they are.
        let name = match name.contains([':', '=']) {
            true => name,
            false => name.to_ascii_lowercase(),
        };
        let limit = limit(certificate.limit, self.limits.default.as_ref())?;
        let grants = grants(&certificate.brokers, certificate.admin.as_deref(), limit)?;
        self.certificates.push(KnownCertificate {
            name,
            is_prefix,
            grants: Arc::new(grants),
            expires: expires(certificate.expires.as_deref())?,
        });
        Ok(())
    }

    fn token(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<Identity>, Refusal> {
        let known = self.tokens.get(&hash.key());
        let found = known
            .into_iter()
            .flatten()
            .find(|known| known.hash.is(hash))
            .map(|known| (known.identity.clone(), known.expires));
        unless_expired(found, now)
    }

    /// The identity of a token of an issuer. One that was verified before is found by its hash.
    fn jwt(&self, token: &[u8], hash: &TokenHash, now: Moment) -> Result<Option<Identity>, Refusal> {
        if self.issuers.is_empty() || !compact::is_likely(token) {
            return Ok(None);
        }
        let mut issuers = self.issuers.iter();
        if let Some(known) = issuers.find_map(|issuer| issuer.remembered(hash, now)) {
            return known.map(Some);
        }
        let compact = Compact::read(token)?;
        let claims = Claims::read(&compact.claims)?;
        let mut issuers = self.issuers.iter();
        let issuer = issuers.find(|one| one.keys.source().issuer == claims.issuer);
        let issuer = issuer.ok_or(TokenFault::UnknownIssuer)?;
        issuer.identify((&compact, hash), claims, now).map(Some)
    }

    fn certificate(&self, name: &str, now: Timestamp) -> Result<Option<Identity>, Refusal> {
        let found = self.certificates.iter().find(|known| known.fits(name));
        let found = found.map(|known| {
            let identity = Identity::new(Kind::Certificate, name, known.grants.clone());
            (identity, known.expires)
        });
        unless_expired(found, now)
    }
}

impl Authenticate for AccessFile {
    fn identify(&self, shown: &Shown<'_>, now: Moment) -> Result<Option<Identity>, Refusal> {
        match shown {
            Shown::Password(hash) => self.token(hash, now.wall),
            Shown::Bearer(hash, token) => match self.token(hash, now.wall)? {
                Some(known) => Ok(Some(known)),
                None => self.jwt(token, hash, now),
            },
            Shown::Certificate(certificate) => self.certificate(certificate.name(), now.wall),
        }
    }
}

// === impl KnownCertificate ===

impl KnownCertificate {
    fn fits(&self, name: &str) -> bool {
        match self.is_prefix {
            true => name.starts_with(&self.name),
            false => name == self.name,
        }
    }
}

fn unless_expired(
    found: Option<(Identity, Option<Timestamp>)>,
    now: Timestamp,
) -> Result<Option<Identity>, Refusal> {
    match found {
        Some((identity, Some(end))) if end <= now => Err(Refusal::Expired(identity)),
        found => Ok(found.map(|(identity, _)| identity)),
    }
}

/// A time as an access file has it, in whole seconds.
pub fn written(at: Timestamp) -> String {
    let second = at.0.div_euclid(1000);
    jiff::Timestamp::from_second(second)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

fn read(path: &Path) -> std::io::Result<String> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() || about.len() > MAX_BYTES {
        return Err(std::io::Error::other("it is no file of at most 4 MiB"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Role;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn tokens(entries: &str) -> String {
        format!("authentication:\n  tokens:\n{entries}")
    }

    #[test]
    fn a_token_is_known_by_its_hash_until_it_expires() {
        let text = tokens(&format!(
            "  - {{name: one, sha256: {ABC}, expires: 2030-01-01T00:00:00Z, brokers: [shop/default], admin: read}}\n"
        ));
        let file = AccessFile::parse(&text).expect("a file");
        let ask = |token: &[u8], now| file.token(&TokenHash::of(token), Timestamp(now));
        let end = 1_893_456_000_000;
        let known = ask(b"abc", end - 1).expect("good").expect("known");
        assert_eq!(known.to_string(), "token:one");
        assert!(known.may_publish("shop/default").is_ok() && known.has_role(Role::Read).is_ok());
        assert_eq!(ask(b"abc", end), Err(Refusal::Expired(known)));
        assert_eq!(ask(b"abd", end - 1), Ok(None));
    }

    #[test]
    fn certificates_are_known_by_name_or_its_begin_and_the_first_that_fits_counts() {
        let text = "authentication:
  certificates:
  - {name: spiffe://a/shop/till, brokers: [shop/default]}
  - {name: spiffe://a/shop/*, admin: read}
";
        let file = AccessFile::parse(text).expect("a file");
        let ask = |name: &str| file.certificate(name, Timestamp(0)).expect("nothing expires");
        let till = ask("spiffe://a/shop/till").expect("known");
        assert!(till.may_publish("shop/default").is_ok() && till.has_role(Role::Read).is_err());
        let other = ask("spiffe://a/shop/other").expect("known");
        assert!(other.has_role(Role::Read).is_ok());
        assert_eq!(other.to_string(), "certificate:spiffe://a/shop/other");
        assert!(ask("spiffe://a/shopping").is_none());
    }

    #[test]
    fn names_of_hosts_are_compared_in_lower_case_and_other_names_as_they_are() {
        let text = "authentication:
  certificates:
  - {name: Till.Example, admin: read}
  - {name: Shop*, admin: read}
  - {name: CN=Till, admin: read}
  - {name: spiffe://a/Till, admin: read}
";
        let file = AccessFile::parse(text).expect("a file");
        for (name, is_known) in [
            ("till.example", true),
            ("shop.example", true),
            ("CN=Till", true),
            ("CN=till", false),
            ("spiffe://a/Till", true),
            ("spiffe://a/till", false),
        ] {
            let found = file.certificate(name, Timestamp(0)).expect("nothing expires");
            assert_eq!(found.is_some(), is_known, "{name}");
        }
    }

    #[test]
    fn the_tokens_of_the_example_cannot_be_guessed() {
        let file = AccessFile::parse(include_str!("../../examples/access.yaml")).expect("a file");
        let letters: Vec<u8> = (b'0'..=b'9').chain(b'a'..=b'z').collect();
        let mut words = vec![Vec::new()];
        for length in 0..3 {
            let longest = words.iter().filter(|word| word.len() == length);
            let longer =
                longest.flat_map(|word| letters.iter().map(|letter| [&word[..], &[*letter]].concat()));
            let longer: Vec<_> = longer.collect();
            words.extend(longer);
        }
        for word in words {
            let known = file.token(&TokenHash::of(&word), Timestamp(0));
            assert_eq!(known, Ok(None), "{}", String::from_utf8_lossy(&word));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place_and_without_its_content() {
        let entry = |rest: &str| tokens(&format!("  - {{name: one, sha256: {ABC}{rest}}}\n"));
        let table = [
            (String::new(), "authentication: it is missing"),
            ("{}".to_owned(), "authentication: it is missing"),
            (
                "authorization: {default: deny-all}".to_owned(),
                "authorization: it decides nothing",
            ),
            (
                "{limits: {}, authorization: {default: deny-all}}".to_owned(),
                "authorization: it decides nothing",
            ),
            (
                "limits: {default: {eventsPerSecond: 0}}".to_owned(),
                "limits.default.events",
            ),
            ("authentication: {}".to_owned(), "nobody could get in"),
            ("authentication: {tokens: [], other: 1}".to_owned(), "other"),
            (entry(""), "tokens[0].brokers"),
            (entry(", brokers: [shop]"), "tokens[0].brokers[0]"),
            (entry(", admin: all"), "tokens[0].admin"),
            (entry(", brokers: ['*'], expires: tomorrow"), "tokens[0].expires"),
            (entry(", brokers: ['*'], token: x"), "token"),
            (
                tokens(&format!(
                    "  - {{name: one, sha256: {ABC}, admin: read}}\n  - {{name: two, sha256: {ABC}, admin: read}}\n"
                )),
                "tokens[1].sha256",
            ),
            (
                tokens(&format!(
                    "  - {{name: one, sha256: {ABC}, admin: read}}\n  - {{name: one, sha256: {ABC}, admin: read}}\n"
                )),
                "tokens[1].name",
            ),
            (
                tokens("  - {name: one, sha256: hunter2, admin: read}\n"),
                "tokens[0].sha256",
            ),
            (
                tokens(&format!(
                    "  - {{name: one, sha256: {}, admin: read}}\n",
                    TokenHash::of(b"")
                )),
                "tokens[0].sha256: it is that of an empty token",
            ),
            (
                "authentication: {certificates: [{name: '*', admin: read}]}".to_owned(),
                "certificates[0].name",
            ),
        ];
        for (text, expected) in table {
            let said = AccessFile::parse(&text).expect_err(&text);
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("hunter2") && !said.contains(ABC), "{said}");
        }
    }
}
