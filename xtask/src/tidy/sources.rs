//! Every source file begins with what it is and why, and stays short enough to be read in one go.

use super::House;

/// Lines a file may have before its tests. 300 is the norm; this is where it stops.
const LONGEST: usize = 450;

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, text) in house.texts("rs")? {
        if !text.starts_with("//!") {
            findings.push(format!("{} does not begin with `//!`", file.display()));
        }
        let lines = lines_before_tests(&text);
        if lines > LONGEST {
            findings.push(format!(
                "{} has {lines} lines before its tests; {LONGEST} is the limit",
                file.display()
            ));
        }
    }
    Ok(findings)
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
    fn only_what_stands_before_the_tests_counts() {
        assert_eq!(
            lines_before_tests("//! x\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
            2
        );
        assert_eq!(lines_before_tests("//! x\n#[cfg(test)]\nuse std::fmt;\n"), 3);
    }
}
