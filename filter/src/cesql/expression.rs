//! An expression as a tree: what the parser makes and the evaluation walks.

use super::functions::Function;
use super::like::Pattern;
use super::value::Type;
use crate::clause::Attr;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Where it stands in the text, in bytes.
    pub(crate) span: (usize, usize),
    /// Levels from here down, itself included.
    pub(crate) height: usize,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text(Box<str>),
    Integer(i32),
    Boolean(bool),
    Attribute(Attr),
    Exists(Attr),
    Not(Box<Node>),
    Negate(Box<Node>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Compare(Compare, Box<[Node; 2]>),
    /// `a AND (b OR (c XOR d))`: each operator stands before the rest, which is one operand of it. As a list,
    /// so that a long chain is not a deep tree.
    Chain(Box<[Node]>, Box<[Logic]>),
    Like {
        of: Box<Node>,
        pattern: Pattern,
        negated: bool,
    },
    In {
        of: Box<Node>,
        set: Box<[Node]>,
        negated: bool,
    },
    Call(Function, Box<[Node]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

// === impl Node ===

impl Node {
    /// The parts that are evaluated for this one.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Text(_) | Kind::Integer(_) | Kind::Boolean(_) | Kind::Attribute(_) | Kind::Exists(_) => {
                Vec::new()
            }
            Kind::Not(of) | Kind::Negate(of) | Kind::Like { of, .. } => vec![&**of],
            Kind::Arithmetic(_, both) | Kind::Compare(_, both) => both.iter().collect(),
            Kind::Chain(operands, _) => operands.iter().collect(),
            Kind::In { of, set, .. } => std::iter::once(&**of).chain(set).collect(),
            Kind::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// The type it always has; `None` for an extension, whose type the event tells.
    pub(crate) fn of_type(&self) -> Option<Type> {
        match &self.kind {
            Kind::Text(_) => Some(Type::Text),
            Kind::Integer(_) | Kind::Negate(_) | Kind::Arithmetic(..) => Some(Type::Integer),
            Kind::Attribute(attr) => attr.is_core().then_some(Type::Text),
            Kind::Call(function, _) => Some(function.returns()),
            Kind::Boolean(_)
            | Kind::Exists(_)
            | Kind::Not(_)
            | Kind::Compare(..)
            | Kind::Chain(..)
            | Kind::Like { .. }
            | Kind::In { .. } => Some(Type::Boolean),
        }
    }

    /// Parts that must all be true for this to be true, and whether nothing else must be.
    pub(crate) fn conjuncts(&self) -> (Vec<&Node>, bool) {
        let Kind::Chain(operands, operators) = &self.kind else {
            return (vec![self], true);
        };
        // `a AND b OR c` is `a AND (b OR c)`: those before the first other operator count.
        let ands = operators.iter().take_while(|is| **is == Logic::And).count();
        let mut complete = ands == operators.len();
        let mut conjuncts = Vec::new();
        for operand in &operands[..if complete { operands.len() } else { ands }] {
            let (inner, whole) = operand.conjuncts();
            conjuncts.extend(inner);
            complete &= whole;
        }
        (conjuncts, complete)
    }

    /// The attributes that it and its parts name, each once, in the order in which they stand.
    pub(crate) fn attributes(&self) -> Vec<&Attr> {
        let mut attributes = Vec::new();
        self.collect(&mut attributes);
        attributes
    }

    fn collect<'n>(&'n self, into: &mut Vec<&'n Attr>) {
        if let Kind::Attribute(attr) | Kind::Exists(attr) = &self.kind
            && !into.contains(&attr)
        {
            into.push(attr);
        }
        for child in self.children() {
            child.collect(into);
        }
    }

    /// About how many steps of a few nanoseconds it takes, like [`crate::clause::Test::cost`].
    pub(crate) fn cost(&self) -> u32 {
        let own = match &self.kind {
            Kind::Text(_) | Kind::Integer(_) | Kind::Boolean(_) => 1,
            Kind::Attribute(attr) | Kind::Exists(attr) => attr.cost() + 1,
            Kind::Call(..) => 20,
            Kind::Like { .. } => 6,
            Kind::Not(_)
            | Kind::Negate(_)
            | Kind::Arithmetic(..)
            | Kind::Compare(..)
            | Kind::Chain(..)
            | Kind::In { .. } => 3,
        };
        own + self.children().into_iter().map(Node::cost).sum::<u32>()
    }
}
