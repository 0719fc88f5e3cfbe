//! How much room the volume of the data folder has, and how much of it producers must leave.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an answer of the file system is believed, less what has been written since.
const BELIEVED: Duration = Duration::from_millis(100);

/// After so many bytes the file system is asked again even earlier.
const BELIEVED_BYTES: u64 = 16 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// A volume's size and what is free of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// Who knows the space of a volume: the system, or a test.
pub(crate) trait Volume: Send + Sync + std::fmt::Debug {
    fn space(&self) -> io::Result<Space>;
}

/// The volume that a folder lies on.
#[derive(Debug)]
pub(crate) struct FolderVolume(PathBuf);

/// The room of a volume, asked for at every append and therefore remembered for a moment.
#[derive(Debug)]
pub(crate) struct Disk {
    volume: Box<dyn Volume>,
    looked: Mutex<Option<Looked>>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    space: Space,
    written: u64,
}

// === impl Space ===

impl Space {
    /// What producers must leave: the larger of 5 % and the smaller of 256 MiB and 25 % of the volume (design §2).
    pub(crate) fn reserve(self) -> u64 {
        (self.total / 20).max((256 * MIB).min(self.total / 4))
    }

    /// Bytes that are missing for a producer to write `bytes`; 0: there is room.
    pub(crate) fn missing(self, bytes: u64) -> u64 {
        (self.reserve() + bytes).saturating_sub(self.free)
    }
}

// === impl FolderVolume ===

impl FolderVolume {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

impl Volume for FolderVolume {
    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let block = if stat.f_frsize == 0 {
            stat.f_bsize
        } else {
            stat.f_frsize
        };
        Ok(Space {
            total: stat.f_blocks.saturating_mul(block),
            free: stat.f_bavail.saturating_mul(block),
        })
    }
}

// === impl Disk ===

impl Disk {
    pub(crate) fn new(volume: Box<dyn Volume>) -> Self {
        Self {
            volume,
            looked: Mutex::new(None),
        }
    }

    /// The space now, at most a moment old. `None`: the file system does not tell, so nobody is turned away for it.
    pub(crate) fn space(&self) -> Option<Space> {
        let mut looked = self.looked.lock();
        let fresh = looked.filter(|seen| seen.at.elapsed() < BELIEVED && seen.written < BELIEVED_BYTES);
        let seen = match fresh {
            Some(seen) => seen,
            None => {
                let space = self.volume.space().inspect_err(|error| {
                    tracing::debug!(%error, "the volume does not tell how much room it has");
                });
                let seen = Looked {
                    at: Instant::now(),
                    space: space.ok()?,
                    written: 0,
                };
                *looked = Some(seen);
                seen
            }
        };
        Some(Space {
            total: seen.space.total,
            free: seen.space.free.saturating_sub(seen.written),
        })
    }

    /// Counts what was written since the last look.
    pub(crate) fn wrote(&self, bytes: u64) {
        if let Some(seen) = self.looked.lock().as_mut() {
            seen.written = seen.written.saturating_add(bytes);
        }
    }

    /// Forgets the last look: room was given back, or the volume turned out to be full.
    pub(crate) fn look_again(&self) {
        *self.looked.lock() = None;
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use super::*;

    /// A volume of which a test says how full it is.
    #[derive(Clone, Debug)]
    pub(crate) struct Pretended(pub(crate) Arc<Mutex<Space>>);

    impl Pretended {
        pub(crate) fn new(total: u64, free: u64) -> Self {
            Self(Arc::new(Mutex::new(Space { total, free })))
        }
    }

    impl Volume for Pretended {
        fn space(&self) -> io::Result<Space> {
            Ok(*self.0.lock())
        }
    }

    /// A volume of so many bytes that holds nothing but a folder.
    #[derive(Debug)]
    pub(crate) struct Small {
        pub(crate) folder: PathBuf,
        pub(crate) total: u64,
    }

    impl Volume for Small {
        fn space(&self) -> io::Result<Space> {
            Ok(Space {
                total: self.total,
                free: self.total.saturating_sub(size(&self.folder)),
            })
        }
    }

    fn size(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => size(&entry.path()),
                Ok(meta) => meta.len(),
                Err(_) => 0,
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_the_larger_of_a_twentieth_and_a_quarter_or_256_mib() {
        let cases = [
            (16 * MIB, 4 * MIB),
            (1024 * MIB, 256 * MIB),
            (4096 * MIB, 256 * MIB),
            (10_240 * MIB, 512 * MIB),
        ];
        for (total, reserve) in cases {
            assert_eq!(Space { total, free: 0 }.reserve(), reserve, "of {total}");
        }
    }

    #[test]
    fn what_is_written_counts_before_the_file_system_is_asked_again() {
        let volume = testing::Pretended::new(1024 * MIB, 257 * MIB);
        let disk = Disk::new(Box::new(volume.clone()));
        assert_eq!(disk.space().unwrap().missing(MIB), 0);
        disk.wrote(MIB);
        assert_eq!(disk.space().unwrap().missing(MIB), MIB);
        volume.0.lock().free = 300 * MIB;
        disk.look_again();
        assert_eq!(disk.space().unwrap().missing(MIB), 0);
    }

    #[test]
    fn the_machine_tells_the_room_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let space = FolderVolume::new(folder.path()).space().unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
