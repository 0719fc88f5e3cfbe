//! What a text gives away about how it went wrong: a template that nobody rendered, a byte order mark in the
//! middle, an anchor that is not there, a line break that slipped in. The rule that it breaks would say less.

use crate::parse::Fault;
use crate::problem::{Code, Mark, shown};

/// What a template is called.
const TEMPLATE: &str =
    "this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template`";
/// What a byte order mark is called that stands within a text.
const BYTE_ORDER_MARK: &str =
    "here is a byte order mark (U+FEFF), which may only be the first character of a file: remove it";

/// Why a short text, such as a name or a URL, is most likely not what it should be.
pub(crate) fn of_value(text: &str) -> Option<&'static str> {
    let is_edge = |c: char| c.is_whitespace();
    if text.contains("{{") {
        Some(TEMPLATE)
    } else if text.contains('\u{feff}') {
        Some(BYTE_ORDER_MARK)
    } else if text.ends_with(['\n', '\r']) {
        Some(
            "the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-`",
        )
    } else if text.starts_with(is_edge) || text.ends_with(is_edge) {
        Some("there are blanks around it: remove them")
    } else {
        None
    }
}

/// The fault, in better words where the line or the one before it tells more than the parser knows.
pub(crate) fn of_fault(text: &str, fault: Fault) -> Fault {
    let Fault { at, code, message } = fault;
    let before = (at.line as usize).saturating_sub(2);
    let near: Vec<&str> = text.lines().skip(before).take(2).collect();
    let has = |what: &str| near.iter().any(|line| line.contains(what));
    let (code, message) = if has("{{") {
        (Code::YamlTemplate, TEMPLATE.to_owned())
    } else if has("\u{feff}") {
        (code, BYTE_ORDER_MARK.to_owned())
    } else if message.contains("unknown anchor") {
        let name = alias(near.last().copied().unwrap_or_default(), at);
        (
            code,
            format!(
                "the alias `*{}` stands for nothing: no anchor `&{}` is before it in this document",
                shown(&name),
                shown(&name)
            ),
        )
    } else {
        (code, message)
    };
    Fault { at, code, message }
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
