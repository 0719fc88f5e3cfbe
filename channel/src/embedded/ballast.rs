//! A file that only takes up room, thrown overboard when the volume is full.
//!
//! Deleting settled events needs progress to be written first, and that needs a little room: without it a
//! volume that is full to the last block would stay so.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::disk::Disk;
use super::place::Place;

/// What is kept, on volumes that are large enough.
const BYTES: u64 = 4 * 1024 * 1024;

/// The file and whether it is there.
#[derive(Debug)]
pub(crate) struct Ballast {
    file: PathBuf,
    /// The data folder, which an operator may move away.
    home: Option<Place>,
    kept: Mutex<bool>,
}

// === impl Ballast ===

impl Ballast {
    /// The ballast of a data folder; what an earlier run left counts.
    pub(crate) fn new(folder: &Path) -> Self {
        let file = folder.join("ballast");
        let kept = std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 0);
        Self {
            file,
            home: Place::named(folder).ok(),
            kept: Mutex::new(kept),
        }
    }

    /// Gives the room free.
    pub(crate) fn release(&self) {
        if self.is_away() {
            return;
        }
        let mut kept = self.kept.lock();
        match std::fs::remove_file(&self.file) {
            Ok(()) => *kept = false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => *kept = false,
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "the ballast could not be released")
            }
        }
    }

    /// Takes the room up again once producers would be admitted, since the volume is then no longer short.
    /// Until it is taken, producers do not get that room.
    pub(crate) fn restore(&self, disk: &Disk) {
        let mut kept = self.kept.lock();
        let bytes = disk.space().map_or(0, |space| BYTES.min(space.total / 64));
        if *kept || bytes == 0 || self.is_away() {
            return;
        }
        let Some(promise) = disk.try_promise(bytes) else {
            return;
        };
        match fill(&self.file, bytes) {
            Ok(()) => {
                *kept = true;
                promise.kept();
            }
            Err(error) => {
                tracing::debug!(%error, "the ballast could not be taken up");
                let _ = std::fs::remove_file(&self.file);
            }
        }
    }

    /// Whether another folder stands at the path now.
    fn is_away(&self) -> bool {
        self.home.as_ref().is_some_and(Place::is_lost)
    }
}

/// Reserves real blocks, also where the file system cannot do so by itself.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
        let zeros = [0u8; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            file.write_all(&zeros[..usize::try_from(now).unwrap_or(zeros.len())])?;
            left -= now;
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::disk::testing::Pretended;

    #[test]
    fn it_is_taken_up_only_where_producers_would_be_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(folder.path());
        let file = folder.path().join("ballast");
        let total = 1024 * 1024 * 1024;
        let with_free = |free| Disk::new(Box::new(Pretended::new(total, free)));
        ballast.restore(&with_free(256 * 1024 * 1024));
        assert!(!file.exists());
        ballast.restore(&with_free(261 * 1024 * 1024));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), BYTES);
        ballast.release();
        assert!(!file.exists());
        ballast.release();
    }
}
