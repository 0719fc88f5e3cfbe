//! What a path found, in sentences.

use jsonpath_rust::parser::errors::JsonPathError;

use super::{Asked, PathTest, Wanted};
use crate::explain::{TOO_MUCH_WORK, Verdict, quoted, shortened};
use crate::json::{Id, Json, Seen};
use crate::meter::{Allowance, Meter, Stopped};
use crate::subject::NoJson;

/// How many selected values a sentence shows.
const SHOWN_VALUES: usize = 3;

/// The parser's message on one line, with the column.
pub(super) fn of_parsing(text: &str, error: &JsonPathError) -> String {
    if !text.starts_with('$') {
        return "a path begins with `$`, which is the whole of the data".to_owned();
    }
    let JsonPathError::PestError(error) = error else {
        return format!(
            "this is no JSONPath (RFC 9535): {}",
            shortened(&error.to_string())
        );
    };
    // The parser shows a picture of several lines, which begins with ` --> line:column`.
    let picture = error.to_string();
    let place = picture.lines().next().and_then(|line| line.rsplit(':').next());
    let column = place.and_then(|place| place.parse::<usize>().ok()).unwrap_or(1);
    if is_large_number(text, column) {
        return format!(
            "at column {column}: a whole number in a path goes up to 9007199254740991; compare with a larger one in \
             the map form: {{PATH: NUMBER}}"
        );
    }
    format!(
        "this is no JSONPath (RFC 9535): at column {}: {}",
        column,
        error.variant.message()
    )
}

/// Whether an integer stands at this column that may be beyond 53 bits, where the parser's grammar ends.
fn is_large_number(text: &str, column: usize) -> bool {
    let rest = text.chars().skip(column.saturating_sub(1));
    let digits = rest.skip_while(|c| *c == '-').take_while(char::is_ascii_digit);
    digits.count() >= 16
}

/// The values that a path selects, as far as they are shown.
struct Selected {
    /// The first ones, in words.
    shown: Vec<String>,
    count: usize,
    /// One of them is of the wanted type.
    of_type: bool,
    /// There may be more.
    cut: bool,
}

/// The verdict of a clause and the sentence for it.
pub(crate) fn of_clause(
    test: &PathTest,
    asked: Asked<'_>,
    held: bool,
    stopped: Option<Stopped>,
) -> (Verdict, String) {
    let path = shortened(test.path.as_str());
    if stopped.is_some() {
        return (Verdict::TooMuchWork, format!("{path}: {TOO_MUCH_WORK}"));
    }
    let json = match asked {
        Asked::Json(json) => json,
        Asked::NoJson(reason) => return of_no_json(reason),
        Asked::Later => return (Verdict::TooMuchWork, format!("{path} was not asked")),
    };
    let selected = Selected::of(test, json);
    if selected.count == 0 {
        return (Verdict::Absent, format!("{path} selects nothing"));
    }
    let of_type = selected.of_type;
    let seen = selected.in_words();
    match &test.wanted {
        None => (Verdict::Held, format!("{path} selects {seen}")),
        Some(_) if held => (Verdict::Held, format!("{path} is {seen}")),
        Some(wanted) => {
            let verdict = if of_type {
                Verdict::Different
            } else {
                Verdict::WrongType
            };
            (verdict, format!("{path} is {seen}, not {}", spelled(wanted)))
        }
    }
}

fn of_no_json(reason: &NoJson) -> (Verdict, String) {
    match reason {
        NoJson::Absent => (Verdict::Absent, "the event has no data".to_owned()),
        NoJson::OtherType(Some(media)) => (
            Verdict::WrongType,
            format!("the data is not JSON: datacontenttype is {}", quoted(media)),
        ),
        NoJson::OtherType(None) => (
            Verdict::WrongType,
            "the data is not JSON: the event has no attribute datacontenttype".to_owned(),
        ),
        NoJson::Broken(message) => (Verdict::Error, format!("the data is no valid JSON: {message}")),
    }
}

// === impl Selected ===

impl Selected {
    /// Evaluates again, for people: the decision ended at the first value that decided it.
    fn of(test: &PathTest, json: &Json) -> Self {
        let mut all = Self {
            shown: Vec::new(),
            count: 0,
            of_type: false,
            cut: false,
        };
        let complete = test.path.look(json, &Meter::new(&Allowance::unlimited()), |id| {
            all.count += 1;
            if all.shown.len() < SHOWN_VALUES {
                all.shown.push(one(json, id));
            }
            let wanted = test.wanted.as_ref();
            all.of_type |= wanted.is_some_and(|wanted| wanted.is_of_type(json.see(id)));
            true
        });
        all.cut = !complete;
        all
    }

    fn in_words(mut self) -> String {
        if self.cut {
            self.shown.push("and more".to_owned());
        } else if self.count > SHOWN_VALUES {
            self.shown.push(format!("and {} more", self.count - SHOWN_VALUES));
        }
        self.shown.join(", ")
    }
}

/// A value as JSON, shortened; what is large is only named, so that it need not be written to be cut.
fn one(json: &Json, id: Id) -> String {
    match json.see(id) {
        Seen::Array(items) => format!("an array of {}", items.len()),
        Seen::Object(members) => format!("an object of {}", members.len()),
        Seen::Text(text) => quoted(text),
        Seen::HalfPair(raw) => format!("{}, which has half of a surrogate pair", quoted(raw)),
        Seen::Number(number) => shortened(&number.text()),
        Seen::Null | Seen::Boolean(_) => json.value(id).to_string(),
    }
}

fn spelled(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Null => "null".to_owned(),
        Wanted::Boolean(truth) => truth.to_string(),
        Wanted::Number(number) => shortened(&number.text),
        Wanted::Text(text) => quoted(text),
    }
}
