//! Every source file begins with what it is and why, and stays short enough to be read in one go. Its
//! comments are as wide as its code at most; rustfmt leaves them as they are.

use std::path::Path;

use super::House;

/// Lines a file may have before its tests. 300 is the norm; this is where it stops.
const LONGEST: usize = 450;

/// Columns of a comment: `max_width` of rustfmt.toml.
const WIDEST: usize = 110;

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, text) in house.texts("c")? {
        findings.extend(wide(file, &text));
    }
    for (file, text) in house.texts("rs")? {
        findings.extend(wide(file, &text));
        if !text.starts_with("//!") {
            findings.push(format!("{} does not begin with `//!`", file.display()));
        }
        let lines = if is_tests(file) {
            0
        } else {
            lines_before_tests(&text)
        };
        if lines > LONGEST {
            findings.push(format!(
                "{} has {lines} lines before its tests; {LONGEST} is the limit",
                file.display()
            ));
        }
    }
    Ok(findings)
}

/// The comments of a file that are too wide.
fn wide(file: &Path, text: &str) -> Vec<String> {
    let file = file.display();
    wide_comments(text)
        .map(|line| format!("{file}:{line} is a comment of more than {WIDEST} columns"))
        .collect()
}

/// Whether a file is tests and nothing else: a crate's `tests.rs`, or what lies in its `tests/`. The suites
/// are no exception to the limit: they are read as the list of what is promised.
fn is_tests(file: &Path) -> bool {
    let inside = file
        .iter()
        .skip(1)
        .any(|part| part == "tests" || part == "tests.rs");
    inside && !file.starts_with("tests")
}

/// What of a file is not its inline tests.
pub(super) fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |end| &text[..end])
}

fn lines_before_tests(text: &str) -> usize {
    before_tests(text).lines().count()
}

/// The numbers of lines that are comments and too wide. A row of a table, and a word that alone is too wide,
/// cannot be wrapped. In C, a comment's further lines begin with an asterisk.
fn wide_comments(text: &str) -> impl Iterator<Item = usize> {
    let lines = (1..).zip(text.lines());
    let wide = lines.filter(|(_, line)| {
        let comment = line.trim_start();
        let words = comment.trim_start_matches(['/', '!', '*']).trim();
        line.chars().count() > WIDEST
            && ["//", "/*", "* "].iter().any(|begin| comment.starts_with(begin))
            && !words.starts_with('|')
            && words.contains(char::is_whitespace)
    });
    wide.map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_can_be_wrapped_are_wrapped() {
        let wide = "word ".repeat(30);
        let text = format!(
            "//! {wide}\nfn a() {{}}\n    // {wide}\n/// | {wide}|\n// {}\n// short\n/* {wide}\n * {wide}\n */\n",
            "x".repeat(120)
        );
        assert_eq!(wide_comments(&text).collect::<Vec<_>>(), [1, 3, 7, 8]);
    }

    #[test]
    fn files_of_tests_are_told_from_the_suites() {
        for (file, expected) in [
            ("broker/tests/a.rs", true),
            ("event/src/json/tests.rs", true),
            ("tests/suites/a.rs", false),
            ("a/src/b.rs", false),
        ] {
            assert_eq!(is_tests(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn only_what_stands_before_the_tests_counts() {
        assert_eq!(
            lines_before_tests("//! x\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
            2
        );
        assert_eq!(lines_before_tests("//! x\n#[cfg(test)]\nuse std::fmt;\n"), 3);
    }
}
