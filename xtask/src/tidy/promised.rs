//! What users may rely on by name, stable codes and metrics, stands in the reference, and the reference names
//! no others: found in the code and looked up there, and the other way round.

use std::collections::BTreeSet;
use std::path::Path;

use super::{House, sources};

/// The files whose kebab-case words are codes of answers, and nothing else.
const CODES: [&str; 4] = [
    "event/src/invalid.rs",
    "event/src/intake.rs",
    "channel/src/contract.rs",
    "crds/src/problem.rs",
];

/// The folders whose crates answer requests.
const ANSWERING: [&str; 5] = ["admin", "broker", "channel", "serve", "sources"];

const ERRORS: &str = "docs/reference/errors.md";
const METRICS: &str = "docs/reference/metrics.md";

/// Every stable code is documented in `docs/reference/errors.md`, and every code there is one of the program.
pub(super) fn codes(house: &House) -> anyhow::Result<Vec<String>> {
    let (mut found, mut words) = (BTreeSet::new(), BTreeSet::new());
    for (file, text) in house.texts("rs")? {
        let code = sources::before_tests(&text);
        if is_of_the_product(file) {
            words.extend(literals(code).filter(|word| is_kebab(word)).map(str::to_owned));
        }
        if CODES.iter().any(|known| Path::new(known) == file) {
            found.extend(literals(code).filter(|word| is_kebab(word)).map(str::to_owned));
        }
        if file
            .iter()
            .next()
            .is_some_and(|folder| ANSWERING.iter().any(|known| folder == *known))
        {
            found.extend(marked(code));
        }
    }
    let mut findings = missing(house, ERRORS, &found)?;
    let page = std::fs::read_to_string(house.root.join(ERRORS))?;
    let strange = rows(&page).filter(|code| is_kebab(code) && !words.contains(*code));
    findings.extend(strange.map(|code| format!("{ERRORS} explains `{code}`, which no code says")));
    Ok(findings)
}

/// Whether a file is part of the program that users run.
pub(super) fn is_of_the_product(file: &Path) -> bool {
    !file.starts_with("tests") && !file.starts_with("xtask") && !file.starts_with("fuzz")
}

/// What the rows of a page's tables are about: the first cell that is one name in backticks and nothing else.
pub(super) fn rows(page: &str) -> impl Iterator<Item = &str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix('|'));
    rows.filter_map(|row| {
        let mut cells = row.split('|').take(2).map(str::trim);
        let name = cells.find_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
        name.filter(|name| !name.contains('`'))
    })
}

/// Every metric is documented in `docs/reference/metrics.md`, under the name that `/metrics` shows, and every
/// metric there is one.
pub(super) fn metrics(house: &House) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for (file, text) in house.texts("rs")? {
        if is_of_the_product(file) {
            found.extend(metric_names(sources::before_tests(&text)));
        }
    }
    let mut findings = missing(house, METRICS, &found)?;
    let page = std::fs::read_to_string(house.root.join(METRICS))?;
    let is_there = |shown: &str| {
        let forms = ENDS.iter().filter_map(|end| shown.strip_suffix(end));
        forms.into_iter().any(|name| found.contains(name))
    };
    let strange = rows(&page).filter(|name| is_metric(name) && !is_there(name));
    findings.extend(strange.map(|name| format!("{METRICS} explains `{name}`, which is not a metric")));
    Ok(findings)
}

/// The names of metrics in a source text. A file that makes them of a beginning (`millrace_channel_{name}`)
/// has the other halves as literals.
fn metric_names(code: &str) -> BTreeSet<String> {
    let whole = literals(code).filter(|word| is_metric(word)).map(str::to_owned);
    let begins = literals(code).filter_map(|word| word.strip_suffix("{name}"));
    let begins = begins.filter(|begin| begin.starts_with("millrace_"));
    let made = begins.flat_map(|begin| {
        let ends = literals(code).filter(|word| word.contains('_') && !word.starts_with("millrace_"));
        ends.map(move |word| format!("{begin}{word}"))
    });
    whole.chain(made.filter(|name| is_metric(name))).collect()
}

/// What the encoder appends to a name: `_total` to counters, and units before it.
const ENDS: [&str; 4] = ["", "_total", "_bytes", "_seconds"];

fn missing(house: &House, document: &str, names: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(house.root.join(document))?;
    let lacks = |name: &&String| {
        let forms = ENDS.map(|end| format!("`{name}{end}`"));
        !forms.iter().any(|form| text.contains(form.as_str()))
    };
    Ok(names
        .iter()
        .filter(lacks)
        .map(|name| format!("{document} does not explain `{name}`"))
        .collect())
}

/// The string literals of a source text, without those in comments.
pub(super) fn literals(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// What stands before a code where an answer is made.
const MAKERS: [&str; 5] = [
    "Problem::new(",
    "Refused::new(",
    "Refused::unknown(",
    "Self::new(",
    "code: ",
];

/// The codes that stand right where an answer is made: the first kebab-case literal of the call.
fn marked(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, " "]).collect();
    let calls = MAKERS.iter().flat_map(|maker| code.split(maker).skip(1));
    let calls = calls.map(|call| call.split([';', '{']).next().unwrap_or_default());
    calls
        .filter_map(|call| literals(call).find(|word| is_kebab(word)).map(str::to_owned))
        .collect()
}

fn is_kebab(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let plain =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    parts.len() > 1 && parts.iter().all(plain)
}

/// A metric's name; the names of our crates, as log targets have them, are none.
fn is_metric(word: &str) -> bool {
    let rest = word.strip_prefix("millrace_").unwrap_or_default();
    rest.contains('_')
        && !rest.ends_with('_')
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_metrics_are_told_from_other_words() {
        for (word, kebab, metric) in [
            ("disk-full", true, false),
            ("content-Type", false, false),
            ("x", false, false),
            ("millrace_ingress_events", false, true),
            ("millrace_broker", false, false),
            ("a - b", false, false),
        ] {
            assert_eq!((is_kebab(word), is_metric(word)), (kebab, metric), "{word}");
        }
    }

    #[test]
    fn names_made_of_two_halves_are_metrics_too() {
        let code =
            "format!(\"millrace_a_{name}\");\ncounter(\"b_c\", \"Of d\");\nregister(\"millrace_e_f\");\n";
        let names: Vec<String> = metric_names(code).into_iter().collect();
        assert_eq!(names, ["millrace_a_b_c", "millrace_e_f"]);
    }

    #[test]
    fn a_row_is_about_its_first_name() {
        let page = "| code | means |\n|---|---|\n| `a-b` | not `c-d` |\n| 404 | `e-f` | `g-h` |\n| `x` and `y` | z |\n";
        assert_eq!(rows(page).collect::<Vec<_>>(), ["a-b", "e-f"]);
    }

    #[test]
    fn words_in_comments_do_not_count() {
        let text =
            "// \"no-code\"\nlet x = \"a-code\";\nlet y = Problem::new(\n404,\n\"b-code\", \"text\");\n";
        assert_eq!(literals(text).collect::<Vec<_>>(), ["a-code", "b-code", "text"]);
        assert_eq!(marked(text).into_iter().collect::<Vec<_>>(), ["b-code"]);
    }
}
