//! The checkout as a list of files: what the other chores look at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Generated, not written by hand: folders, and in a worktree of git the file `.git`.
const MADE: [&str; 7] = [
    "target",
    ".git",
    "node_modules",
    "millrace-data",
    ".millrace-dev",
    "corpus",
    "artifacts",
];

/// The root of the checkout.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(Path::to_path_buf)
        .context("xtask lies in the checkout's root")
}

/// Every written file below `root`, relative to it, in order.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    found.sort();
    Ok(found)
}

/// A file's text; `None` when it is not text.
pub(crate) fn text(root: &Path, file: &Path) -> anyhow::Result<Option<String>> {
    let bytes = fs::read(root.join(file)).with_context(|| format!("reading {}", file.display()))?;
    Ok(String::from_utf8(bytes).ok())
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if MADE.iter().any(|made| entry.file_name() == *made) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        } else {
            found.push(path.strip_prefix(root)?.to_path_buf());
        }
    }
    Ok(())
}
