//! A filter by itself, as somebody gives it on a command line or in a query: one element of a Trigger's
//! `filters`.

use millrace_filter::Compiled;

use crate::document::filters;
use crate::field::Field;
use crate::report::{Origin, Report};
use crate::tree::Trees;

/// Reads one element of `filters` (or a list of them, all of which must hold) as YAML or JSON in flow style,
/// e.g. `{exact: {type: order.paid}}`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn read_filter(text: &str) -> Result<Compiled, String> {
    if text.trim().is_empty() {
        return Err("an empty text is no filter".to_owned());
    }
    let list = if text.trim_start().starts_with('[') {
        format!("filters: {text}\n")
    } else {
        format!("filters: [{text}]\n")
    };
    let mut documents = Trees::new(&list);
    let document = match (documents.next(), documents.next()) {
        (Some(Ok(document)), None) => document,
        (Some(Err(fault)), _) => return Err(fault.message),
        _ => return Err("this is not one filter".to_owned()),
    };
    if let Some(fault) = document.faults.first() {
        return Err(fault.message.clone());
    }
    let mut report = Report::new(Origin::File("".into()), None);
    let field = Field {
        node: &document.root,
        path: String::new(),
    };
    let read = field
        .object(&mut report)
        .and_then(|mut object| filters::read(&mut object, &mut report));
    match (read, report.problems.first()) {
        (Some((_, compiled)), None) => Ok((*compiled).clone()),
        (_, Some(problem)) => Err(format!(
            "{}: {}",
            problem.path.trim_start_matches('.'),
            problem.message
        )),
        (None, None) => Err("this is not a filter".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{Event, SpecVersion};

    use super::*;

    #[test]
    fn a_filter_is_read_as_in_a_trigger() {
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/shop")
            .attribute("type", "order.paid")
            .build()
            .expect("an event");
        let cases = [
            ("{exact: {type: order.paid}}", true),
            ("{\"prefix\": {\"type\": \"order.\"}}", true),
            ("exact: {type: other}", false),
            ("[{exact: {type: order.paid}}, {exact: {source: /other}}]", false),
            ("[]", true),
        ];
        for (text, matches) in cases {
            let filter = read_filter(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.matches(&event), matches, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        for text in [
            "",
            "x",
            "{",
            "{exakt: {type: a}}",
            "{exact: {Type: a}}",
            "{exact: {type: a}}]\n---\na: [b",
            "{exact: {type: a}}\nspec: {}",
        ] {
            let error = read_filter(text).expect_err(text);
            assert!(!error.is_empty() && error.len() < 500, "{text}: {error}");
        }
    }
}
