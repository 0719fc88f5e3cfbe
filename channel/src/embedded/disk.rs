//! How much room the volume of the data folder has, and how much of it producers must leave.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an answer of the file system is believed, less what has been written since.
const BELIEVED: Duration = Duration::from_millis(100);

/// The same while little is left: writes beside events (state, history, indexes) are noticed only by asking.
const BELIEVED_NEAR: Duration = Duration::from_millis(5);

/// After so many bytes the file system is asked again even earlier.
const BELIEVED_BYTES: u64 = 16 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// A volume's size and what is free of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// Tells the space of a volume: the system, or a test.
pub(crate) trait Volume: Send + Sync + std::fmt::Debug {
    fn space(&self) -> io::Result<Space>;
}

/// The volume that a folder lies on.
#[derive(Debug)]
pub(crate) struct FolderVolume(PathBuf);

/// The room of a volume. Every append asks for it, so the answer is remembered for a moment. An append counts
/// from its admission on, not only once it is written: of a hundred producers at the same time only as many
/// are admitted as fit.
#[derive(Debug)]
pub(crate) struct Disk {
    volume: Box<dyn Volume>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    looked: Option<Looked>,
    /// Bytes that have been admitted and are not written yet.
    promised: u64,
}

/// Room for bytes that are about to be written. Ends when they are written, or will not be.
#[derive(Debug)]
pub(crate) struct Promise {
    disk: Arc<Disk>,
    bytes: u64,
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
            known: Mutex::default(),
        }
    }

    /// The space now, at most a moment old, less what has been admitted. `None`: the file system does not
    /// tell, so no append is turned away for it.
    pub(crate) fn space(&self) -> Option<Space> {
        self.known.lock().space(&*self.volume)
    }

    /// Room for so many bytes, if a producer may have it.
    pub(crate) fn try_promise(self: &Arc<Self>, bytes: u64) -> Option<Promise> {
        let mut known = self.known.lock();
        let space = known.space(&*self.volume);
        if space.is_some_and(|space| space.missing(bytes) > 0) {
            return None;
        }
        known.promised += bytes;
        drop(known);
        Some(Promise {
            disk: self.clone(),
            bytes,
        })
    }

    /// Room for so many bytes, without asking whether there is any.
    pub(crate) fn promise(self: &Arc<Self>, bytes: u64) -> Promise {
        self.known.lock().promised += bytes;
        Promise {
            disk: self.clone(),
            bytes,
        }
    }

    /// Forgets the last look: room was given back, or the volume turned out to be full.
    pub(crate) fn look_again(&self) {
        self.known.lock().looked = None;
    }
}

// === impl Known ===

impl Known {
    fn space(&mut self, volume: &dyn Volume) -> Option<Space> {
        let fresh = self.looked.filter(|seen| {
            let believed = if self.is_near(seen) {
                BELIEVED_NEAR
            } else {
                BELIEVED
            };
            seen.at.elapsed() < believed && seen.written < BELIEVED_BYTES
        });
        let seen = match fresh {
            Some(seen) => seen,
            None => {
                let space = volume.space().inspect_err(|error| {
                    tracing::debug!(%error, "the volume does not tell how much room it has");
                });
                let seen = Looked {
                    at: Instant::now(),
                    space: space.ok()?,
                    written: 0,
                };
                self.looked = Some(seen);
                seen
            }
        };
        Some(Space {
            total: seen.space.total,
            free: self.free(&seen),
        })
    }

    fn free(&self, seen: &Looked) -> u64 {
        seen.space
            .free
            .saturating_sub(seen.written.saturating_add(self.promised))
    }

    /// Whether the reserve is near: a 16th of the volume away, or 256 MiB.
    fn is_near(&self, seen: &Looked) -> bool {
        let margin = (seen.space.total / 16).min(256 * MIB);
        self.free(seen) < seen.space.reserve() + margin
    }
}

// === impl Promise ===

impl Promise {
    /// The size of the promise in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes have been written.
    pub(crate) fn kept(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut known = self.disk.known.lock();
        known.promised = known.promised.saturating_sub(bytes);
        if let Some(seen) = known.looked.as_mut() {
            seen.written = seen.written.saturating_add(bytes);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut known = self.disk.known.lock();
        known.promised = known.promised.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
pub(crate) mod testing {
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
        let disk = Arc::new(Disk::new(Box::new(volume.clone())));
        disk.try_promise(MIB).unwrap().kept();
        assert_eq!(disk.space().unwrap().missing(MIB), MIB);
        volume.0.lock().free = 300 * MIB;
        disk.look_again();
        assert_eq!(disk.space().unwrap().missing(MIB), 0);
    }

    #[test]
    fn room_is_given_once_however_many_ask_before_it_is_written() {
        let volume = testing::Pretended::new(1024 * MIB, 258 * MIB);
        let disk = Arc::new(Disk::new(Box::new(volume)));
        let promises: Vec<_> = (0..5).filter_map(|_| disk.try_promise(MIB)).collect();
        assert_eq!(promises.len(), 2);
        disk.look_again();
        assert!(
            disk.try_promise(1).is_none(),
            "also when the file system is asked again"
        );
        let reply = disk.promise(MIB);
        assert_eq!(disk.space().unwrap().free, 255 * MIB);
        drop((promises, reply));
        assert_eq!(disk.space().unwrap().free, 258 * MIB, "nothing was written");
    }

    #[test]
    fn the_machine_tells_the_room_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let space = FolderVolume::new(folder.path()).space().unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
