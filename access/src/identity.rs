//! Who calls, once that is known.

use std::fmt;
use std::sync::Arc;

use crate::grants::{Grants, Role};
use crate::refusal::Refusal;

/// Somebody who has proved who they are, with what they may do. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: Kind,
    name: Arc<str>,
    grants: Arc<Grants>,
}

/// How it was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By a token, also as the password of HTTP Basic.
    Token,
    /// By a client certificate.
    Certificate,
}

// === impl Identity ===

impl Identity {
    pub(crate) fn new(kind: Kind, name: impl Into<Arc<str>>, grants: Arc<Grants>) -> Self {
        let name = name.into();
        Self { kind, name, grants }
    }

    /// Whether it may publish to the Broker `namespace/name`.
    ///
    /// # Errors
    /// It may not.
    pub fn may_publish(&self, broker: &str) -> Result<(), Refusal> {
        match self.grants.may_publish(broker) {
            true => Ok(()),
            false => Err(Refusal::BrokerNotAllowed(self.clone())),
        }
    }

    /// Whether it has a role on the admin side.
    ///
    /// # Errors
    /// It has not.
    pub fn has_role(&self, role: Role) -> Result<(), Refusal> {
        match self.grants.has(role) {
            true => Ok(()),
            false => Err(Refusal::RoleNotAllowed(self.clone(), role)),
        }
    }
}

impl fmt::Display for Identity {
    /// `token:checkout`, `certificate:spiffe://example.org/checkout`: never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Token => "token",
            Kind::Certificate => "certificate",
        };
        write!(f, "{kind}:{}", self.name)
    }
}
