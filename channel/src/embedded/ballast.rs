//! A file that only takes up room, thrown overboard when the volume is full.
//!
//! Deleting settled events needs progress to be written first, and that needs a little room: without it a
//! volume that is full to the last block would stay so. A start after a crash needs some room too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::disk::{Disk, Space};
use super::path_identity::PathIdentity;

/// What is kept, on volumes that are large enough.
const BYTES: u64 = 4 * 1024 * 1024;

/// The file and whether it is there.
#[derive(Debug)]
pub(crate) struct Ballast {
    file: PathBuf,
    /// The data folder, which an operator may move away.
    home: Option<PathIdentity>,
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
            home: PathIdentity::named(folder).ok(),
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

    /// Opens files. If that fails while the volume is as good as full, the room is given free, and they are
    /// opened once more.
    pub(crate) fn backing<T, E>(&self, disk: &Disk, mut open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        let opened = open();
        if opened.is_ok() || !self.would_help(disk) {
            return opened;
        }
        tracing::warn!("the disk is full: files are opened with the room kept for it");
        self.release();
        disk.look_again();
        open()
    }

    /// Whether it is there and the volume has less room than it gives. The cause of an error does not always
    /// tell: SQLite's shared memory does not say that the disk is full.
    fn would_help(&self, disk: &Disk) -> bool {
        disk.look_again();
        *self.kept.lock() && disk.space().is_some_and(|space| space.free < bytes_on(space))
    }

    /// Whether the room is taken up.
    pub(crate) fn is_kept(&self) -> bool {
        *self.kept.lock()
    }

    /// Takes the room up again once producers would be admitted, since the volume is then no longer short.
    /// Until it is taken, producers do not get that room.
    pub(crate) fn restore(&self, disk: &Disk) {
        let mut kept = self.kept.lock();
        let bytes = disk.space().map_or(0, bytes_on);
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
        self.home.as_ref().is_some_and(PathIdentity::is_lost)
    }
}

/// How much is kept on a volume.
fn bytes_on(volume: Space) -> u64 {
    BYTES.min(volume.total / 16)
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

    #[test]
    fn files_are_opened_once_more_only_where_its_room_can_help() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ballast");
        let with_free = |free| Disk::new(Box::new(Pretended::new(1 << 30, free)));
        let cases = [
            ("full, and it is there", true, 0, 2),
            ("full, and it is gone", false, 0, 1),
            ("another fault, on a volume with room", true, BYTES, 1),
        ];
        for (case, is_kept, free, expected) in cases {
            std::fs::write(&file, if is_kept { "x" } else { "" }).unwrap();
            let ballast = Ballast::new(folder.path());
            let tries = std::cell::Cell::new(0);
            let outcome: Result<(), &str> = ballast.backing(&with_free(free), || {
                tries.set(tries.get() + 1);
                Err("no room")
            });
            assert_eq!((outcome, tries.get()), (Err("no room"), expected), "{case}");
            assert_eq!(file.exists(), expected == 1, "{case}");
        }
    }
}
