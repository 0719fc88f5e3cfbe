//! Every source file begins with what it is and why, and stays short enough to be read in one go.

use std::path::Path;

use super::House;

/// Lines a file may have before its tests. 300 is the norm; this is where it stops.
const LONGEST: usize = 450;

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, text) in house.texts("rs")? {
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

/// Whether a file is tests and nothing else: a crate's `tests.rs`, or what lies in its `tests/`. The suites are no
/// exception to the limit: they are read as the list of what is promised.
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

#[cfg(test)]
mod tests {
    use super::*;

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
