//! A panic, an error or a log line prints what it is given by `Debug`. So a type that holds a secret as plain
//! text or octets derives none: it writes its own, or holds the secret in a type that does, such as
//! `millrace_model::Octets`.

use std::path::Path;

use super::House;
use super::sources::before_tests;

/// What secrets are called; also at the end of a longer name.
const SECRETS: [&str; 10] = [
    "password",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "bearer",
    "private_key",
    "access_key",
    "seed",
    "credentials",
];
/// Types that print what they hold.
const PRINTED: [&str; 4] = ["String", "str", "u8", "Bytes"];
/// Types that do not, though they hold it.
const HIDING: [&str; 2] = ["Secret", "Octets"];
/// Begins of variants that say in a sentence what is wrong with a secret.
const SENTENCES: [&str; 3] = ["no_", "bad_", "other_"];
/// What is no part of the product, and may print what its tests made up.
const ELSEWHERE: [&str; 3] = ["tests", "xtask", "fuzz"];

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let texts = house.texts("rs")?;
    let judged = texts.iter().filter(|(file, _)| is_judged(file));
    let findings = judged.flat_map(|(file, text)| {
        printed(before_tests(text)).into_iter().map(|line| {
            format!(
                "{}:{line} is a secret, which the `Debug` that its type derives would print",
                file.display()
            )
        })
    });
    Ok(findings.collect())
}

fn is_judged(file: &Path) -> bool {
    let is_tests = file.iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part.trim_end_matches(".rs").ends_with("tests")
    });
    !is_tests && !ELSEWHERE.iter().any(|folder| file.starts_with(folder))
}

/// The numbers of the lines with such a field or variant. rustfmt writes each on a line of its own.
fn printed(text: &str) -> Vec<usize> {
    let (mut found, mut derives, mut inside) = (Vec::new(), false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if inside {
            inside = line != "}";
            if is_printed_secret(line) {
                found.push(number);
            }
        } else if line.starts_with("#[derive(") {
            derives = line.contains("Debug");
        } else if derives && !line.starts_with("#[") && !line.starts_with("//") {
            inside = is_type(line) && line.ends_with('{');
            derives = false;
        }
    }
    found
}

fn is_type(line: &str) -> bool {
    line.split_whitespace()
        .any(|word| word == "struct" || word == "enum")
}

fn is_printed_secret(line: &str) -> bool {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches("(crate)").trim_start_matches("(super)"),
        None => line,
    };
    let line = line.trim_start();
    let end = line.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let Some((name, of)) = end.map(|end| line.split_at(end)) else {
        return false;
    };
    let name = snake(name);
    let is_secret = SECRETS.iter().any(|secret| {
        let before = name.strip_suffix(secret);
        before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
    });
    let has = |words: &[&str]| {
        of.split(|letter: char| !letter.is_alphanumeric())
            .any(|word| words.contains(&word))
    };
    is_secret && !SENTENCES.iter().any(|begin| name.starts_with(begin)) && has(&PRINTED) && !has(&HIDING)
}

/// `SessionToken` as `session_token`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_would_be_printed_are_found_and_others_are_not() {
        let text = "\
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub(crate) password: Option<String>,
    /// password: String
    tokens: usize,
    token_url: String,
    session_token: Box<[u8]>,
    secrets: BTreeMap<&'static str, Secret>,
    secret: Octets,
}

#[derive(Clone)]
struct Hidden {
    password: String,
}

#[derive(Debug)]
enum Shown<'a> {
    Bearer(Hash, &'a [u8]),
    Password(Hash),
    NoToken(String),
    ClientSecret {
        token: Bytes,
    },
}

#[derive(Debug)]
struct Unit;

struct Token {
    token: String,
}
";
        assert_eq!(printed(text), [5, 9, 21, 25]);
    }

    #[test]
    fn tests_may_print_what_they_made_up() {
        for (file, expected) in [
            ("access/src/token.rs", true),
            ("access/src/jwt/mod.rs", true),
            ("sources/src/git_webhook/verify_tests.rs", false),
            ("sources/tests/all/support.rs", false),
            ("tests/harness/tls.rs", false),
        ] {
            assert_eq!(is_judged(Path::new(file)), expected, "{file}");
        }
    }
}
