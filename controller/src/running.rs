//! How sources run, for their statuses: states with patience, so that a source that comes and goes is not a
//! write each time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::status::SourceStatus;
use millrace_model::{Source, SourceKey, SourceState};
use tokio::time::Instant;

/// How long another state must last before it is shown. The first state is shown at once.
const SETTLED: Duration = Duration::from_secs(10);

/// The states of all sources.
#[derive(Debug, Default)]
pub(crate) struct Running {
    sources: BTreeMap<SourceKey, One>,
}

/// The state of one source.
#[derive(Debug)]
struct One {
    source: Arc<Source>,
    shown: Option<Shown>,
    /// A state that is not shown, and since when it lasts.
    next: Option<(SourceState, Instant)>,
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
    /// Takes in how all sources stand; says whether another state is shown now. A source that was edited is
    /// another one: what its predecessor has shown counts no more.
    pub(crate) fn observe(&mut self, all: &BTreeMap<SourceKey, (Arc<Source>, SourceStatus)>) -> bool {
        let before = self.shown();
        self.sources.retain(|key, one| {
            let now = all.get(key);
            now.is_some_and(|(source, _)| Arc::ptr_eq(source, &one.source))
        });
        let mut has_changed = before != self.shown();
        for (key, (source, status)) in all {
            let one = self.sources.entry(key.clone()).or_insert_with(|| One {
                source: source.clone(),
                shown: None,
                next: None,
            });
            has_changed |= status.state != SourceState::Starting && one.observe(status);
        }
        has_changed
    }

    /// How many sources have a state that is shown.
    fn shown(&self) -> usize {
        self.sources.values().filter(|one| one.shown.is_some()).count()
    }

    /// What is shown of a source; nothing while it starts.
    pub(crate) fn of(&self, key: &SourceKey) -> Option<&Shown> {
        self.sources.get(key)?.shown.as_ref()
    }
}

// === impl One ===

impl One {
    fn observe(&mut self, status: &SourceStatus) -> bool {
        let shown = self.shown.as_ref();
        if shown.is_some_and(|shown| shown.state == status.state) {
            self.next = None;
            return false;
        }
        let since = *self.next.get_or_insert_with(|| (status.state, Instant::now()));
        if shown.is_some() && since.1.elapsed() < SETTLED {
            return false;
        }
        self.next = None;
        self.shown = Some(Shown {
            state: status.state,
            reason: status.reason.clone().unwrap_or_default(),
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::source::{CatchUp, Cron, Schedule};
    use millrace_model::{ObjectName, SourceSpec, Target};

    use super::*;

    /// What is shown after that state was seen, and whether it was shown just now.
    fn observe(
        running: &mut Running,
        source: &Arc<Source>,
        state: SourceState,
        reason: &str,
    ) -> (bool, Option<String>) {
        let status = SourceStatus {
            state,
            reason: Some(reason.to_owned()),
            ..SourceStatus::default()
        };
        let key = source.key();
        let has_changed = running.observe(&[(key.clone(), (source.clone(), status))].into());
        (has_changed, running.of(&key).map(|shown| shown.reason.clone()))
    }

    fn said(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn source() -> Arc<Source> {
        let cron = Cron {
            schedule: Schedule::parse("@daily", "UTC").expect("a schedule"),
            content_type: None,
            data: None,
            jitter: Duration::ZERO,
            catch_up: CatchUp::Last,
            catch_up_max_age: Duration::ZERO,
        };
        Arc::new(Source {
            name: ObjectName::new("shop", "tick"),
            sink: Ok(Target::Broker(ObjectName::new("shop", "default"))),
            sink_auth: None,
            overrides: Vec::new(),
            spec: SourceSpec::Cron(Box::new(cron)),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn another_state_is_shown_only_when_it_lasts() {
        let (mut running, source) = (Running::default(), source());
        let mut observe = |state, reason| observe(&mut running, &source, state, reason);
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

    #[tokio::test(start_paused = true)]
    async fn an_edited_source_shows_nothing_of_the_one_before() {
        let (mut running, first, edited) = (Running::default(), source(), source());
        assert_eq!(
            observe(&mut running, &first, SourceState::Ready, "a"),
            (true, said("a"))
        );
        assert_eq!(
            observe(&mut running, &edited, SourceState::Starting, "b"),
            (true, None)
        );
        // It need not last: nothing else is shown of this one. Nor need `Starting` be seen.
        assert_eq!(
            observe(&mut running, &edited, SourceState::NotReady, "c"),
            (true, said("c"))
        );
        assert_eq!(
            observe(&mut running, &first, SourceState::Ready, "d"),
            (true, said("d"))
        );
        assert!(
            running.observe(&BTreeMap::new()),
            "one that is gone shows nothing"
        );
    }
}
