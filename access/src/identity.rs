//! Who calls, once that is known.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use millrace_event::BROKER_AUDIENCE;
use millrace_serve::Peer;

use crate::grants::{Grants, Role};
use crate::limits::Limit;
use crate::refusal::Refusal;

/// Somebody who calls, with what they may do. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: Kind,
    name: Arc<str>,
    grants: Arc<Grants>,
    audience: Audience,
}

/// How it was proved, where it had to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By a JSON Web Token.
    Jwt,
    /// By a token, also as the password of HTTP Basic.
    Token,
    /// By a client certificate.
    Certificate,
    /// Not at all: nobody is asked, and each address is somebody.
    Address,
}

/// What the names of Millrace's own senders begin with. No issuer may vouch for one.
pub(crate) const OWN: &str = "system:millrace:";

/// For whom the proof is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// For every Broker and the admin side.
    Everything,
    /// For these. A Broker's is [`BROKER_AUDIENCE`] and its name.
    Only(Arc<[String]>),
}

// === impl Identity ===

impl Identity {
    pub(crate) fn new(kind: Kind, name: impl Into<Arc<str>>, grants: Arc<Grants>) -> Self {
        let (name, audience) = (name.into(), Audience::Everything);
        Self {
            kind,
            name,
            grants,
            audience,
        }
    }

    /// That of a JSON Web Token.
    pub(crate) fn of_token(name: Arc<str>, grants: Arc<Grants>, audience: Audience) -> Self {
        Self {
            kind: Kind::Jwt,
            name,
            grants,
            audience,
        }
    }

    /// That of whoever calls from there, where nobody is asked who they are.
    pub(crate) fn of_address(peer: Option<Peer>, grants: Arc<Grants>) -> Self {
        let name = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        Self::new(Kind::Address, name, grants)
    }

    /// Whether it may publish to the Broker `namespace/name`.
    ///
    /// # Errors
    /// It may not, or the proof is for somebody else.
    pub fn may_publish(&self, broker: &str) -> Result<(), Refusal> {
        let is_broker = |one: &String| one.strip_prefix(BROKER_AUDIENCE) == Some(broker);
        self.is_for(is_broker)?;
        match self.grants.may_publish(broker) {
            true => Ok(()),
            false => Err(Refusal::BrokerNotAllowed(self.clone())),
        }
    }

    /// Whether it has a role on the admin side.
    ///
    /// # Errors
    /// It has not, or the proof is for somebody else.
    pub fn has_role(&self, role: Role) -> Result<(), Refusal> {
        self.is_for(|_| false)?;
        match self.grants.has(role) {
            true => Ok(()),
            false => Err(Refusal::RoleNotAllowed(self.clone(), role)),
        }
    }

    /// How much it may publish; `None`: any amount.
    pub(crate) fn limit(&self) -> Option<&Arc<Limit>> {
        self.grants.limit.as_ref().filter(|limit| !limit.is_none())
    }

    /// What no other identity has.
    pub(crate) fn key(&self) -> (Kind, &str) {
        (self.kind, &self.name)
    }

    /// Its name, as policies have it: the subject of a token of an issuer as it is, the id of SPIFFE of a
    /// certificate, and `system:millrace:token:checkout` and `system:millrace:certificate:till.example` for
    /// others.
    pub fn subject(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Jwt => Cow::Borrowed(&*self.name),
            Kind::Certificate if self.name.starts_with("spiffe://") => Cow::Borrowed(&*self.name),
            Kind::Certificate => Cow::Owned(format!("{OWN}certificate:{}", self.name)),
            Kind::Token => Cow::Owned(format!("{OWN}token:{}", self.name)),
            Kind::Address => Cow::Owned(format!("{OWN}address:{}", self.name)),
        }
    }

    fn is_for(&self, fits: impl Fn(&String) -> bool) -> Result<(), Refusal> {
        match &self.audience {
            Audience::Everything => Ok(()),
            Audience::Only(all) if all.iter().any(fits) => Ok(()),
            Audience::Only(_) => Err(Refusal::WrongAudience(self.clone())),
        }
    }
}

impl fmt::Display for Identity {
    /// `token:checkout`, `certificate:spiffe://example.org/checkout`, `jwt:system:serviceaccount:shop:till`,
    /// `address:10.0.0.1`: never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Jwt => "jwt",
            Kind::Token => "token",
            Kind::Certificate => "certificate",
            Kind::Address => "address",
        };
        write!(f, "{kind}:{}", self.name)
    }
}
