//! What a text gives away about how it went wrong: a template that nobody rendered, a byte order mark in the
//! middle, an anchor that is not there, a line break that slipped in. The rule that it breaks would say less.

use super::node::{Node, Shape};
use super::{Malformed, narrow};
use crate::problem::{Code, Mark, shown};

/// The message for a template.
const TEMPLATE: &str =
    "this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template`";
/// The message for a byte order mark inside a text.
const BYTE_ORDER_MARK: &str =
    "here is a byte order mark (U+FEFF), which may only be the first character of a file: remove it";
/// The codes of values that are a word, such as a name, a URL or a number: of them all that is said here
/// holds. Data, filters and secrets may contain braces and line breaks.
const OF_WORDS: &[Code] = &[
    Code::BadName,
    Code::BadReference,
    Code::BadSchedule,
    Code::BadOverride,
    Code::BadEventField,
    Code::BadUri,
    Code::BadAddress,
    Code::BadTopic,
    Code::BadDuration,
    Code::BadNumber,
    Code::BadSelector,
    Code::UnknownValue,
];

/// Why a value was most likely refused with that code. The value itself is not repeated: it may hold a
/// secret.
pub(crate) fn of_value(value: &Node, code: Code) -> Option<&'static str> {
    match &value.shape {
        Shape::Scalar(scalar) if OF_WORDS.contains(&code) => of_word(&scalar.text),
        Shape::Scalar(_) | Shape::List(_) | Shape::Map(_) => None,
    }
}

fn of_word(text: &str) -> Option<&'static str> {
    let word = text.trim();
    if text.contains("{{") {
        Some(TEMPLATE)
    } else if text.contains('\u{feff}') {
        Some(BYTE_ORDER_MARK)
    } else if word.len() == text.len() || word.contains(char::is_whitespace) {
        // Where there may be blanks inside, as in a schedule, there may be some around too.
        None
    } else if text.ends_with(['\n', '\r']) {
        Some(
            "the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-`",
        )
    } else {
        Some("there are blanks around the text: remove them")
    }
}

/// The fault, in better words where its line tells more than the parser knows.
pub(crate) fn of_fault(text: &str, fault: Malformed) -> Malformed {
    let Malformed { at, code, message } = fault;
    let own = text.lines().nth((at.line as usize).saturating_sub(1));
    let own = own.unwrap_or_default();
    // No template is the cause of a tab.
    let may_be_template = code != Code::YamlSyntax || !message.contains("tab");
    let template = if has_template(own) {
        Some(at)
    } else {
        statement_before(text, at).filter(|_| code == Code::YamlSyntax)
    };
    if let Some(at) = template.filter(|_| may_be_template) {
        return Malformed {
            at,
            code: Code::YamlTemplate,
            message: TEMPLATE.to_owned(),
        };
    }
    let message = if own.contains('\u{feff}') {
        BYTE_ORDER_MARK.to_owned()
    } else if message.contains("unknown anchor") {
        let name = shown(&alias(own, at));
        format!("the alias `*{name}` stands for nothing: no anchor `&{name}` is before it in this document")
    } else {
        message
    };
    Malformed { at, code, message }
}

/// Whether a line has `{{` where YAML reads it as more than text: outside of quotes and comments. Quotes that
/// end before the braces do are the template's own: `"{{ default "x" .y }}"`.
fn has_template(line: &str) -> bool {
    let (mut quote, mut before, mut is_open) = (None, ' ', false);
    for (at, c) in line.char_indices() {
        let begins = line[at..].starts_with("{{");
        match quote {
            None if begins => return true,
            None if c == '#' && before.is_whitespace() => return false,
            // An apostrophe within a word opens nothing.
            None if matches!(c, '\'' | '"') && !before.is_alphanumeric() => quote = Some(c),
            Some(open) if c == open && !(c == '"' && before == '\\') => {
                if is_open {
                    return true;
                }
                quote = None;
            }
            Some(_) if begins => is_open = true,
            Some(_) if line[at..].starts_with("}}") => is_open = false,
            None | Some(_) => {}
        }
        before = if before == '\\' { ' ' } else { c };
    }
    false
}

/// The place of a statement of a template on the last line with content before that place. YAML takes
/// `{{ if .x }}` for a mapping, and the fault is what comes after it.
fn statement_before(text: &str, at: Mark) -> Option<Mark> {
    let lines = (1..at.line).zip(text.lines());
    let is_content = |line: &str| !line.is_empty() && !line.starts_with('#');
    let (number, line) = lines.filter(|(_, line)| is_content(line.trim())).last()?;
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    line.trim_start().starts_with("{{").then(|| Mark {
        line: number,
        column: narrow(indent + 1),
    })
}

/// The name of the alias at or before a place of a line.
fn alias(line: &str, at: Mark) -> String {
    let upto: String = line.chars().take(at.column as usize).collect();
    let from = upto
        .rfind('*')
        .or_else(|| line.find('*'))
        .map_or(line.len(), |star| star + 1);
    let is_part = |c: &char| !c.is_whitespace() && !",[]{}".contains(*c);
    line[from..].chars().take_while(is_part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_quotes_and_comments_are_no_template() {
        for line in [
            "{{ .a }}",
            "  - {{ .a }}",
            "a: http://{{ .a }}/",
            "\"{{ .a }}\": {{ .b }}",
            "it's: {{ .b }} # or not",
            "a: \"{{ default \"x\" .y }}\"",
            "a: '{{ default 'x' .y }}'",
        ] {
            assert!(has_template(line), "{line}");
        }
        for line in [
            "",
            "a: {b: {c: d}}",
            "a: \"{{pod}}\"",
            "a: 'say \"{{pod}}\"' # {{ .b }}",
            "a: \"\\\"{{pod}}\"",
            "# {{ .a }}",
            "a: b # {{ .a }}",
        ] {
            assert!(!has_template(line), "{line}");
        }
    }

    #[test]
    fn blanks_around_a_text_tell_only_where_it_is_one_word() {
        for (text, told) in [
            ("PT5S ", true),
            ("\tPT5S", true),
            ("linear\n", true),
            ("{{ .a }} x", true),
            ("0 0 * * 8\n", false),
            ("linear", false),
            ("", false),
        ] {
            assert_eq!(of_word(text).is_some(), told, "{text:?}");
        }
    }
}
