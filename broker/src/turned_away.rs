//! Whom a Broker did not let in, for those who follow what happens there: callers by HTTP, and Triggers and
//! sources of this process.

use std::sync::Arc;

use millrace_event::{InnerSender, ObjectName};

/// Is told that somebody was not let in at a Broker. It must not block.
pub type TurnedAway = Arc<dyn Fn(&ObjectName, Away<'_>) + Send + Sync>;

/// Who was not let in, and why.
#[derive(Clone, Copy, Debug)]
pub enum Away<'a> {
    /// Somebody who calls by HTTP.
    Caller(&'a millrace_access::Refusal),
    /// A Trigger or a source, with the stable code of the reason.
    Within(&'a InnerSender, &'static str),
}

// === impl Away ===

impl Away<'_> {
    /// The stable code of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Caller(refusal) => refusal.code(),
            Self::Within(_, code) => code,
        }
    }

    /// Who it was, if that is known: `token:till`, `system:millrace:trigger:shop:ship`.
    pub fn who(&self) -> Option<String> {
        match self {
            Self::Caller(refusal) => refusal.identity().map(ToString::to_string),
            Self::Within(sender, _) => Some(sender.to_string()),
        }
    }

    /// Whether it can happen as often as somebody likes: a stranger who calls, or whoever does not keep to a
    /// limit.
    pub fn is_unbounded(&self) -> bool {
        match self {
            Self::Caller(refusal) => refusal.identity().is_none() || refusal.is_too_much(),
            Self::Within(..) => false,
        }
    }
}
