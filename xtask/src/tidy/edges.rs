//! The edges between the crates, exactly as the design's table of the house names them: this list is that
//! table.

use serde_json::Value;

use super::House;

/// What a folder may import, of the folders of this workspace. A folder that is missing here may not be a
/// crate.
const MAY_IMPORT: [(&str, &[&str]); 22] = [
    ("budget", &[]),
    ("event", &[]),
    ("filter", &["event"]),
    ("model", &["event", "filter"]),
    ("channel", &["event"]),
    ("channel-jetstream", &["event", "channel"]),
    ("channel-kafka", &["event", "channel", "kafka"]),
    ("serve", &["budget"]),
    ("access", &["event", "model", "serve"]),
    ("secrets", &["model"]),
    ("kafka", &["event", "model"]),
    ("delivery", &["budget", "event", "kafka", "model", "secrets"]),
    (
        "trigger-dispatcher",
        &["budget", "event", "filter", "model", "channel", "delivery"],
    ),
    (
        "broker",
        &["access", "event", "filter", "model", "channel", "serve"],
    ),
    (
        "admin",
        &["access", "event", "filter", "model", "channel", "serve"],
    ),
    (
        "sources",
        &[
            "budget", "event", "filter", "model", "secrets", "kafka", "delivery", "serve",
        ],
    ),
    ("crds", &["event", "filter", "model"]),
    ("controller", &["crds", "event", "model"]),
    ("millrace", &[ANY]),
    ("tests", &[]),
    ("xtask", &[]),
    // The benchmark `neighbours` uses the attacks of the suite.
    ("xtask/bench", &["event", "filter", "tests"]),
];

/// Every other folder.
const ANY: &str = "*";

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let members: Vec<&str> = house.metadata["workspace_members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut findings = Vec::new();
    for package in house
        .packages()
        .filter(|package| members.contains(&package["id"].as_str().unwrap_or_default()))
    {
        let name = package["name"].as_str().unwrap_or_default();
        let imports = package["dependencies"].as_array().into_iter().flatten();
        let imports = imports.filter(|import| import["path"].is_string());
        findings.extend(findings_of(
            folder(name),
            imports.filter_map(|import| import["name"].as_str()).map(folder),
        ));
    }
    Ok(findings)
}

/// The folder of a package: `millrace-event` lies in `event`; `millrace` and `xtask` bear their folder's
/// name.
fn folder(package: &str) -> &str {
    match package {
        "xtask-bench" => "xtask/bench",
        _ => package.strip_prefix("millrace-").unwrap_or(package),
    }
}

fn findings_of<'a>(folder: &str, imports: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(row, _)| *row == folder) else {
        return vec![format!(
            "{folder}/ has no row in the table of the house (xtask/src/tidy/edges.rs)"
        )];
    };
    imports
        .filter(|import| !allowed.contains(&ANY) && !allowed.contains(import))
        .map(|import| format!("{folder}/ imports {import}/, which its row does not name"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_no_row_names_is_found() {
        let cases: [(&str, &[&str], usize); 6] = [
            ("filter", &["event"], 0),
            ("event", &["filter"], 1),
            ("model", &["event", "channel", "serve"], 2),
            ("millrace", &["event", "admin"], 0),
            ("tests", &["event"], 1),
            ("attic", &[], 1),
        ];
        for (folder, imports, expected) in cases {
            let findings = findings_of(folder, imports.iter().copied());
            assert_eq!(findings.len(), expected, "{folder}: {findings:?}");
        }
    }

    #[test]
    fn a_package_is_named_after_its_folder() {
        for (package, expected) in [
            ("millrace-event", "event"),
            ("millrace", "millrace"),
            ("xtask-bench", "xtask/bench"),
            ("xtask", "xtask"),
        ] {
            assert_eq!(folder(package), expected);
        }
    }
}
