//! The Helm chart: its definitions are those of `crds/`, its versions are the workspace's, and each value is
//! described beside its default and, in the same words, in the schema that editors show. The image that it
//! runs is built with our Rust.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::House;
use crate::image;

const CHARTS: [&str; 2] = ["charts/millrace", "charts/millrace/charts/millrace-crds"];

/// Where definitions and policies are written, and where the charts have their copies.
const COPIES: [[&str; 2]; 2] = [
    ["crds/definitions", "charts/millrace/charts/millrace-crds/files"],
    ["crds/definitions/policies", "charts/millrace/files/policies"],
];

/// Files by name.
type Manifests = BTreeMap<String, Vec<u8>>;

/// Helm puts it into every subchart.
const GLOBAL: &str = "global";

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for [from, to] in COPIES {
        let [written, copied] = [from, to].map(|folder| manifests(&house.root.join(folder)));
        let names = differences(&written?, &copied?).into_iter();
        findings
            .extend(names.map(|name| format!("{to}/{name} is not {from}/{name}: `cp {from}/*.yaml {to}/`")));
    }
    let version = image::version(&house.root)?;
    for chart in CHARTS {
        let read = |file: &str| fs::read_to_string(house.root.join(chart).join(file));
        findings.extend(versions(&read("Chart.yaml")?, &version).map(|line| {
            format!("{chart}/Chart.yaml says `{line}`, and the workspace's version is {version}")
        }));
        let schema = serde_json::from_str(&read("values.schema.json")?)?;
        let values = undescribed(&read("values.yaml")?, &schema);
        findings.extend(values.into_iter().map(|finding| format!("{chart}: {finding}")));
    }
    let toolchain = fs::read_to_string(house.root.join("rust-toolchain.toml"))?;
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let dockerfile = fs::read_to_string(house.root.join("Dockerfile"))?;
    if !channel.is_some_and(|channel| dockerfile.contains(&format!("rust:{channel}-"))) {
        findings.push("the Dockerfile builds with another Rust than rust-toolchain.toml names".to_owned());
    }
    Ok(findings)
}

/// The YAML files of a folder, by name.
fn manifests(folder: &Path) -> anyhow::Result<Manifests> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.insert(name, fs::read(&path)?);
        }
    }
    Ok(found)
}

/// The names of files that are not the same in both folders.
fn differences(written: &Manifests, copied: &Manifests) -> Vec<String> {
    let names = written
        .keys()
        .chain(copied.keys().filter(|name| !written.contains_key(*name)));
    names
        .filter(|name| written.get(*name) != copied.get(*name))
        .cloned()
        .collect()
}

/// The lines of a `Chart.yaml` that name another version.
fn versions<'a>(chart: &'a str, version: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = chart.lines().map(str::trim);
    lines.filter(move |line| {
        let named = line
            .strip_prefix("version: ")
            .or_else(|| line.strip_prefix("appVersion: "));
        named.is_some_and(|named| named != version)
    })
}

/// Values without a comment, values whose comment is not in the schema, and those that only the schema has.
fn undescribed(values: &str, schema: &Value) -> Vec<String> {
    let keys = keys(values);
    let mut findings = Vec::new();
    for (path, comment) in &keys {
        if comment.is_empty() {
            findings.push(format!("no comment stands above {path} in values.yaml"));
        }
        match in_schema(schema, path) {
            Known::Not => findings.push(format!("values.schema.json lacks {path}")),
            Known::As(description) if description != comment => {
                findings.push(format!(
                    "values.schema.json describes {path} in other words than values.yaml"
                ));
            }
            Known::As(_) | Known::Free => {}
        }
    }
    let mut known = Vec::new();
    properties(schema, "", &mut known);
    let is_value = |path: &String| keys.iter().any(|(key, _)| key == path) || path.ends_with(GLOBAL);
    let strange = known.into_iter().filter(|path| !is_value(path));
    findings.extend(strange.map(|path| format!("values.yaml lacks {path}")));
    findings
}

/// The keys of a `values.yaml` as paths (`a.b`), each with the comment above it.
fn keys(values: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut comment = Vec::new();
    for line in values.lines() {
        let text = line.trim();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with("- ")) else {
            continue;
        };
        let column = line.len() - line.trim_start().len();
        above.retain(|(other, _)| *other < column);
        let path = above
            .last()
            .map_or_else(|| key.to_owned(), |(_, parent)| format!("{parent}.{key}"));
        above.push((column, path.clone()));
        found.push((path, said));
    }
    found
}

/// What a schema says of a value.
#[derive(Debug, PartialEq, Eq)]
enum Known<'a> {
    /// It is described.
    As(&'a str),
    /// It is part of something whose keys are not ours.
    Free,
    /// It is refused.
    Not,
}

fn in_schema<'a>(schema: &'a Value, path: &str) -> Known<'a> {
    let mut at = schema;
    for part in path.split('.') {
        let Some(properties) = at["properties"].as_object() else {
            return Known::Free;
        };
        match properties.get(part) {
            Some(property) => at = property,
            None => return Known::Not,
        }
    }
    Known::As(at["description"].as_str().unwrap_or_default())
}

/// The paths of all properties of a schema.
fn properties(schema: &Value, above: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if above.is_empty() {
            name.clone()
        } else {
            format!("{above}.{name}")
        };
        properties(property, &path, found);
        found.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_differ_are_missing_or_are_left_over_are_found() {
        let files = |files: &[(&str, &str)]| {
            let files = files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
            files.collect::<Manifests>()
        };
        let written = files(&[("a.yaml", "1"), ("b.yaml", "1"), ("c.yaml", "1")]);
        let copied = files(&[("a.yaml", "1"), ("b.yaml", "2"), ("d.yaml", "1")]);
        assert_eq!(differences(&written, &copied), ["b.yaml", "c.yaml", "d.yaml"]);
        assert!(differences(&written, &written).is_empty());
    }

    #[test]
    fn versions_that_are_not_the_workspaces_are_found() {
        let chart = "apiVersion: v2\nversion: 1.0.0\nappVersion: 2.0.0\ndependencies:\n  - name: x\n    version: 1.0.0\n";
        assert_eq!(
            versions(chart, "1.0.0").collect::<Vec<_>>(),
            ["appVersion: 2.0.0"]
        );
    }

    #[test]
    fn values_are_described_in_the_same_words_in_both_places() {
        let schema = serde_json::json!({"properties": {
            "a": {"description": "One word, and another.", "properties": {"b": {"description": "X."}}},
            "free": {"description": "Y."},
            "gone": {"description": "Z."},
            "global": {},
        }});
        let values = "# One word,\n# and another.\na:\n  # X.\n  b: 1\n# Y.\nfree:\n  # Whatever.\n  c: 1\n";
        let findings = undescribed(values, &schema);
        assert_eq!(findings, ["values.yaml lacks gone"]);
        let findings = undescribed("# Other.\na:\n  b: 1\n# N.\nnew: 1\n", &schema);
        assert_eq!(findings.len(), 6, "{findings:?}");
    }
}
