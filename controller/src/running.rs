//! How sources run, for their statuses: states with patience, so that a source that comes and goes is not a
//! write each time.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_model::status::SourceStatus;
use millrace_model::{SourceKey, SourceState};
use tokio::time::Instant;

/// How long another state must last before it is shown. The first state is shown at once.
const SETTLED: Duration = Duration::from_secs(10);

/// The states of all sources.
#[derive(Debug, Default)]
pub(crate) struct Running {
    shown: BTreeMap<SourceKey, Shown>,
    /// States that are not shown, and since when they last.
    next: BTreeMap<SourceKey, (SourceState, Instant)>,
}

/// A state as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) state: SourceState,
    /// Why; as it was when the state was shown first.
    pub(crate) reason: String,
}

// === impl Running ===

impl Running {
    /// Takes in how all sources stand; says whether another state is shown now.
    pub(crate) fn observe(&mut self, all: &BTreeMap<SourceKey, SourceStatus>) -> bool {
        let before = self.shown.len();
        self.shown.retain(|key, _| all.contains_key(key));
        self.next.retain(|key, _| all.contains_key(key));
        let mut has_changed = before != self.shown.len();
        for (key, status) in all {
            if status.state != SourceState::Starting {
                has_changed |= self.observe_one(key, status);
            }
        }
        has_changed
    }

    fn observe_one(&mut self, key: &SourceKey, status: &SourceStatus) -> bool {
        let shown = self.shown.get(key);
        if shown.is_some_and(|shown| shown.state == status.state) {
            self.next.remove(key);
            return false;
        }
        let next = self.next.entry(key.clone());
        let next = next.or_insert_with(|| (status.state, Instant::now()));
        if shown.is_some() && next.1.elapsed() < SETTLED {
            return false;
        }
        self.next.remove(key);
        let shown = Shown {
            state: status.state,
            reason: status.reason.clone().unwrap_or_default(),
        };
        self.shown.insert(key.clone(), shown);
        true
    }

    /// What is shown of a source; nothing while it starts.
    pub(crate) fn of(&self, key: &SourceKey) -> Option<&Shown> {
        self.shown.get(key)
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{ObjectName, SourceKind};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_state_is_shown_only_when_it_lasts() {
        let key = SourceKey {
            kind: SourceKind::Kafka,
            name: ObjectName::new("shop", "orders"),
        };
        let mut running = Running::default();
        let mut observe = |state: SourceState, reason: &str| {
            let status = SourceStatus {
                state,
                reason: Some(reason.to_owned()),
                ..SourceStatus::default()
            };
            let has_changed = running.observe(&[(key.clone(), status)].into());
            (has_changed, running.of(&key).map(|shown| shown.reason.clone()))
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(observe(SourceState::Starting, "a"), (false, None));
        assert_eq!(observe(SourceState::NotReady, "b"), (true, said("b")));
        assert_eq!(observe(SourceState::NotReady, "c"), (false, said("b")));
        for _ in 0..3 {
            assert_eq!(observe(SourceState::Ready, "d"), (false, said("b")));
            tokio::time::advance(SETTLED / 2).await;
            assert_eq!(observe(SourceState::NotReady, "e"), (false, said("b")));
        }
        assert_eq!(observe(SourceState::Ready, "f"), (false, said("b")));
        tokio::time::advance(SETTLED).await;
        assert_eq!(observe(SourceState::Ready, "g"), (true, said("g")));
    }
}
