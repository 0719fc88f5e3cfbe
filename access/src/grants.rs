//! What an identity may do: publish to some Brokers, how much, and read or operate on the admin side.

use std::str::FromStr;
use std::sync::Arc;

use crate::limits::Limit;

/// What may be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The Brokers to which events may be published.
    pub brokers: Vec<BrokerPattern>,
    /// What may be done on the admin side; `None`: nothing.
    pub admin: Option<Role>,
    /// How much may be published, to all of the Brokers together.
    pub limit: Option<Arc<Limit>>,
}

/// A role on the admin side. A higher one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See how everything stands, with the events.
    Read,
    /// Change something, too: redrive, drop, forget, the log level.
    Operate,
}

/// Brokers: one, all of a namespace, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerPattern {
    /// `*`.
    All,
    /// `shop/*`; the namespace with its slash.
    Namespace(Box<str>),
    /// `shop/default`.
    One(Box<str>),
}

/// A text that names no Brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`namespace/name`, `namespace/*` or `*` is expected")]
pub struct BadPattern;

// === impl Grants ===

impl Grants {
    /// Whether events may be published to this Broker, `namespace/name`.
    pub fn may_publish(&self, broker: &str) -> bool {
        self.brokers.iter().any(|pattern| pattern.fits(broker))
    }

    /// Whether this may be done on the admin side.
    pub fn has(&self, role: Role) -> bool {
        self.admin.is_some_and(|own| own >= role)
    }
}

// === impl Role ===

impl Role {
    /// As it stands in the access file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

// === impl BrokerPattern ===

impl BrokerPattern {
    pub(crate) fn fits(&self, broker: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => broker.starts_with(&**namespace),
            Self::One(name) => **name == *broker,
        }
    }
}

impl FromStr for BrokerPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (namespace, name) = text.split_once('/').ok_or(BadPattern)?;
        let is_plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
        };
        match name {
            "*" if is_plain(namespace) => Ok(Self::Namespace(format!("{namespace}/").into())),
            _ if is_plain(namespace) && is_plain(name) => Ok(Self::One(text.into())),
            _ => Err(BadPattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_one_a_namespace_or_all() {
        let may = |patterns: &[&str], broker: &str| {
            let patterns = patterns.iter().map(|text| text.parse().expect("a pattern"));
            let grants = Grants {
                brokers: patterns.collect(),
                ..Grants::default()
            };
            grants.may_publish(broker)
        };
        let table = [
            (&["shop/default"][..], "shop/default", true),
            (&["shop/default"], "shop/default2", false),
            (&["shop/*"], "shop/default", true),
            (&["shop/*"], "shop2/default", false),
            (&["*"], "a/b", true),
            (&["a/b", "shop/*"], "shop/x", true),
            (&[], "a/b", false),
        ];
        for (patterns, broker, expected) in table {
            assert_eq!(may(patterns, broker), expected, "{patterns:?} {broker}");
        }
        for text in [
            "",
            "shop",
            "/",
            "shop/",
            "/default",
            "*/default",
            "shop/de*",
            "a/b/c",
            "Shop/a",
            "**",
        ] {
            assert_eq!(text.parse::<BrokerPattern>(), Err(BadPattern), "{text}");
        }
    }

    #[test]
    fn who_may_operate_may_read() {
        let of = |admin| Grants {
            admin,
            ..Grants::default()
        };
        assert!(of(Some(Role::Operate)).has(Role::Read) && of(Some(Role::Operate)).has(Role::Operate));
        assert!(of(Some(Role::Read)).has(Role::Read) && !of(Some(Role::Read)).has(Role::Operate));
        assert!(!of(None).has(Role::Read));
    }
}
