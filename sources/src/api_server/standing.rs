//! How the parts of a source stand, said in one sentence.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::Report;

/// The parts of one source.
pub(super) struct Standing {
    report: Report,
    parts: Mutex<BTreeMap<String, Part>>,
}

/// How one part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Starting,
    Well,
    Ill(String),
}

/// The troubles that are told; the rest is counted.
const SHOWN: usize = 5;

// === impl Standing ===

impl Standing {
    pub(super) fn new(report: &Report) -> Self {
        Self {
            report: report.clone(),
            parts: Mutex::default(),
        }
    }

    pub(super) fn starts(&self, part: &str) {
        self.set(part, Some(Part::Starting));
    }

    pub(super) fn is_well(&self, part: &str) {
        self.set(part, Some(Part::Well));
    }

    pub(super) fn is_ill(&self, part: &str, why: &str) {
        let ill = Part::Ill(why.to_owned());
        if self.parts.lock().get(part) != Some(&ill) {
            tracing::warn!(part, why, "a part of the source is not at work");
            self.report.failed(format!("{part}: {why}"));
        }
        self.set(part, Some(ill));
    }

    pub(super) fn is_gone(&self, part: &str) {
        self.set(part, None);
    }

    /// The lock is held until the report is made, so that the last change is what is reported last.
    fn set(&self, part: &str, state: Option<Part>) {
        let mut parts = self.parts.lock();
        match state {
            Some(state) => parts.insert(part.to_owned(), state),
            None => parts.remove(part),
        };
        let ill: Vec<String> = parts
            .iter()
            .filter_map(|(name, part)| match part {
                Part::Ill(why) => Some(format!("{name}: {why}")),
                Part::Starting | Part::Well => None,
            })
            .collect();
        let is_starting = parts.values().any(|part| *part == Part::Starting);
        let is_any_well = parts.values().any(|part| *part == Part::Well);
        match (ill.as_slice(), is_any_well) {
            ([], _) if is_starting => {}
            ([], _) => self.report.ready(),
            (ill, true) => self.report.ready_but(sentence(ill)),
            (ill, false) if !is_starting => self.report.not_ready(sentence(ill)),
            _ => {}
        }
    }
}

fn sentence(ill: &[String]) -> String {
    let mut text = ill.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if ill.len() > SHOWN {
        text.push_str(&format!("; and {} more", ill.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_event::{Clock, ObjectName};
    use millrace_model::{SourceKey, SourceKind, SourceState, StatusBoard};

    use super::*;
    use crate::Metrics;

    #[test]
    fn a_source_is_ready_when_a_part_is_and_names_those_that_are_not() {
        let key = SourceKey {
            kind: SourceKind::ApiServer,
            name: ObjectName::new("shop", "pods"),
        };
        let status = StatusBoard::default().source(&key);
        let metrics = Arc::new(Metrics::default().source(&key));
        let standing = Standing::new(&Report::new(status.clone(), metrics, Clock::System));
        let seen = || {
            let status = status.lock();
            (status.state, status.reason.clone().unwrap_or_default())
        };
        standing.starts("a");
        standing.starts("b");
        standing.is_well("a");
        assert_eq!(seen().0, SourceState::Starting);
        standing.is_ill("b", "may not be read");
        assert_eq!(seen(), (SourceState::Ready, "b: may not be read".to_owned()));
        standing.is_ill("a", "is not there");
        assert_eq!(
            seen(),
            (
                SourceState::NotReady,
                "a: is not there; b: may not be read".to_owned()
            )
        );
        for part in ["c", "d", "e", "f", "g"] {
            standing.is_ill(part, "x");
        }
        assert!(seen().1.ends_with("e: x; and 2 more"), "{}", seen().1);
        for part in ["c", "d", "e", "f", "g", "b"] {
            standing.is_gone(part);
        }
        standing.is_well("a");
        assert_eq!(seen(), (SourceState::Ready, String::new()));
    }
}
