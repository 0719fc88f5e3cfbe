//! The programs that hold the tests: one build makes all of them.
//!
//! `cargo test --package` would resolve the features of the dependencies for that package alone, and compile
//! most of the workspace once more. So all are built as one workspace, and what is run is chosen afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The package whose programs are the suites.
const SUITES: &str = "tests";
/// Its programs that run pods, with `--long` alone.
const NODE: [&str; 2] = ["node", "node_conformance"];

/// A program that cargo built, which runs the tests of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The folder of its package, and its target: `crds/cron`.
    pub(super) name: String,
    /// Its package, which is where it runs.
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
}

/// What is run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Tests of one crate, without the binary.
    Unit,
    /// Tests that drive the binary.
    Suite,
    /// Suites on a cluster that runs pods.
    Node,
}

/// Builds all of them. What the compiler says passes through.
pub(super) fn build(root: &Path, mut cargo: Command) -> anyhow::Result<Vec<Program>> {
    let output = cargo
        .args(["test", "--quiet", "--workspace", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("the tests cannot be built: cargo ended with {}", output.status);
    }
    let told = String::from_utf8(output.stdout)?;
    let mut programs = Vec::new();
    for line in told.lines() {
        programs.extend(program(root, &serde_json::from_str(line)?)?);
    }
    Ok(programs)
}

/// The program that a message of cargo tells of, if it runs tests.
fn program(root: &Path, message: &Value) -> anyhow::Result<Option<Program>> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let (true, Some(file)) = (is_test, message["executable"].as_str()) else {
        return Ok(None);
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo tells a text");
    let manifest = PathBuf::from(text(&message["manifest_path"])?);
    let folder = manifest.parent().context("a manifest lies in a folder")?;
    let package = folder.strip_prefix(root)?.display();
    Ok(Some(Program {
        name: format!("{package}/{}", text(&message["target"]["name"])?),
        folder: folder.to_path_buf(),
        file: PathBuf::from(file),
    }))
}

// === impl Program ===

impl Program {
    pub(super) fn kind(&self) -> Kind {
        match self.name.split_once('/') {
            Some((SUITES, target)) if NODE.contains(&target) => Kind::Node,
            Some((SUITES, _)) => Kind::Suite,
            _ => Kind::Unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(name: &str, is_test: bool) -> Value {
        json!({
            "reason": "compiler-artifact",
            "manifest_path": format!("/src/{}/Cargo.toml", name.rsplit_once('/').expect("a package").0),
            "target": {"name": name.rsplit_once('/').expect("a target").1, "kind": ["test"]},
            "profile": {"test": is_test},
            "executable": "/src/target/debug/deps/x-1",
        })
    }

    #[test]
    fn what_runs_tests_is_a_program_and_its_folder_tells_its_kind() {
        let found = |name| program(Path::new("/src"), &told(name, true)).expect("it can be read");
        for (name, kind) in [
            ("crds/cron", Kind::Unit),
            ("xtask/bench/xtask-bench", Kind::Unit),
            ("tests/cron", Kind::Suite),
            ("tests/node", Kind::Node),
        ] {
            let program = found(name).expect("it runs tests");
            assert_eq!((program.name.as_str(), program.kind()), (name, kind));
        }
        let binary = program(Path::new("/src"), &told("millrace/millrace", false));
        assert_eq!(binary.expect("it can be read"), None);
    }
}
