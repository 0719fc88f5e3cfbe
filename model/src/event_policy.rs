//! Who may send events to a Broker: policies, and how they decide.
//!
//! # Guarantees
//! - A Broker to which no policy is bound is decided by the default alone. With one that is, an event needs a
//!   policy that names its sender and whose filters, if it has any, hold.
//! - Who sends is enough for a decision, unless a policy that names the sender has filters.
//! - A decision needs a look-up by the sender's name, and one comparison for each pattern with a `*`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use millrace_event::{Event, ObjectName};
use millrace_filter::turns::SLICE;
use millrace_filter::{Allowance, Compiled, Decision, Filter, Subject};

/// A policy, with what it refers to looked up.
#[derive(Clone, Debug)]
pub struct EventPolicy {
    /// Its name.
    pub name: ObjectName,
    /// The uid that Kubernetes gave it; `None` from a file.
    pub uid: Option<String>,
    /// The Brokers it is bound to, of those that are there.
    pub brokers: Vec<ObjectName>,
    /// Whom it allows.
    pub from: Vec<Pattern>,
    /// Its filters as written: all must hold.
    pub filters: Vec<Filter>,
    /// The filters ready to run; `None`: it has none, and allows every event.
    pub compiled: Option<Arc<Compiled>>,
}

/// Names of senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// One.
    Exact(Box<str>),
    /// All that begin so.
    Prefix(Box<str>),
}

/// Who may send to Brokers without a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultMode {
    /// All senders may.
    #[default]
    AllowAll,
    /// Those of the Broker's namespace may. Not every sender has a namespace.
    AllowSameNamespace,
    /// Nobody may.
    DenyAll,
}

/// Who sends, as policies name it.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// The name: `system:serviceaccount:shop:till`.
    pub subject: &'a str,
    /// The namespace that it is of, if it is of one.
    pub namespace: Option<&'a str>,
}

/// The policies of one Broker.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    all: Vec<Arc<EventPolicy>>,
    /// Places in `all`, in their order.
    exact: HashMap<Box<str>, Vec<usize>>,
    prefixes: Vec<(Box<str>, usize)>,
}

/// What is decided, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It may, by this policy.
    AllowedBy(ObjectName),
    /// No policy is bound, and the default allows it.
    AllowedByDefault(DefaultMode),
    /// None of the policies that are bound allows it.
    NoneAllows,
    /// No policy is bound, and the default allows it not.
    DeniedByDefault(DefaultMode),
}

/// What can be said of a sender before there is an event.
#[derive(Clone, Debug)]
pub enum Beforehand {
    /// Whatever the event.
    Decided(Ruling),
    /// The filters of these policies decide.
    Asks(Vec<Arc<EventPolicy>>),
}

// === impl EventPolicy ===

impl PartialEq for EventPolicy {
    fn eq(&self, other: &Self) -> bool {
        // What is compiled follows from the filters.
        (&self.name, &self.uid, &self.brokers) == (&other.name, &other.uid, &other.brokers)
            && self.from == other.from
            && self.filters == other.filters
    }
}

// === impl Pattern ===

impl Pattern {
    /// Reads a name; a `*` at its end stands for any rest.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(begin) => Self::Prefix(begin.into()),
            None => Self::Exact(text.into()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(begin) => write!(f, "{begin}*"),
        }
    }
}

// === impl DefaultMode ===

impl DefaultMode {
    /// All of them, by their words.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("allow-all", Self::AllowAll),
        ("allow-same-namespace", Self::AllowSameNamespace),
        ("deny-all", Self::DenyAll),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowAll => "allow-all",
            Self::AllowSameNamespace => "allow-same-namespace",
            Self::DenyAll => "deny-all",
        }
    }

    fn judge(self, broker: &ObjectName, from: From<'_>) -> Ruling {
        let may = match self {
            Self::AllowAll => true,
            Self::AllowSameNamespace => from.namespace == Some(broker.namespace()),
            Self::DenyAll => false,
        };
        match may {
            true => Ruling::AllowedByDefault(self),
            false => Ruling::DeniedByDefault(self),
        }
    }
}

// === impl From ===

impl<'a> From<'a> {
    /// A sender by its name. The namespace is that which names of service accounts, of SPIFFE ids as Istio
    /// makes them, and of Millrace's own senders hold.
    pub fn named(subject: &'a str) -> Self {
        Self {
            subject,
            namespace: namespace(subject),
        }
    }
}

fn namespace(subject: &str) -> Option<&str> {
    if let Some(rest) = subject.strip_prefix("system:serviceaccount:") {
        return rest.split_once(':').map(|(namespace, _)| namespace);
    }
    if let Some(rest) = subject.strip_prefix("system:millrace:") {
        let mut parts = rest.split(':');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_object = !OF_CALLERS.contains(&kind) && !name.is_empty() && parts.next().is_none();
        return is_object.then_some(namespace);
    }
    let path = subject.strip_prefix("spiffe://")?;
    let mut parts = path.split('/').skip(1);
    (parts.next() == Some("ns")).then(|| parts.next()).flatten()
}

/// Kinds of names that are no objects: tokens and certificates.
const OF_CALLERS: [&str; 2] = ["token", "certificate"];

// === impl Policies ===

impl Policies {
    /// Those that are bound to a Broker, of all.
    pub fn of<'a>(broker: &ObjectName, all: impl IntoIterator<Item = &'a Arc<EventPolicy>>) -> Self {
        let bound = all.into_iter().filter(|policy| policy.brokers.contains(broker));
        let mut policies = Self::default();
        for (nth, policy) in bound.enumerate() {
            for pattern in &policy.from {
                match pattern {
                    Pattern::Exact(name) => policies.exact.entry(name.clone()).or_default().push(nth),
                    Pattern::Prefix(begin) => policies.prefixes.push((begin.clone(), nth)),
                }
            }
            policies.all.push(policy.clone());
        }
        policies
    }

    /// Whether none is bound.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a sender may, as far as its name tells.
    pub fn beforehand(&self, broker: &ObjectName, from: From<'_>, default: DefaultMode) -> Beforehand {
        if self.all.is_empty() {
            return Beforehand::Decided(default.judge(broker, from));
        }
        let mut asks: Vec<usize> = Vec::new();
        let exact = self.exact.get(from.subject).into_iter().flatten();
        let prefixes = self
            .prefixes
            .iter()
            .filter(|(begin, _)| from.subject.starts_with(&**begin));
        for nth in exact.chain(prefixes.map(|(_, nth)| nth)) {
            let policy = &self.all[*nth];
            if policy.compiled.is_none() {
                return Beforehand::Decided(Ruling::AllowedBy(policy.name.clone()));
            }
            asks.push(*nth);
        }
        if asks.is_empty() {
            return Beforehand::Decided(Ruling::NoneAllows);
        }
        asks.sort_unstable();
        asks.dedup();
        Beforehand::Asks(asks.into_iter().map(|nth| self.all[nth].clone()).collect())
    }
}

/// The place of the first of some events that no policy allows, if there is one.
pub type FirstRefused = Option<usize>;

/// Asks filters about events, within the time that there is on an I/O thread.
///
/// # Errors
/// It does not suffice: they must be asked again where there is time ([`Asking`]).
pub fn first_refused_briefly(asked: &[Arc<EventPolicy>], events: &[Event]) -> Result<FirstRefused, Later> {
    refused(asked, events, &Allowance::brief()).ok_or(Later)
}

/// Filters that are asked about events however long it takes, slice by slice.
#[derive(Debug)]
pub struct Asking {
    asked: Vec<Arc<EventPolicy>>,
    events: Vec<Event>,
    /// The event, and the policy that is asked about it next.
    at: (usize, usize),
    refused: FirstRefused,
}

/// There was not the time for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later;

fn refused(asked: &[Arc<EventPolicy>], events: &[Event], allowance: &Allowance) -> Option<FirstRefused> {
    for (nth, event) in events.iter().enumerate() {
        if !judge(asked, event, allowance)?.is_allowed() {
            return Some(Some(nth));
        }
    }
    Some(None)
}

/// What filters decide about one event, however long it takes.
pub fn decide(asked: &[Arc<EventPolicy>], event: &Event) -> Ruling {
    judge(asked, event, &Allowance::unlimited()).unwrap_or(Ruling::NoneAllows)
}

/// What the filters of these policies make of an event; `None`: the allowance is used up.
fn judge(asked: &[Arc<EventPolicy>], event: &Event, allowance: &Allowance) -> Option<Ruling> {
    let subject = Subject::new(event);
    for policy in asked {
        match allows(policy, &subject, allowance) {
            Decision::Match => return Some(Ruling::AllowedBy(policy.name.clone())),
            Decision::Later => return None,
            Decision::NoMatch | Decision::TooMuchWork => {}
        }
    }
    Some(Ruling::NoneAllows)
}

fn allows(policy: &EventPolicy, subject: &Subject<'_>, allowance: &Allowance) -> Decision {
    let filters = policy.compiled.as_ref();
    filters.map_or(Decision::NoMatch, |filters| {
        filters.decide_in_turn(subject, allowance)
    })
}

// === impl Asking ===

impl Asking {
    /// These policies about these events.
    pub fn new(asked: Vec<Arc<EventPolicy>>, events: Vec<Event>) -> Self {
        Self {
            asked,
            events,
            at: (0, 0),
            refused: None,
        }
    }

    /// Works for about [`SLICE`] steps; returns whether all is decided.
    pub fn slice(&mut self) -> bool {
        let allowance = Allowance::unlimited();
        while let Some(event) = self.events.get(self.at.0) {
            let subject = Subject::new(event);
            loop {
                let Some(policy) = self.asked.get(self.at.1) else {
                    self.refused = Some(self.at.0);
                    return true;
                };
                if allowance.spent() >= SLICE {
                    return false;
                }
                self.at.1 += 1;
                if allows(policy, &subject, &allowance) == Decision::Match {
                    break;
                }
            }
            self.at = (self.at.0 + 1, 0);
        }
        true
    }

    /// The place of the first event that may not come in, once all is decided.
    pub fn refused(&self) -> FirstRefused {
        self.refused
    }
}

// === impl Ruling ===

impl Ruling {
    /// Whether it may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::AllowedBy(_) | Self::AllowedByDefault(_))
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowedBy(policy) => write!(f, "allowed by EventPolicy {policy}"),
            Self::AllowedByDefault(mode) => {
                write!(
                    f,
                    "allowed by the default {}: no EventPolicy is bound to the Broker",
                    mode.as_str()
                )
            }
            Self::NoneAllows => f.write_str("refused: no EventPolicy that is bound to the Broker allows it"),
            Self::DeniedByDefault(mode) => {
                write!(
                    f,
                    "refused by the default {}: no EventPolicy is bound to the Broker",
                    mode.as_str()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{DataForm, SpecVersion};

    use super::*;

    fn policy(name: &str, from: &[&str], filters: Vec<Filter>) -> Arc<EventPolicy> {
        let compiled = Compiled::new(&filters).expect("filters");
        Arc::new(EventPolicy {
            name: ObjectName::new("shop", name),
            uid: None,
            brokers: vec![ObjectName::new("shop", "b")],
            from: from.iter().map(|text| Pattern::of(text)).collect(),
            compiled: (!filters.is_empty()).then(|| Arc::new(compiled)),
            filters,
        })
    }

    fn exact(ty: &str) -> Vec<Filter> {
        vec![Filter::Exact([("type".to_owned(), ty.to_owned())].into())]
    }

    fn event(ty: &str) -> Event {
        let builder = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s");
        builder
            .attribute("type", ty)
            .data(DataForm::Bytes, b"")
            .build()
            .expect("an event")
    }

    /// Policies, who sends what, and the verdict.
    #[test]
    fn policies_decide_by_sender_and_event() {
        let (all, same, none) = (
            DefaultMode::AllowAll,
            DefaultMode::AllowSameNamespace,
            DefaultMode::DenyAll,
        );
        let till = || policy("till", &["system:serviceaccount:shop:till"], Vec::new());
        let team = || policy("team", &["system:serviceaccount:shop:*"], exact("paid"));
        let nobody = || policy("nobody", &[], Vec::new());
        let anybody = || policy("anybody", &["*"], exact("free"));
        let by = |name: &str| Ruling::AllowedBy(ObjectName::new("shop", name));
        let (shop, bank) = (
            "system:serviceaccount:shop:till",
            "system:serviceaccount:bank:till",
        );
        let other = "system:serviceaccount:shop:other";
        let table = [
            (vec![], all, bank, "x", Ruling::AllowedByDefault(all)),
            (vec![], same, shop, "x", Ruling::AllowedByDefault(same)),
            (vec![], same, bank, "x", Ruling::DeniedByDefault(same)),
            (vec![], same, "alice", "x", Ruling::DeniedByDefault(same)),
            (
                vec![],
                same,
                "system:millrace:trigger:shop:t",
                "x",
                Ruling::AllowedByDefault(same),
            ),
            (
                vec![],
                same,
                "system:millrace:cronsource:bank:t",
                "x",
                Ruling::DeniedByDefault(same),
            ),
            (
                vec![],
                same,
                "spiffe://a/ns/shop/sa/till",
                "x",
                Ruling::AllowedByDefault(same),
            ),
            (
                vec![],
                same,
                "spiffe://a/shop/till",
                "x",
                Ruling::DeniedByDefault(same),
            ),
            (
                vec![],
                same,
                "system:millrace:token:shop:x",
                "x",
                Ruling::DeniedByDefault(same),
            ),
            (vec![], none, shop, "x", Ruling::DeniedByDefault(none)),
            // With a policy the default says nothing.
            (vec![till()], none, shop, "x", by("till")),
            (vec![till()], all, bank, "x", Ruling::NoneAllows),
            (
                vec![till()],
                all,
                "system:serviceaccount:shop:till2",
                "x",
                Ruling::NoneAllows,
            ),
            (vec![nobody()], all, shop, "x", Ruling::NoneAllows),
            (vec![team()], all, other, "paid", by("team")),
            (vec![team()], all, other, "x", Ruling::NoneAllows),
            (vec![team()], all, bank, "paid", Ruling::NoneAllows),
            (
                vec![team()],
                all,
                "system:serviceaccount:shopping:x",
                "paid",
                Ruling::NoneAllows,
            ),
            // One that fits is enough, and one without filters needs no event.
            (vec![team(), till()], all, shop, "x", by("till")),
            (vec![nobody(), team()], all, shop, "paid", by("team")),
            (vec![team(), anybody()], all, shop, "free", by("anybody")),
            (vec![team(), anybody()], all, bank, "free", by("anybody")),
            (vec![team(), anybody()], all, bank, "x", Ruling::NoneAllows),
        ];
        let broker = ObjectName::new("shop", "b");
        for (nth, (bound, default, subject, ty, expected)) in table.into_iter().enumerate() {
            let policies = Policies::of(&broker, &bound);
            let ruling = match policies.beforehand(&broker, From::named(subject), default) {
                Beforehand::Decided(ruling) => ruling,
                Beforehand::Asks(asked) => decide(&asked, &event(ty)),
            };
            assert_eq!(ruling, expected, "row {nth}: {subject} sends {ty}");
            assert!(Policies::of(&ObjectName::new("shop", "c"), &bound).is_empty());
        }
    }

    #[test]
    fn many_clauses_on_attributes_are_asked_in_slices_too() {
        let clause = Filter::Suffix([("subject".to_owned(), "z".to_owned())].into());
        let many = vec![Filter::Any(vec![clause; 450])];
        let asked: Vec<_> = (0..160)
            .map(|nth| policy(&format!("p{nth}"), &["*"], many.clone()))
            .collect();
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .build()
            .expect("valid");
        assert_eq!(first_refused_briefly(&asked, &[event]), Err(Later));
    }

    #[test]
    fn costly_filters_are_asked_in_slices_and_decide_as_others_do() {
        let costly = Filter::Cesql("subject LIKE '%a%b%c%d%e%f%g'".to_owned());
        let costly: Vec<_> = (0..8)
            .map(|nth| policy(&format!("p{nth}"), &["*"], vec![costly.clone()]))
            .collect();
        let long = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .attribute("subject", &"abcdef".repeat(4_000))
            .build()
            .expect("valid");
        let events = vec![long; 20];
        assert_eq!(first_refused_briefly(&costly, &events), Err(Later));
        let refused = |asked: &[Arc<EventPolicy>]| {
            let (mut asking, mut slices) = (Asking::new(asked.to_vec(), events.clone()), 1);
            while !asking.slice() {
                slices += 1;
            }
            (asking.refused(), slices)
        };
        let (found, _) = refused(&costly);
        assert_eq!(found, Some(0), "none of them holds");
        let with_one = [&costly[..], &[policy("one", &["*"], exact("t"))]].concat();
        let (found, slices) = refused(&with_one);
        assert_eq!(found, None);
        assert!(slices > 1, "{slices}");
    }

    #[test]
    fn of_a_batch_the_first_that_is_refused_is_named() {
        let asked = [policy("team", &["*"], exact("paid"))];
        let events = |types: &[&str]| types.iter().map(|ty| event(ty)).collect::<Vec<_>>();
        for (types, expected) in [
            (&[][..], None),
            (&["paid", "paid"], None),
            (&["paid", "x", "y"], Some(1)),
            (&["x"], Some(0)),
        ] {
            let events = events(types);
            assert_eq!(first_refused_briefly(&asked, &events), Ok(expected), "{types:?}");
            let mut asking = Asking::new(asked.to_vec(), events);
            assert!(asking.slice());
            assert_eq!(asking.refused(), expected, "{types:?}");
        }
    }
}
