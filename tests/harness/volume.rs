//! A volume that is small enough to be filled: a tmpfs of its own, which only root may mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::peers::can;

/// A small volume. Dropping it unmounts it, also when the test failed.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
}

// === impl Volume ===

impl Volume {
    /// Mounts a volume of so many MiB. `None`, with a remark that says what is skipped, where that is not
    /// allowed and not required.
    ///
    /// # Errors
    /// When it cannot be mounted although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn mount(mebibytes: u32) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("millrace-volume-").tempdir()?;
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "millrace-test"])
            .arg(folder.path());
        let is_mounted = can(&mut mount, "no small volume can be mounted, which takes root")?;
        // Made only where it is mounted: dropping it unmounts.
        Ok(is_mounted.then(|| Self { folder }))
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes that are free.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free(&self) -> anyhow::Result<u64> {
        let stat = rustix::fs::statvfs(self.path())?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Fills it to the last block with a file of that name.
    ///
    /// # Errors
    /// When the file cannot be made at all.
    pub fn fill(&self, name: &str) -> anyhow::Result<()> {
        use std::io::Write as _;

        let mut file = fs::File::create(self.path().join(name)).context("making the filler")?;
        for size in [1 << 16, 1 << 12] {
            let block = vec![b'.'; size];
            // Ends when nothing more fits, which is what is wanted.
            while file.write_all(&block).is_ok() {}
        }
        Ok(())
    }
}

/// A folder that is mounted at a second path. Dropping it unmounts it.
#[derive(Debug)]
pub struct Bind {
    at: TempDir,
}

// === impl Bind ===

impl Bind {
    /// Mounts the folder at a path of its own. `None`, with a remark that names what is skipped, if that is
    /// not allowed and not required.
    ///
    /// # Errors
    /// When it cannot be mounted although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn mount(folder: &Path) -> anyhow::Result<Option<Self>> {
        let at = tempfile::Builder::new().prefix("millrace-bind-").tempdir()?;
        let mut mount = Command::new("mount");
        mount.arg("--bind").args([folder, at.path()]);
        let is_mounted = can(&mut mount, "no folder can be mounted twice, which takes root")?;
        Ok(is_mounted.then(|| Self { at }))
    }

    /// The second path.
    pub fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that is just being killed may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
