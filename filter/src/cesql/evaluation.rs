//! What an expression gives for an event.
//!
//! An error ends the evaluation at once (the specification's fail-fast mode): as a filter nothing passes that
//! had one, so what would have followed cannot change the decision.

use std::borrow::Cow;

use millrace_event::{Event, Kind as AttributeKind};

use super::expression::{Arithmetic, Compare, Kind, Logic, Node};
use super::functions::{Function, Wrong};
use super::value::{Type, Value};
use crate::clause::Attr;
use crate::meter::Meter;

/// The kinds of errors of an evaluation, as the specification names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A division by zero, or a number out of range.
    Math,
    /// A value that has no form in the type that is needed.
    Cast,
    /// The event does not have the attribute.
    MissingAttribute,
    /// A function has no answer for its arguments.
    FunctionEvaluation,
    /// Any other error: here, that the filters of the Trigger have used up their work budget.
    Generic,
}

/// An error with the part of the expression that has it.
#[derive(Clone, Debug)]
pub(crate) struct EvaluationError<'x> {
    pub(crate) kind: ErrorKind,
    pub(crate) at: &'x Node,
    /// What that part gives instead of a value.
    pub(crate) instead: Value<'x>,
    /// The value that could not be cast, and into what.
    pub(crate) cast: Option<Box<(Value<'x>, Type)>>,
}

pub(crate) type Evaluated<'x> = Result<Value<'x>, EvaluationError<'x>>;

/// One evaluation.
pub(crate) struct Run<'x, 'm> {
    event: &'x Event,
    /// Counts each part that is evaluated, and the bytes that patterns and functions work on.
    meter: &'m Meter<'m>,
    /// What the operands of AND, OR and XOR gave, when somebody wants to know.
    notes: Option<Vec<(&'x Node, Evaluated<'x>)>>,
}

impl<'x, 'm> Run<'x, 'm> {
    pub(crate) fn new(event: &'x Event, meter: &'m Meter<'m>) -> Self {
        Self {
            event,
            meter,
            notes: None,
        }
    }

    /// One that notes what each operand of AND, OR and XOR gave.
    pub(crate) fn noted(event: &'x Event, meter: &'m Meter<'m>) -> Self {
        Self {
            notes: Some(Vec::new()),
            ..Self::new(event, meter)
        }
    }

    pub(crate) fn event(&self) -> &'x Event {
        self.event
    }

    pub(crate) fn into_notes(self) -> Vec<(&'x Node, Evaluated<'x>)> {
        self.notes.unwrap_or_default()
    }

    /// Recursion is bounded by the height that parsing admits.
    pub(crate) fn evaluate(&mut self, node: &'x Node) -> Evaluated<'x> {
        self.charge(node, 1, Type::Boolean)?;
        match &node.kind {
            Kind::Text(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Kind::Integer(number) => Ok(Value::Integer(*number)),
            Kind::Boolean(truth) => Ok(Value::Boolean(*truth)),
            Kind::Attribute(attr) => self.attribute(node, attr),
            Kind::Exists(attr) => Ok(Value::Boolean(attr.of(self.event).is_some())),
            Kind::Not(of) => {
                let value = self.evaluate(of)?;
                boolean(node, value).map(|truth| Value::Boolean(!truth))
            }
            Kind::Negate(of) => {
                let value = self.evaluate(of)?;
                let number = integer(node, value, Type::Integer)?;
                let negated = number.checked_neg().map(Value::Integer);
                negated.ok_or_else(|| failure(node, ErrorKind::Math, Type::Integer))
            }
            Kind::Arithmetic(operator, both) => self.arithmetic(node, *operator, both),
            Kind::Compare(operator, both) => self.compare(node, *operator, both),
            Kind::Chain(operands, operators) => self.chain(node, operands, operators),
            Kind::Like { of, pattern, negated } => {
                let text = self.evaluate(of)?.into_text();
                self.charge(node, pattern.work(text.len()), Type::Boolean)?;
                Ok(Value::Boolean(pattern.matches(&text) != *negated))
            }
            Kind::In { of, set, negated } => self.is_in(node, of, set, *negated),
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
        }
    }

    fn attribute(&self, node: &'x Node, attr: &Attr) -> Evaluated<'x> {
        let Some(value) = attr.value_of(self.event) else {
            return Err(failure(node, ErrorKind::MissingAttribute, Type::Boolean));
        };
        Ok(match value.kind {
            AttributeKind::String | AttributeKind::RawHeader => Value::Text(Cow::Borrowed(value.text)),
            AttributeKind::Boolean => Value::Boolean(value.text == "true"),
            // An event only has Integers that are in range.
            AttributeKind::Integer => Value::Integer(value.text.parse().unwrap_or(0)),
        })
    }

    fn arithmetic(
        &mut self,
        node: &'x Node,
        operator: Arithmetic,
        [left, right]: &'x [Node; 2],
    ) -> Evaluated<'x> {
        let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
        let left = integer(node, left, Type::Integer)?;
        let right = integer(node, right, Type::Integer)?;
        let result = match operator {
            Arithmetic::Add => left.checked_add(right),
            Arithmetic::Subtract => left.checked_sub(right),
            Arithmetic::Multiply => left.checked_mul(right),
            Arithmetic::Divide => left.checked_div(right),
            Arithmetic::Modulo => (right != 0).then(|| left.wrapping_rem(right)),
        };
        result
            .map(Value::Integer)
            .ok_or_else(|| failure(node, ErrorKind::Math, Type::Integer))
    }

    fn compare(&mut self, node: &'x Node, operator: Compare, [left, right]: &'x [Node; 2]) -> Evaluated<'x> {
        let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
        let truth = match operator {
            Compare::Equal => self.equal(node, left, &right)?,
            Compare::NotEqual => !self.equal(node, left, &right)?,
            Compare::Less | Compare::LessOrEqual | Compare::Greater | Compare::GreaterOrEqual => {
                let left = integer(node, left, Type::Boolean)?;
                let right = integer(node, right, Type::Boolean)?;
                match operator {
                    Compare::Less => left < right,
                    Compare::LessOrEqual => left <= right,
                    Compare::Greater => left > right,
                    _ => left >= right,
                }
            }
        };
        Ok(Value::Boolean(truth))
    }

    /// Whether `other` as one of `this`'s type is `this`.
    fn equal(
        &mut self,
        node: &'x Node,
        other: Value<'x>,
        this: &Value<'x>,
    ) -> Result<bool, EvaluationError<'x>> {
        let to = this.of_type();
        if let (Value::Text(other), Value::Text(this)) = (&other, this) {
            // Only texts of one length are looked at.
            if other.len() != this.len() {
                return Ok(false);
            }
            let spent = self.meter.spend_on_text(this.len());
            return spent
                .map(|()| other == this)
                .map_err(|_| failure(node, ErrorKind::Generic, Type::Boolean));
        }
        let cast = other.cast(to);
        Ok(cast.map_err(|other| cast_failure(node, other, to, Type::Boolean))? == *this)
    }

    /// `a AND rest`, `a OR rest`, `a XOR rest`: what has been seen can only end it or turn the rest round.
    fn chain(&mut self, node: &'x Node, operands: &'x [Node], operators: &[Logic]) -> Evaluated<'x> {
        let mut turned = false;
        for (at, operand) in operands.iter().enumerate() {
            let value = self.evaluate(operand);
            if let Some(notes) = &mut self.notes
                && !matches!(operand.kind, Kind::Chain(..))
            {
                notes.push((operand, value.clone()));
            }
            let truth = boolean(node, value?)?;
            match (operators.get(at), truth) {
                (None, _) | (Some(Logic::And), false) | (Some(Logic::Or), true) => {
                    return Ok(Value::Boolean(truth != turned));
                }
                (Some(Logic::Xor), true) => turned = !turned,
                (Some(Logic::And), true) | (Some(Logic::Or | Logic::Xor), false) => {}
            }
        }
        Ok(Value::Boolean(turned))
    }

    fn is_in(&mut self, node: &'x Node, of: &'x Node, set: &'x [Node], negated: bool) -> Evaluated<'x> {
        let of = self.evaluate(of)?;
        for element in set {
            let element = self.evaluate(element)?;
            if self.equal(node, element, &of)? {
                return Ok(Value::Boolean(!negated));
            }
        }
        Ok(Value::Boolean(negated))
    }

    fn call(&mut self, node: &'x Node, function: Function, arguments: &'x [Node]) -> Evaluated<'x> {
        let mut values = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let (value, to) = (self.evaluate(argument)?, function.takes(at));
            let value = value
                .cast(to)
                .map_err(|value| cast_failure(node, value, to, function.returns()))?;
            if let Value::Text(text) = &value {
                self.charge(node, text.len(), function.returns())?;
            }
            values.push(value);
        }
        function.call(values).map_err(|(wrong, instead)| EvaluationError {
            kind: match wrong {
                Wrong::Math => ErrorKind::Math,
                Wrong::Argument => ErrorKind::FunctionEvaluation,
            },
            at: node,
            instead,
            cast: None,
        })
    }

    /// Counts work; a hostile expression on a hostile event ends here.
    fn charge(&mut self, node: &'x Node, bytes: usize, returns: Type) -> Result<(), EvaluationError<'x>> {
        let spent = self.meter.spend(bytes);
        spent.map_err(|_| failure(node, ErrorKind::Generic, returns))
    }
}

fn boolean<'x>(node: &'x Node, value: Value<'x>) -> Result<bool, EvaluationError<'x>> {
    value
        .to_boolean()
        .ok_or_else(|| cast_failure(node, value, Type::Boolean, Type::Boolean))
}

fn integer<'x>(node: &'x Node, value: Value<'x>, returns: Type) -> Result<i32, EvaluationError<'x>> {
    value
        .to_integer()
        .ok_or_else(|| cast_failure(node, value, Type::Integer, returns))
}

fn failure(node: &Node, kind: ErrorKind, returns: Type) -> EvaluationError<'_> {
    EvaluationError {
        kind,
        at: node,
        instead: returns.zero(),
        cast: None,
    }
}

fn cast_failure<'x>(node: &'x Node, value: Value<'x>, to: Type, returns: Type) -> EvaluationError<'x> {
    EvaluationError {
        cast: Some(Box::new((value, to))),
        ..failure(node, ErrorKind::Cast, returns)
    }
}
