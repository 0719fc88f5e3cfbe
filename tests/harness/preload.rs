//! A library of ours that stands before libc in the processes of one mesh, and does what a test writes into a file.
//!
//! For what no machine does on demand: clocks that jump, a kernel without memory. The rest of the machine is not touched.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::mesh::Setup;

/// The variable that names the file to the library.
const TOLD: &str = "MILLRACE_TEST_PRELOAD";

/// A library that was built, and the file that it looks at.
#[derive(Debug)]
pub(crate) struct Preload {
    folder: TempDir,
    told: File,
}

// === impl Preload ===

impl Preload {
    /// Builds the library; the file holds these bytes. `None`, with a remark that says what is skipped, where there is no C
    /// compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub(crate) fn new(source: &str, told: &[u8]) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("millrace-preload-").tempdir()?;
        let file = folder.path().join("shim.c");
        fs::write(&file, source)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&folder.path().join("shim.so"), &file])
            .output();
        let Ok(compiled) = compiled else {
            crate::peers::skip("there is no C compiler `cc` for a library that stands before libc")?;
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&compiled.stderr);
        ensure!(
            compiled.status.success(),
            "the library that stands before libc: {said}"
        );
        let file = File::create_new(folder.path().join("told"))?;
        let preload = Self { folder, told: file };
        preload.tell(told)?;
        Ok(Some(preload))
    }

    /// The setup, whose processes have the library.
    ///
    /// # Errors
    /// When the folder has a name that is no text.
    pub(crate) fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        let path = |name: &str| -> anyhow::Result<String> {
            let path = self.folder.path().join(name);
            Ok(path.to_str().context("the folder's name is no text")?.to_owned())
        };
        Ok(setup
            .environment("LD_PRELOAD", &path("shim.so")?)
            .environment(TOLD, &path("told")?))
    }

    /// Writes what the library does from now on, always of the same length.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn tell(&self, told: &[u8]) -> anyhow::Result<()> {
        Ok(self.told.write_all_at(told, 0)?)
    }
}
