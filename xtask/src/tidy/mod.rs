//! The rules of the house that no compiler checks. Each check gives findings, one sentence each; none means
//! tidy.

mod chart;
mod documents;
mod edges;
mod manifests;
mod named;
mod places;
mod promised;
mod reference;
mod secrets;
mod sources;
mod supply;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::tree;

/// What the checks look at.
struct House {
    /// The root of the checkout.
    root: PathBuf,
    /// Every written file, relative to it.
    files: Vec<PathBuf>,
    /// `cargo metadata` of the workspace and all it depends on.
    metadata: Value,
}

/// A rule: its name and its check.
type Rule = (&'static str, fn(&House) -> anyhow::Result<Vec<String>>);

const RULES: [Rule; 14] = [
    (
        "every source file says what it is, and is short enough to read",
        sources::check,
    ),
    (
        "a crate imports only what its row in the design names",
        edges::check,
    ),
    ("what a document names is read in one place", named::check),
    ("what holds a secret as it is derives no `Debug`", secrets::check),
    (
        "dependencies are sorted, and their versions stand in one place",
        manifests::check,
    ),
    (
        "nothing forbidden, unlicensed or from elsewhere is linked",
        supply::check,
    ),
    (
        "no file names a place of one machine or one registry",
        places::check,
    ),
    (
        "documents link to what is there, and the README names the two commands",
        documents::check,
    ),
    (
        "every code that an answer can carry is documented, and no other",
        promised::codes,
    ),
    ("every metric is documented, and no other", promised::metrics),
    (
        "every annotation is documented, and no other is used",
        reference::annotations,
    ),
    (
        "every field of a document is documented, and no other",
        reference::fields,
    ),
    (
        "every path and parameter over HTTP is documented, and no other",
        reference::paths,
    ),
    (
        "the chart has our definitions and versions and describes each value, and the Dockerfile has our Rust",
        chart::check,
    ),
];

/// Runs all checks, prints every finding, and fails when there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = tree::root()?;
    let house = House {
        files: tree::files(&root)?,
        metadata: metadata(&root)?,
        root,
    };
    let mut count = 0;
    for (rule, check) in RULES {
        let findings = check(&house).with_context(|| format!("checking: {rule}"))?;
        count += findings.len();
        println!("{} {rule}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in findings {
            println!("     {finding}");
        }
    }
    if count > 0 {
        bail!("{count} findings");
    }
    Ok(())
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .context("starting cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata --locked: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl House {
    /// The files with this extension, with their text.
    fn texts(&self, extension: &str) -> anyhow::Result<Vec<(&Path, String)>> {
        let mut texts = Vec::new();
        for file in self
            .files
            .iter()
            .filter(|file| file.extension().is_some_and(|is| is == extension))
        {
            let text = tree::text(&self.root, file)?;
            texts.push((
                file.as_path(),
                text.with_context(|| format!("{} is not UTF-8", file.display()))?,
            ));
        }
        Ok(texts)
    }

    /// The packages of `cargo metadata`.
    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().into_iter().flatten()
    }
}
