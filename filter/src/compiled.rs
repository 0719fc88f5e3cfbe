//! A filter made ready to run, and the one walk that both decides and explains.

use millrace_event::Event;

use crate::cesql::{Evaluated, Expression, Run, Value};
use crate::clause::Test;
use crate::compile::{self, CompileError};
use crate::explain::{Explanation, Recorder};
use crate::filter::Filter;
use crate::jsonpath::{Asked, PathTest};
use crate::meter::{Allowance, Meter, Stopped};
use crate::subject::Subject;
use crate::tree;

/// A filter made ready: names checked, clauses in the order in which they are cheapest.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The tree in preorder; the first is the root.
    nodes: Box<[Node]>,
    /// Where each node stands, e.g. `filters[0].exact.type`. Apart from the nodes, as only explanations read
    /// it.
    paths: Box<[Box<str>]>,
}

/// A node of the flat tree. Its children follow it directly.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) what: What,
    /// The index behind its last descendant.
    pub(crate) end: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Test(Test),
    Cesql(Box<Expression>),
    Path(Box<PathTest>),
    All,
    Any,
    Not,
}

/// Observes the walk. `Silent` notes nothing and costs nothing; `Recorder` notes why.
pub(crate) trait WalkObserver {
    /// What is noted of one node.
    type Note;
    /// The notes of a node's children.
    type Notes: Default;
    /// A clause was asked and has seen this.
    fn asked(&mut self, at: usize, test: &Test, seen: Option<&str>, held: bool) -> Self::Note;
    /// The evaluation of an expression, which notes as much as this observer wants.
    fn run<'x, 'm>(&self, event: &'x Event, meter: &'m Meter<'m>) -> Run<'x, 'm>;
    /// An expression was evaluated.
    fn evaluated<'x>(
        &mut self,
        at: usize,
        expression: &'x Expression,
        outcome: Evaluated<'x>,
        run: Run<'x, '_>,
    ) -> Self::Note;
    /// A path was asked of this data, to its end unless the work was stopped.
    fn searched(
        &mut self,
        at: usize,
        test: &PathTest,
        asked: Asked<'_>,
        held: bool,
        stopped: Option<Stopped>,
    ) -> Self::Note;
    /// A child did not decide; its note is kept.
    fn gather(notes: &mut Self::Notes, note: Self::Note);
    /// No child of an `all` or `any` stood against the others.
    fn together(&mut self, at: usize, any: bool, notes: Self::Notes) -> Self::Note;
    /// The contrary of an inner filter that held, or did not.
    fn negated(&mut self, inner: bool, note: Self::Note) -> Self::Note;
}

/// The decision of a filter about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The event passes.
    Match,
    /// It does not.
    NoMatch,
    /// It does not, because the decision would need more than [`MAX_STEPS`](crate::MAX_STEPS) steps.
    TooMuchWork,
    /// The allowance does not suffice. Nothing is decided: the filter must be asked again where there is time
    /// for it.
    Later,
}

/// Notes nothing.
struct Silent;

// === impl Compiled ===

impl Compiled {
    /// Compiles the implicit `all` of these filters (an empty list passes everything).
    ///
    /// # Errors
    /// The first fault in document order: a bad name or value, an empty list or map, or more than the bounds
    /// ([`crate::MAX_DEPTH`], [`crate::MAX_CLAUSES`], [`crate::MAX_VALUE_BYTES`]).
    pub fn new(filters: &[Filter]) -> Result<Self, CompileError> {
        let (nodes, paths) = tree::flatten(compile::check(filters)?);
        Ok(Self {
            nodes: nodes.into(),
            paths: paths.into(),
        })
    }

    /// Whether the event passes.
    pub fn matches(&self, event: &Event) -> bool {
        self.decide(&Subject::new(event), &Allowance::unlimited()) == Decision::Match
    }

    /// Decides about the event. Its data is parsed only if a clause needs it and no earlier filter has parsed
    /// it.
    pub fn decide(&self, subject: &Subject<'_>, allowance: &Allowance) -> Decision {
        let meter = Meter::new(allowance);
        let (held, ()) = walk(&self.nodes, 0, subject, &meter, &mut Silent);
        let decision = match meter.stopped() {
            None if held => Decision::Match,
            None => Decision::NoMatch,
            Some(Stopped::Exhausted) => Decision::TooMuchWork,
            Some(Stopped::Later) => return Decision::Later,
        };
        if meter.errors() > 0 {
            subject.note_errors(meter.errors());
        }
        decision
    }

    /// The same decision for filters that are asked one after the other. Clauses on attributes cost the
    /// allowance a step each: many of many filters take long, too.
    pub fn decide_in_turn(&self, subject: &Subject<'_>, allowance: &Allowance) -> Decision {
        let clauses = u64::try_from(self.nodes.len()).unwrap_or(u64::MAX);
        if !allowance.take(clauses) {
            return Decision::Later;
        }
        self.decide(subject, allowance)
    }

    /// The same decision with its reasons, made by the same code.
    pub fn explain(&self, event: &Event) -> Explanation {
        self.explain_subject(&Subject::new(event), &Allowance::unlimited())
    }

    /// The same decision with its reasons, for an event that other filters see as well. It is always made;
    /// `allowance` counts the work.
    pub fn explain_subject(&self, subject: &Subject<'_>, allowance: &Allowance) -> Explanation {
        let unlimited = Allowance::unlimited();
        let meter = Meter::new(&unlimited);
        let mut recorder = Recorder::new(&self.paths);
        let (held, clause) = walk(&self.nodes, 0, subject, &meter, &mut recorder);
        allowance.count(unlimited.spent());
        let asks_nothing = matches!(&*self.nodes, [Node { what: What::All, .. }]);
        let matched = held && meter.stopped().is_none();
        recorder.explanation(matched, (!asks_nothing).then_some(clause))
    }

    /// Where the node at `at` stands.
    pub(crate) fn path(&self, at: usize) -> &str {
        &self.paths[at]
    }

    /// The flat tree, for the index.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

/// The indexes of the direct children of the node at `at`.
pub(crate) fn children(nodes: &[Node], at: usize) -> impl Iterator<Item = usize> {
    let end = nodes[at].end;
    let first = (at + 1 < end).then_some(at + 1);
    std::iter::successors(first, move |&child| {
        Some(nodes[child].end).filter(|&next| next < end)
    })
}

/// Decides the node at `at`. Recursion is bounded by the depth that compiling admits.
///
/// Once the work is stopped nothing more is asked, and the value returned decides nothing.
fn walk<O: WalkObserver>(
    nodes: &[Node],
    at: usize,
    subject: &Subject<'_>,
    meter: &Meter<'_>,
    observer: &mut O,
) -> (bool, O::Note) {
    match &nodes[at].what {
        What::Test(test) => {
            let seen = test.attr.of(subject.event());
            let held = test.ask.holds(seen);
            (held, observer.asked(at, test, seen, held))
        }
        What::Cesql(expression) => {
            let mut run = observer.run(subject.event(), meter);
            let outcome = run.evaluate(expression.root());
            let held = match &outcome {
                Ok(value) => *value == Value::Boolean(true),
                Err(_) => {
                    meter.note_error();
                    false
                }
            };
            (held, observer.evaluated(at, expression, outcome, run))
        }
        What::Path(test) => {
            let (held, asked) = test.ask(subject, meter);
            if asked.is_error() {
                meter.note_error();
            }
            (held, observer.searched(at, test, asked, held, meter.stopped()))
        }
        What::Not => {
            let (inner, note) = walk(nodes, at + 1, subject, meter, observer);
            if meter.stopped().is_some() {
                return (false, note);
            }
            (!inner, observer.negated(inner, note))
        }
        what @ (What::All | What::Any) => {
            // One child decides an `any` by holding, and an `all` by not holding.
            let any = matches!(what, What::Any);
            let mut notes = O::Notes::default();
            for child in children(nodes, at) {
                let (held, note) = walk(nodes, child, subject, meter, observer);
                if held == any || meter.stopped().is_some() {
                    return (held, note);
                }
                O::gather(&mut notes, note);
            }
            (!any, observer.together(at, any, notes))
        }
    }
}

// === impl What ===

impl What {
    /// Whether a node of this kind within one of the other can be drawn up into it.
    pub(crate) fn joins_as(&self, other: &What) -> bool {
        matches!((self, other), (Self::All, Self::All) | (Self::Any, Self::Any))
    }
}

// === impl Silent ===

impl WalkObserver for Silent {
    type Note = ();
    type Notes = ();
    fn asked(&mut self, _: usize, _: &Test, _: Option<&str>, _: bool) {}
    fn run<'x, 'm>(&self, event: &'x Event, meter: &'m Meter<'m>) -> Run<'x, 'm> {
        Run::new(event, meter)
    }
    fn evaluated<'x>(&mut self, _: usize, _: &'x Expression, _: Evaluated<'x>, _: Run<'x, '_>) {}
    fn searched(&mut self, _: usize, _: &PathTest, _: Asked<'_>, _: bool, _: Option<Stopped>) {}
    fn gather((): &mut (), (): ()) {}
    fn together(&mut self, _: usize, _: bool, (): ()) {}
    fn negated(&mut self, _: bool, (): ()) {}
}

#[cfg(test)]
mod tests;
