//! One condition of a status, as it is shown: with a reason always, and with a time that changes only when
//! its word does.

use millrace_crds::{Condition, ConditionStatus, ConditionType};
use serde_json::{Value, json};

/// A condition without a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) ty: &'static str,
    pub(crate) status: ConditionStatus,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// `Ready` does not depend on it.
    pub(crate) is_info: bool,
}

/// The reason in the status that the definition of a kind gives its objects; its time says nothing.
const NOBODY: &str = "NoControllerYet";

/// The condition that sums up the others.
pub(crate) const READY: &str = "Ready";

// === impl Shown ===

impl Shown {
    /// A condition that is met.
    pub(crate) fn met(ty: &'static str, reason: &str) -> Self {
        Self {
            ty,
            status: ConditionStatus::True,
            reason: reason.to_owned(),
            message: String::new(),
            is_info: false,
        }
    }

    /// A condition that is not met.
    pub(crate) fn unmet(ty: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::False,
            message: message.into(),
            ..Self::met(ty, reason)
        }
    }

    /// A condition of which nothing is known yet.
    pub(crate) fn unknown(ty: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            ..Self::unmet(ty, reason, message)
        }
    }

    /// What all of them come to: not met like the first that is not, else unknown like the first that is
    /// unknown.
    pub(crate) fn sum(all: &[Self]) -> Self {
        let counts = |one: &&Self| !one.is_info;
        let first = |status| all.iter().filter(counts).find(|one| one.status == status);
        match first(ConditionStatus::False).or_else(|| first(ConditionStatus::Unknown)) {
            Some(unhappy) => Self {
                ty: READY,
                ..unhappy.clone()
            },
            None => Self::met(READY, READY),
        }
    }

    /// As in a status. The time is that of the same condition `before`, unless its word was another.
    pub(crate) fn json(&self, before: &Value, now: &str) -> Value {
        let before = before.as_array().into_iter().flatten();
        let is_same = |one: &&Value| one["type"] == self.ty && one["status"] == self.status.as_str();
        let same = before
            .filter(|one| is_same(one) && one["reason"] != NOBODY)
            .find_map(|one| one["lastTransitionTime"].as_str());
        let mut shown = json!({
            "type": self.ty,
            "status": self.status.as_str(),
            "reason": self.reason,
            "lastTransitionTime": same.unwrap_or(now),
        });
        if !self.message.is_empty() {
            shown["message"] = json!(self.message);
        }
        if self.is_info {
            shown["severity"] = json!("Info");
        }
        shown
    }
}

impl From<Condition> for Shown {
    fn from(condition: Condition) -> Self {
        let ty = condition.ty.as_str();
        let met = match condition.ty {
            ConditionType::BrokerReady => "BrokerReady",
            ConditionType::Ready => READY,
            _ => "Resolved",
        };
        Self {
            ty,
            status: condition.status,
            reason: condition.reason.map_or(met, |reason| reason.as_str()).to_owned(),
            message: condition.message,
            is_info: false,
        }
    }
}
