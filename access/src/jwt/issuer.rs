//! One issuer: whom it may vouch for, and its keys, which come and go.
//!
//! # Guarantees
//! - A token is judged by what is in memory. A key that is not there is asked for, at a bounded rate, and
//!   whoever showed the token is told to come back.
//! - Keys that cannot be fetched again stay in use for a bounded time. A set that makes no sense changes
//!   nothing.
//! - A key that the issuer has withdrawn verifies nothing from the next fetch on, and neither does what was
//!   remembered of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::Uri;
use millrace_event::{Moment, Timestamp};
use parking_lot::Mutex;

use super::algorithm::Algorithm;
use super::claims::{Claims, Standing};
use super::compact::Compact;
use super::keys::{KeyFault, KeySet};
use super::verified::{Found, Verified};
use super::{TokenFault, unreadable};
use crate::grants::Grants;
use crate::identity::{Audience, Identity, OWN};
use crate::refusal::Refusal;
use crate::token::TokenHash;

/// The prefix of SPIFFE ids. Only certificates prove these.
const SPIFFE: &str = "spiffe://";

/// Where the keys of an issuer come from, and what they are for. Inert data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// Where its keys are; `None`: it says so itself.
    pub keys: Option<Uri>,
    /// The authorities of its https; `None`: those of the machine.
    pub authorities: Option<PathBuf>,
    /// A file with a token to show to it.
    pub token: Option<PathBuf>,
    /// The algorithms of its tokens.
    pub algorithms: Vec<Algorithm>,
    /// How often its keys are fetched.
    pub every: Duration,
    /// The least time between two fetches, whatever tokens name.
    pub pause: Duration,
    /// How long keys that cannot be fetched again stay in use.
    pub keep: Duration,
}

/// An issuer's entry in the access file.
#[derive(Debug)]
pub struct Issuer {
    /// Its keys, which outlive a change of the rest.
    pub(crate) keys: Arc<IssuerKeys>,
    /// Audiences that are good for every Broker and the admin side.
    pub(crate) audiences: Vec<String>,
    /// By how much clocks may differ.
    pub(crate) skew: Duration,
    /// What stands before its subjects in names.
    pub(crate) prefix: String,
    /// The prefixes of others that begin with its own: names that begin so are theirs.
    pub(crate) of_others: Vec<String>,
    /// What its subjects may do; the first that fits counts.
    pub(crate) subjects: Vec<Subject>,
}

/// Some subjects of an issuer.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Without the `*` at its end.
    pub(crate) name: String,
    pub(crate) is_prefix: bool,
    pub(crate) grants: Arc<Grants>,
}

/// The keys of one issuer, as they were last fetched.
#[derive(Debug)]
pub struct IssuerKeys {
    source: KeySource,
    current: ArcSwapOption<Current>,
    tries: Mutex<Tries>,
}

/// Keys, with the tokens that they were found to have signed.
#[derive(Debug)]
struct Current {
    set: KeySet,
    verified: Verified,
    /// The steady time until which they are used, unless they are fetched again.
    until: AtomicI64,
}

/// When keys were and are to be fetched, in steady time.
#[derive(Debug, Default)]
struct Tries {
    last: Option<Timestamp>,
    next: Timestamp,
    is_wanted: bool,
    is_running: bool,
}

// === impl Issuer ===

impl Issuer {
    /// Who showed this token before, if that is remembered.
    pub(crate) fn remembered(&self, hash: &TokenHash, now: Moment) -> Option<Result<Identity, Refusal>> {
        let found = self.keys.current(now.steady)?.verified.get(hash)?;
        let is_allowed = self.keys.source.algorithms.contains(&found.algorithm);
        is_allowed.then(|| self.judge(&found.claims, now.wall))
    }

    /// Who shows a token of this issuer, with these claims.
    ///
    /// # Errors
    /// It is not good.
    pub(crate) fn identify(
        &self,
        (token, hash): (&Compact<'_>, &TokenHash),
        claims: Claims,
        now: Moment,
    ) -> Result<Identity, Refusal> {
        let algorithm = token.header.algorithm;
        let algorithm = algorithm.filter(|one| self.keys.source.algorithms.contains(one));
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        let current = self
            .keys
            .current(now.steady)
            .ok_or_else(|| self.keys.missing(now.steady))?;
        if let Err(fault) = current.set.verify(token, algorithm) {
            // A key of another algorithm is no key that a fetch could bring.
            let may_come = fault == TokenFault::UnknownKey && !current.set.knows(token.header.kid.as_deref());
            return Err(match may_come && self.keys.want(now.steady) {
                true => TokenFault::KeysMissing,
                false => fault,
            }
            .into());
        }
        let judged = self.judge(&claims, now.wall);
        if judged.is_ok() {
            current.verified.add(hash, Arc::new(Found { claims, algorithm }));
        }
        judged
    }

    /// The identity that these verified claims name.
    fn judge(&self, claims: &Claims, now: Timestamp) -> Result<Identity, Refusal> {
        let subject = self.subjects.iter().find(|one| one.fits(&claims.subject));
        let grants = subject.map(|subject| subject.grants.clone()).unwrap_or_default();
        let name: Arc<str> = match self.prefix.is_empty() {
            true => claims.subject.clone(),
            false => format!("{}{}", self.prefix, claims.subject).into(),
        };
        let audience = match claims.audiences.iter().any(|one| self.audiences.contains(one)) {
            true => Audience::Everything,
            false => Audience::Only(claims.audiences.clone()),
        };
        if [OWN, SPIFFE].iter().any(|own| name.starts_with(own)) {
            return Err(unreadable("its subject is a name that tokens of issuers cannot have").into());
        }
        if self.of_others.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(unreadable("its subject is a name that another issuer vouches for").into());
        }
        let identity = Identity::of_token(name, grants, audience);
        match claims.standing(now, self.skew) {
            Standing::Good => Ok(identity),
            Standing::Expired => Err(Refusal::Expired(identity)),
            Standing::NotYet => Err(Refusal::NotYet(identity)),
        }
    }
}

// === impl Subject ===

impl Subject {
    fn fits(&self, name: &str) -> bool {
        match self.is_prefix {
            true => name.starts_with(&self.name),
            false => name == self.name,
        }
    }
}

// === impl IssuerKeys ===

impl IssuerKeys {
    /// None yet.
    pub fn new(source: KeySource) -> Self {
        Self {
            source,
            current: ArcSwapOption::empty(),
            tries: Mutex::default(),
        }
    }

    /// Where they come from.
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    /// Whether they are to be fetched now. If so, who asked does it, and says how it went.
    pub fn begin(&self, now: Timestamp) -> bool {
        let mut tries = self.tries.lock();
        let is_due = now >= tries.next || (tries.is_wanted && tries.may(now, self.source.pause));
        if tries.is_running || !is_due {
            return false;
        }
        tries.is_running = true;
        true
    }

    /// Takes what was fetched. Returns how many keys can be used.
    ///
    /// # Errors
    /// It cannot be used; what was there stays, for as long as the source says.
    pub fn fetched(&self, set: &[u8], now: Timestamp) -> Result<usize, KeyFault> {
        let set = KeySet::read(set, &self.source.algorithms);
        let read = set.inspect_err(|_| self.failed(now))?;
        let (count, until) = (read.count(), now.after(self.source.keep).0);
        match self.current.load_full() {
            Some(current) if current.set.is(&read) => current.until.store(until, Ordering::Relaxed),
            Some(_) | None => self.current.store(Some(Arc::new(Current {
                set: read,
                verified: Verified::default(),
                until: AtomicI64::new(until),
            }))),
        }
        self.tries.lock().end(now, self.source.every);
        Ok(count)
    }

    /// They could not be fetched.
    pub fn failed(&self, now: Timestamp) {
        self.tries.lock().end(now, self.source.pause);
    }

    /// How many keys are in use.
    pub fn count(&self, now: Timestamp) -> usize {
        self.current(now).map_or(0, |current| current.set.count())
    }

    fn current(&self, now: Timestamp) -> Option<Arc<Current>> {
        let current = self.current.load_full()?;
        (current.until.load(Ordering::Relaxed) > now.0).then_some(current)
    }

    /// There are none at all: they are asked for, and nothing can be said.
    fn missing(&self, now: Timestamp) -> TokenFault {
        self.want(now);
        TokenFault::KeysMissing
    }

    /// Asks for keys that are not there. Returns whether they are fetched at once.
    fn want(&self, now: Timestamp) -> bool {
        let mut tries = self.tries.lock();
        tries.is_wanted = true;
        tries.is_running || tries.may(now, self.source.pause)
    }
}

// === impl Tries ===

impl Tries {
    fn may(&self, now: Timestamp, pause: Duration) -> bool {
        self.last.is_none_or(|last| now >= last.after(pause))
    }

    fn end(&mut self, now: Timestamp, next: Duration) {
        *self = Self {
            last: Some(now),
            next: now.after(next),
            is_wanted: false,
            is_running: false,
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SET: &[u8] =
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn keys() -> IssuerKeys {
        IssuerKeys::new(KeySource {
            issuer: "https://id.example".to_owned(),
            keys: None,
            authorities: None,
            token: None,
            algorithms: vec![Algorithm::EdDsa],
            every: Duration::from_secs(600),
            pause: Duration::from_secs(30),
            keep: Duration::from_secs(3_600),
        })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000)
    }

    #[test]
    fn a_name_that_begins_with_the_longer_prefix_of_another_is_not_vouched_for() {
        let entry = |(nth, prefix): (usize, &&str)| {
            serde_json::from_value(json!({
                "issuer": format!("https://id{nth}.example"), "subjectPrefix": prefix,
                "subjects": [{"sub": "*", "brokers": ["*"]}],
            }))
            .expect("an entry")
        };
        let prefixes = ["", "k8s:", "a", "ab", "system:mill"];
        let entries = prefixes.iter().enumerate().map(entry).collect();
        let issuers = crate::issuers::read(entries, None).expect("issuers");
        let till = "k8s:system:serviceaccount:shop:till";
        for (prefix, subject, expected) in [
            ("", till, None),
            ("", "k8s:", None),
            ("", "a", None),
            ("", "k8s", Some("k8s")),
            ("", "till", Some("till")),
            ("k8s:", "system:serviceaccount:shop:till", Some(till)),
            ("k8s:", "k8s:till", Some("k8s:k8s:till")),
            ("a", "b:till", None),
            ("a", "B:till", Some("aB:till")),
            ("ab", ":till", Some("ab:till")),
            ("system:mill", "race:token:till", None),
            ("system:mill", "er", Some("system:miller")),
        ] {
            let claims = json!({"iss": "x", "sub": subject, "aud": "x", "exp": 600});
            let claims = Claims::read(claims.to_string().as_bytes()).expect("claims");
            let issuer = issuers.iter().find(|one| one.prefix == prefix).expect("it");
            match (issuer.judge(&claims, at(0)), expected) {
                (Ok(who), Some(name)) => assert_eq!(who.subject(), name),
                (Err(refusal), None) => {
                    let status = refusal.problem().status();
                    assert_eq!((status.as_u16(), refusal.code()), (401, "bad-token"));
                }
                (judged, _) => panic!("{prefix:?} {subject}: {judged:?}"),
            }
        }
    }

    #[test]
    fn keys_are_fetched_when_due_and_for_unknown_names_no_more_often_than_allowed() {
        let keys = keys();
        assert!(keys.begin(at(0)), "at once");
        assert!(!keys.begin(at(0)), "one at a time");
        assert_eq!(keys.fetched(SET, at(1)), Ok(1));
        assert!(!keys.begin(at(600)) && keys.begin(at(601)), "when due");
        keys.fetched(SET, at(601)).expect("a set");
        assert!(!keys.want(at(602)), "too early to ask");
        assert!(
            !keys.begin(at(630)) && keys.begin(at(631)),
            "asked for, once it may be"
        );
        assert!(keys.want(at(631)), "on its way");
        keys.failed(at(632));
        assert!(
            !keys.begin(at(661)) && keys.begin(at(662)),
            "again after a failure"
        );
    }

    #[test]
    fn keys_that_cannot_be_fetched_again_end() {
        let keys = keys();
        assert_eq!(keys.count(at(0)), 0);
        keys.fetched(SET, at(0)).expect("a set");
        let first = keys.current(at(0)).expect("keys");
        keys.failed(at(3_599));
        assert_eq!(
            keys.fetched(b"[]", at(3_599)),
            Err(KeyFault::Unreadable("it is not a JSON object"))
        );
        assert_eq!((keys.count(at(3_599)), keys.count(at(3_600))), (1, 0));
        // The same keys, and what was verified with them, go on; others do not.
        keys.fetched(SET, at(3_700)).expect("a set");
        assert!(Arc::ptr_eq(&first, &keys.current(at(3_700)).expect("keys")));
        keys.fetched(&SET.to_ascii_lowercase(), at(3_701))
            .expect_err("no key");
        keys.fetched(&[SET, b" "].concat(), at(3_702)).expect("a set");
        assert!(!Arc::ptr_eq(&first, &keys.current(at(3_702)).expect("keys")));
    }
}
