//! What is linked: no forbidden crate, no licence that the project cannot ship, nothing that is not from the
//! registry.
//!
//! `deny.toml` says the same to `cargo deny`, which also knows the advisories but needs their database.

use std::process::Command;

use anyhow::{Context as _, bail};

use super::House;

/// Crates that must not come in, not even by another one, and why.
const FORBIDDEN: [(&str, &str); 7] = [
    // `openssl-sys` itself is there, built from its sources for librdkafka; the binding to it is what others
    // would come by.
    ("openssl", "TLS is rustls everywhere"),
    ("native-tls", "TLS is rustls everywhere"),
    (
        "ring",
        "rustls runs on aws-lc-rs here; one crypto library is enough",
    ),
    ("backoff", "it is unmaintained; backon is its successor"),
    ("instant", "it is unmaintained"),
    ("serde_yaml", "it is unmaintained"),
    ("yaml-rust", "it is unmaintained"),
];

/// Licences that an Apache-2.0 program may ship without further duties than naming them.
const LICENCES: [&str; 14] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "OpenSSL",
    "CDLA-Permissive-2.0",
];

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    Ok(linked(house)?
        .lines()
        .filter(|line| !line.is_empty())
        .flat_map(findings_of)
        .collect())
}

/// What is linked or runs at build time, on any system: a line `name version (source)|licence` each. `cargo
/// metadata` would also name what a feature that nobody has switched on would bring.
fn linked(house: &House) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&house.root)
        .args([
            "tree",
            "--workspace",
            "--target",
            "all",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--edges", "normal,build", "--format", "{p}|{l}"])
        .output()
        .context("starting cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut lines: Vec<String> = String::from_utf8(output.stdout)?
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.dedup();
    Ok(lines.join("\n"))
}

fn findings_of(line: &str) -> Vec<String> {
    let (package, licence) = line.split_once('|').unwrap_or((line, ""));
    let name = package.split(' ').next().unwrap_or_default();
    let mut findings = Vec::new();
    if let Some((_, why)) = FORBIDDEN.iter().find(|(forbidden, _)| *forbidden == name) {
        findings.push(format!("{name} is linked: {why}"));
    }
    if !is_allowed(licence) {
        findings.push(format!(
            "{name} is under {}",
            if licence.is_empty() { "no licence" } else { licence }
        ));
    }
    if package.contains("://") {
        findings.push(format!("{package} does not come from the registry"));
    }
    findings
}

/// Whether an SPDX expression can be met with the licences above.
fn is_allowed(expression: &str) -> bool {
    // Old crates separate alternatives with a slash.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(rest: &mut &[&str]) -> bool {
    let mut met = both(rest);
    while take(rest, "OR") {
        // Not `||`: the words have to be consumed.
        met |= both(rest);
    }
    met
}

fn both(rest: &mut &[&str]) -> bool {
    let mut met = one(rest);
    while take(rest, "AND") {
        met &= one(rest);
    }
    met
}

fn one(rest: &mut &[&str]) -> bool {
    if take(rest, "(") {
        let met = either(rest);
        return take(rest, ")") && met;
    }
    let Some((name, after)) = rest.split_first() else {
        return false;
    };
    *rest = after;
    let mut licence = (*name).to_owned();
    if take(rest, "WITH") {
        let Some((exception, after)) = rest.split_first() else {
            return false;
        };
        *rest = after;
        licence = format!("{licence} WITH {exception}");
    }
    LICENCES.contains(&licence.as_str())
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_expression_is_met_or_not() {
        let cases = [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(Apache-2.0 OR GPL-2.0) AND (MIT OR GPL-2.0)", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression), expected, "{expression}");
        }
    }

    #[test]
    fn a_package_is_judged_by_name_licence_and_source() {
        let cases = [
            ("bytes v1.12.0|MIT", 0),
            ("ring v0.17.0|Apache-2.0 AND ISC", 1),
            ("x v1.0.0 (https://example.com/x.git#abc)|MIT", 1),
            ("x v1.0.0|", 1),
            ("millrace v0.1.0 (place)|Apache-2.0", 0),
        ];
        for (line, expected) in cases {
            let findings = findings_of(line);
            assert_eq!(findings.len(), expected, "{findings:?}");
        }
    }

    #[test]
    fn deny_toml_says_the_same() {
        let root = crate::tree::root().expect("root");
        let deny = std::fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
        for name in FORBIDDEN.iter().map(|(name, _)| *name).chain(LICENCES) {
            assert!(
                deny.contains(&format!("\"{name}\"")),
                "deny.toml does not name {name}"
            );
        }
    }
}
