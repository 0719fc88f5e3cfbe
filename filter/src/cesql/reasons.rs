//! What an expression gave, in sentences.

use super::Expression;
use super::evaluation::{ErrorKind, Evaluated, EvaluationError, Run};
use super::expression::Node;
use super::value::Value;
use crate::clause::Attr;
use crate::explain::{SHOWN_CLAUSES, TOO_MUCH_WORK, Verdict, quoted, shortened};

/// The verdict of a clause that is an expression, and the sentence for it: the operands of AND, OR and XOR
/// that were evaluated, with what the event has for their attributes.
pub(crate) fn of_clause(
    expression: &Expression,
    outcome: &Evaluated<'_>,
    run: Run<'_, '_>,
) -> (Verdict, String) {
    let verdict = match outcome {
        Ok(Value::Boolean(true)) => Verdict::Held,
        Ok(Value::Boolean(false)) => Verdict::Different,
        Ok(value @ (Value::Text(_) | Value::Integer(_))) => {
            let reason = format!(
                "type error: {} is {} and not a Boolean",
                shortened(expression.text_of(expression.root())),
                shown(value)
            );
            return (Verdict::WrongType, reason);
        }
        Err(failure) => return (verdict_of(failure), sentence_of(expression, failure)),
    };
    let event = run.event();
    let notes = run.into_notes();
    let whole = [(expression.root(), outcome.clone())];
    let parts = if notes.is_empty() { &whole[..] } else { &notes[..] };
    let mut sentences: Vec<String> = parts
        .iter()
        .take(SHOWN_CLAUSES)
        .map(|(node, outcome)| {
            let truth = matches!(outcome, Ok(value) if value.to_boolean() == Some(true));
            let text = shortened(expression.text_of(node));
            let seen: Vec<String> = node
                .attributes()
                .into_iter()
                .take(SHOWN_CLAUSES)
                .map(|attr| seen(attr, event))
                .collect();
            let seen = if seen.is_empty() {
                String::new()
            } else {
                format!(" ({})", seen.join(", "))
            };
            format!("{text} is {truth}{seen}")
        })
        .collect();
    if parts.len() > SHOWN_CLAUSES {
        sentences.push(format!("and {} more", parts.len() - SHOWN_CLAUSES));
    }
    (verdict, sentences.join("; "))
}

fn seen(attr: &Attr, event: &millrace_event::Event) -> String {
    match attr.of(event) {
        Some(text) => format!("{} is {}", attr.name(), quoted(text)),
        None => format!("the event has no attribute {}", attr.name()),
    }
}

fn verdict_of(failure: &EvaluationError<'_>) -> Verdict {
    match failure.kind {
        ErrorKind::MissingAttribute => Verdict::Absent,
        ErrorKind::Cast => Verdict::WrongType,
        ErrorKind::Math | ErrorKind::FunctionEvaluation => Verdict::Error,
        ErrorKind::Generic => Verdict::TooMuchWork,
    }
}

fn sentence_of(expression: &Expression, failure: &EvaluationError<'_>) -> String {
    let text = |node: &Node| shortened(expression.text_of(node));
    let at = text(failure.at);
    match (failure.kind, failure.cast.as_deref()) {
        (ErrorKind::MissingAttribute, _) => {
            let names = failure.at.attributes();
            format!(
                "the event has no attribute {}",
                names.first().map_or("", |attr| attr.name())
            )
        }
        (ErrorKind::Cast, Some((value, to))) => {
            format!("type error: in {at}, {} is not {}", shown(value), to.name())
        }
        (ErrorKind::Cast, None) => format!("type error: in {at}"),
        (ErrorKind::Math, _) => {
            format!("{at} has no value: a division by zero, or a number out of range")
        }
        (ErrorKind::FunctionEvaluation, _) => format!("{at} has no value for these arguments"),
        (ErrorKind::Generic, _) => format!("{at}: {TOO_MUCH_WORK}"),
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    }
}
