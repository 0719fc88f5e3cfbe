//! The documents of a schedule, revision by revision: which triggers there are, and which events each of them
//! wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_filter::{Compiled, Filter};
use millrace_model::{Broker, DeliveryPolicy, Mesh, OnFull, Retention, Target, Trigger};

/// Two that are there from the beginning, without a dead-letter sink and with one, and one that may come
/// later.
pub(crate) const TRIGGERS: [&str; 3] = ["plain", "letters", "late"];

/// Which events a trigger wants, by their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    All,
    Only(&'static str),
}

/// What the documents say of one trigger.
#[derive(Clone, Copy, Debug)]
struct Document {
    wants: Wants,
    is_there: bool,
}

/// All revisions of the documents; the first is 1.
pub(crate) struct Documents(Vec<BTreeMap<&'static str, Document>>);

/// An object of the namespace.
pub(crate) fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

// === impl Wants ===

impl Wants {
    pub(crate) const EACH: [Self; 3] = [Self::All, Self::Only("a"), Self::Only("b")];

    pub(crate) fn lets_pass(self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => kind == wanted,
        }
    }

    fn filters(self) -> Vec<Filter> {
        match self {
            Self::All => Vec::new(),
            Self::Only(wanted) => vec![Filter::Exact(vec![("type".to_owned(), wanted.to_owned())])],
        }
    }
}

// === impl Documents ===

impl Documents {
    pub(crate) fn new() -> Self {
        let first = TRIGGERS.map(|trigger| {
            let document = Document {
                wants: Wants::All,
                is_there: trigger != "late",
            };
            (trigger, document)
        });
        Self(vec![first.into()])
    }

    pub(crate) fn newest(&self) -> u64 {
        self.0.len() as u64
    }

    /// What the newest revision says of a trigger: `None` if it is not there.
    pub(crate) fn of(&self, trigger: &str) -> Option<Wants> {
        let document = self.last()[trigger];
        document.is_there.then_some(document.wants)
    }

    fn last(&self) -> &BTreeMap<&'static str, Document> {
        self.0.last().expect("the first revision")
    }

    /// The next revision: this trigger wants other events.
    pub(crate) fn want(&mut self, trigger: &'static str, wants: Wants) {
        let mut next = self.last().clone();
        next.entry(trigger).and_modify(|document| document.wants = wants);
        self.0.push(next);
    }

    /// The next revision: this trigger goes, or comes.
    pub(crate) fn toggle(&mut self, trigger: &'static str) {
        let mut next = self.last().clone();
        next.entry(trigger)
            .and_modify(|document| document.is_there = !document.is_there);
        self.0.push(next);
    }

    /// The next revision: every trigger is there that ever was.
    pub(crate) fn bring_back(&mut self) {
        let mut next = self.last().clone();
        for (trigger, document) in &mut next {
            document.is_there = self.has_been(trigger, self.newest());
        }
        self.0.push(next);
    }

    /// Whether the trigger was there at this revision or before.
    pub(crate) fn has_been(&self, trigger: &str, revision: u64) -> bool {
        let mut until_then = self.0.iter().take(revision as usize);
        until_then.any(|documents| documents[trigger].is_there)
    }

    /// What the trigger wanted at these revisions, while it was there.
    pub(crate) fn wanted(&self, trigger: &str, from: u64, until: u64) -> impl Iterator<Item = Wants> {
        let revisions = self
            .0
            .iter()
            .take(until as usize)
            .skip(from.saturating_sub(1) as usize);
        let of_trigger = revisions.map(|documents| documents[trigger]);
        of_trigger
            .filter(|document| document.is_there)
            .map(|document| document.wants)
    }

    /// The newest revision as a mesh.
    pub(crate) fn mesh(&self) -> Arc<Mesh> {
        let broker = Broker {
            name: name("default"),
            uid: None,
            backend: millrace_model::Backend::Embedded,
            retention: Retention::default(),
            backlog_bytes: None,
            on_full: OnFull::Refuse,
        };
        let there = self.last().iter().filter(|(_, document)| document.is_there);
        let triggers = there.map(|(own, document)| trigger(own, document.wants));
        Arc::new(Mesh {
            revision: self.newest(),
            brokers: [(name("default"), Arc::new(broker))].into(),
            triggers: triggers.map(|one| (one.name.clone(), Arc::new(one))).collect(),
            ..Mesh::default()
        })
    }
}

fn trigger(own: &str, wants: Wants) -> Trigger {
    Trigger {
        name: name(own),
        uid: None,
        resume: false,
        broker: name("default"),
        compiled: Arc::new(Compiled::new(&wants.filters()).expect("valid filters")),
        filters: wants.filters(),
        subscriber: Ok(Target::Broker(name(own))),
        subscriber_auth: None,
        dead_letter_auth: None,
        dead_letter: (own == "letters").then(|| Ok(Target::Broker(name("letters-dead")))),
        delivery: DeliveryPolicy {
            retry: 2,
            ..DeliveryPolicy::default()
        },
        parallelism: 3,
        max_deferred: 1_000,
        max_parked: 1_000,
    }
}
