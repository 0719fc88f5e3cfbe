//! What a document names is read in one place, `secrets/`, which applies the operator's rule. A source that
//! opened files or read variables by itself would bypass it.

use std::path::Path;

use super::House;
use super::sources::before_tests;

/// The crates that handle the contents of documents.
const CRATES: [&str; 2] = ["sources/src", "crds/src"];
/// Reads the documents themselves.
const DOCUMENTS: &str = "crds/src/input.rs";
/// Ways around the rule.
const PAST: [&str; 9] = [
    "std::fs",
    "tokio::fs",
    "rustix::fs",
    "File::open",
    "std::env",
    "std::process",
    "tokio::process",
    "Kubeconfig::read",
    "Config::infer",
];
/// A name of a list in braces, as in `use std::{fs, io}`.
const LISTED: [(&str, &[&str]); 2] = [
    ("std::{", &["fs", "env", "process"]),
    ("tokio::{", &["fs", "process"]),
];

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let texts = house.texts("rs")?;
    let judged = texts.iter().filter(|(file, _)| is_judged(file));
    Ok(judged.flat_map(|(file, text)| findings_of(file, text)).collect())
}

fn is_judged(file: &Path) -> bool {
    let is_tests = file
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    CRATES.iter().any(|folder| file.starts_with(folder)) && file != Path::new(DOCUMENTS) && !is_tests
}

fn findings_of(file: &Path, text: &str) -> Vec<String> {
    let code = before_tests(text);
    let found = PAST.iter().filter(|past| code.contains(**past));
    let written = found.map(|past| (*past).to_owned());
    written
        .chain(listed(code))
        .map(|past| {
            format!(
                "{} has {past}: what a document names is read by `secrets/`",
                file.display()
            )
        })
        .collect()
}

/// Ways around the rule that an import names in a list.
fn listed(code: &str) -> Vec<String> {
    let lists = LISTED.iter().flat_map(|(prefix, names)| {
        let texts = code.split(prefix).skip(1);
        let texts = texts.map(|text| text.split(';').next().unwrap_or_default());
        texts.flat_map(move |text| {
            let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let named = names.iter().filter(move |name| words.contains(name));
            named.map(move |name| format!("{prefix}{name}}}"))
        })
    });
    lists.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_handles_documents_is_judged() {
        for (file, expected) in [
            ("sources/src/kafka/config.rs", true),
            ("crds/src/document/secret.rs", true),
            ("crds/src/input.rs", false),
            ("sources/src/api_server/kubeconfig_tests.rs", false),
            ("secrets/src/open.rs", false),
        ] {
            assert_eq!(is_judged(Path::new(file)), expected, "{file}");
        }
        let code = "use std::fs;\n";
        let tests = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(findings_of(Path::new("a.rs"), code).len(), 1);
        assert!(findings_of(Path::new("a.rs"), tests).is_empty());
        for (code, expected) in [
            ("use std::{fs, io};", 1),
            ("use std::{\n    env,\n    process::Command,\n};", 2),
            ("use tokio::{process::Command, time};", 1),
            ("let found = Kubeconfig::read()?;", 1),
            ("use std::{fmt, io};", 0),
            ("use tokio::{sync::Mutex, time};\nstruct Held { fs: u8 }", 0),
        ] {
            assert_eq!(findings_of(Path::new("a.rs"), code).len(), expected, "{code}");
        }
    }
}
