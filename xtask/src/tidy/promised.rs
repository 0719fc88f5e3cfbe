//! What users may rely on by name, stable codes and metrics, stands in the reference: found in the code,
//! looked up there.

use std::collections::BTreeSet;
use std::path::Path;

use super::{House, sources};

/// The files whose kebab-case words are codes of answers, and nothing else.
const CODES: [&str; 3] = [
    "event/src/invalid.rs",
    "event/src/intake.rs",
    "channel/src/contract.rs",
];

/// The folders whose crates answer requests.
const ANSWERING: [&str; 5] = ["admin", "broker", "channel", "serve", "sources"];

/// Every stable code is documented in `docs/reference/errors.md`.
pub(super) fn codes(house: &House) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for (file, text) in house.texts("rs")? {
        let code = sources::before_tests(&text);
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
    missing(house, "docs/reference/errors.md", &found)
}

/// Every metric is documented in `docs/reference/metrics.md`, under the name that `/metrics` shows.
pub(super) fn metrics(house: &House) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for (file, text) in house.texts("rs")? {
        if !file.starts_with("tests") && !file.starts_with("xtask") {
            let names = literals(sources::before_tests(&text)).filter(|word| is_metric(word));
            found.extend(names.map(str::to_owned));
        }
    }
    missing(house, "docs/reference/metrics.md", &found)
}

fn missing(house: &House, document: &str, names: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(house.root.join(document))?;
    let lacks = |name: &&String| {
        // The encoder appends `_total` to counters, and units before it.
        let forms = ["", "_total", "_bytes", "_seconds"].map(|end| format!("`{name}{end}`"));
        !forms.iter().any(|form| text.contains(form.as_str()))
    };
    Ok(names
        .iter()
        .filter(lacks)
        .map(|name| format!("{document} does not explain `{name}`"))
        .collect())
}

/// The string literals of a source text, without those in comments.
fn literals(text: &str) -> impl Iterator<Item = &str> {
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
    fn words_in_comments_do_not_count() {
        let text =
            "// \"no-code\"\nlet x = \"a-code\";\nlet y = Problem::new(\n404,\n\"b-code\", \"text\");\n";
        assert_eq!(literals(text).collect::<Vec<_>>(), ["a-code", "b-code", "text"]);
        assert_eq!(marked(text).into_iter().collect::<Vec<_>>(), ["b-code"]);
    }
}
