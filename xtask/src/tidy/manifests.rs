//! Manifests: foreign dependencies in alphabetical order, and each version once, in the workspace's manifest.
//!
//! The project's own crates may stand first, in the order of the house.

use std::path::Path;

use super::House;

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, text) in house.texts("toml")? {
        if file.file_name().is_some_and(|name| name == "Cargo.toml") {
            findings.extend(findings_of(file, &text));
        }
    }
    Ok(findings)
}

fn findings_of(file: &Path, text: &str) -> Vec<String> {
    let is_root = file == Path::new("Cargo.toml");
    // The fuzz targets are a workspace of their own and cannot inherit.
    let inherits = !is_root && !file.starts_with("fuzz");
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    let mut last = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
            last.clear();
            continue;
        }
        let Some(name) = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()) else {
            continue;
        };
        if !in_dependencies || name.starts_with('#') || name.starts_with("millrace") {
            continue;
        }
        if name < last.as_str() {
            findings.push(format!("{}: {name} stands after {last}", file.display()));
        }
        if inherits && !line.contains("workspace = true") {
            findings.push(format!(
                "{}: the version of {name} belongs in the root's Cargo.toml",
                file.display()
            ));
        }
        name.clone_into(&mut last);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disorder_and_versions_of_ones_own_are_found() {
        let text = "[dependencies]\nmillrace-event.workspace = true\nbytes.workspace = true\nanyhow.workspace = true\n\
                    serde = { workspace = true, features = [\"rc\"] }\ntokio = \"1\"\n\n[dev-dependencies]\na.workspace = true\n";
        let findings = findings_of(Path::new("event/Cargo.toml"), text);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("anyhow stands after bytes"), "{findings:?}");
        assert!(findings[1].contains("version of tokio"), "{findings:?}");
        assert_eq!(
            findings_of(
                Path::new("Cargo.toml"),
                "[workspace.dependencies]\ntokio = \"1\"\n"
            )
            .len(),
            0
        );
    }
}
