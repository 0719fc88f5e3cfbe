//! How much room the volume of the data folder has, and how much of it producers must leave.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
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
///
/// Far from the reserve an append is admitted without a lock, which all Brokers of the process would share.
#[derive(Debug)]
pub(crate) struct Disk {
    volume: Box<dyn Volume>,
    began: Instant,
    /// Bytes admitted so far. What is not written in the end is taken off again.
    admitted: AtomicU64,
    /// Those of them that are written.
    written: AtomicU64,
    looked: Mutex<Option<Looked>>,
    far: Far,
}

/// How much is admitted without a lock: what the last look leaves as long as the reserve is far away.
#[derive(Debug, Default)]
struct Far {
    /// `admitted` may rise to this.
    most: AtomicU64,
    /// Until then, in nanoseconds since the disk was made; 0: the reserve is near.
    until: AtomicU64,
}

/// Room set aside for bytes that are about to be written. Dropped when they are written, or will not be.
#[derive(Debug)]
pub(crate) struct Promise<'d> {
    disk: &'d Disk,
    bytes: u64,
}

/// An answer of the file system.
#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    space: Space,
    /// What was written before.
    written: u64,
}

// === impl Space ===

impl Space {
    /// What producers must leave: the larger of 5 % and the smaller of 256 MiB and 25 % of the volume.
    pub(crate) fn reserve(self) -> u64 {
        (self.total / 20).max((256 * MIB).min(self.total / 4))
    }

    /// Bytes that are missing for a producer to write `bytes`; 0: there is room.
    pub(crate) fn missing(self, bytes: u64) -> u64 {
        (self.reserve() + bytes).saturating_sub(self.free)
    }

    /// What is left is needed to write progress, without which nothing gives room back.
    pub(crate) fn is_all_but_full(self) -> bool {
        self.free < self.reserve() / 4
    }

    /// The reserve is near when this much or less is free above it: a 16th of the volume, at most 256 MiB.
    fn margin(self) -> u64 {
        (self.total / 16).min(256 * MIB)
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
            began: Instant::now(),
            admitted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            looked: Mutex::default(),
            far: Far::default(),
        }
    }

    /// The space now, at most a moment old, less what has been admitted. `None`: the file system does not
    /// tell, so no append is turned away for it.
    pub(crate) fn space(&self) -> Option<Space> {
        self.look(&mut self.looked.lock())
    }

    /// Room for so many bytes, if a producer may have it.
    pub(crate) fn try_promise(&self, bytes: u64) -> Option<Promise<'_>> {
        self.promise_far(bytes).or_else(|| self.promise_near(bytes))
    }

    /// Room for so many bytes, without asking whether there is any.
    pub(crate) fn promise(&self, bytes: u64) -> Promise<'_> {
        self.admitted.fetch_add(bytes, Relaxed);
        Promise { disk: self, bytes }
    }

    /// Forgets the last look: room was given back, or the volume turned out to be full.
    pub(crate) fn look_again(&self) {
        let mut looked = self.looked.lock();
        *looked = None;
        self.far.until.store(0, Release);
    }

    fn promise_far(&self, bytes: u64) -> Option<Promise<'_>> {
        if nanos(self.began.elapsed()) >= self.far.until.load(Acquire) {
            return None;
        }
        let before = self.admitted.fetch_add(bytes, Relaxed);
        let promise = Promise { disk: self, bytes };
        let fits = before.saturating_add(bytes) <= self.far.most.load(Relaxed);
        // A promise that is dropped takes back what it added.
        fits.then_some(promise)
    }

    /// One after the other, so that what is left of the room is promised once.
    fn promise_near(&self, bytes: u64) -> Option<Promise<'_>> {
        let mut looked = self.looked.lock();
        match self.look(&mut looked) {
            Some(space) if space.missing(bytes) > 0 => None,
            _ => Some(self.promise(bytes)),
        }
    }

    fn look(&self, looked: &mut Option<Looked>) -> Option<Space> {
        let seen = match looked.filter(|seen| self.is_fresh(seen)) {
            Some(seen) => seen,
            None => {
                let written = self.written.load(Relaxed);
                let space = self.volume.space().inspect_err(|error| {
                    tracing::debug!(%error, "the volume does not tell how much room it has");
                });
                let seen = Looked {
                    at: Instant::now(),
                    space: space.ok()?,
                    written,
                };
                *looked = Some(seen);
                self.open_far(&seen);
                seen
            }
        };
        Some(Space {
            total: seen.space.total,
            free: self.free(&seen),
        })
    }

    fn is_fresh(&self, seen: &Looked) -> bool {
        let is_near = self.free(seen) < seen.space.reserve() + seen.space.margin();
        let believed = if is_near { BELIEVED_NEAR } else { BELIEVED };
        let written = self.written.load(Relaxed).saturating_sub(seen.written);
        seen.at.elapsed() < believed && written < BELIEVED_BYTES
    }

    fn free(&self, seen: &Looked) -> u64 {
        let since = self.admitted.load(Relaxed).saturating_sub(seen.written);
        seen.space.free.saturating_sub(since)
    }

    fn open_far(&self, seen: &Looked) {
        let kept = seen.space.reserve() + seen.space.margin();
        let room = seen.space.free.saturating_sub(kept).min(BELIEVED_BYTES);
        let until = match room {
            0 => 0,
            _ => nanos(seen.at.saturating_duration_since(self.began) + BELIEVED),
        };
        self.far.most.store(seen.written.saturating_add(room), Relaxed);
        // Stored last: a reader that sees this time also sees its room.
        self.far.until.store(until, Release);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Promise ===

impl Promise<'_> {
    /// How many bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes have been written.
    pub(crate) fn kept(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.disk.written.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.disk.admitted.fetch_sub(self.bytes, Relaxed);
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
    use std::sync::Arc;

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
        disk.try_promise(MIB).unwrap().kept();
        assert_eq!(disk.space().unwrap().missing(MIB), MIB);
        volume.0.lock().free = 300 * MIB;
        disk.look_again();
        assert_eq!(disk.space().unwrap().missing(MIB), 0);
    }

    #[test]
    fn room_is_given_once_however_many_ask_before_it_is_written() {
        let volume = testing::Pretended::new(1024 * MIB, 258 * MIB);
        let disk = Disk::new(Box::new(volume));
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

    /// A volume on which a test writes, and which counts how often it is asked.
    #[derive(Clone, Debug)]
    struct Written {
        free: Arc<AtomicU64>,
        asked: Arc<AtomicU64>,
    }

    impl Written {
        fn new(free: u64) -> Self {
            Self {
                free: Arc::new(AtomicU64::new(free)),
                asked: Arc::default(),
            }
        }
    }

    impl Volume for Written {
        fn space(&self) -> io::Result<Space> {
            self.asked.fetch_add(1, Relaxed);
            Ok(Space {
                total: 1024 * MIB,
                free: self.free.load(Relaxed),
            })
        }
    }

    #[test]
    fn far_from_the_reserve_the_file_system_is_asked_again_after_so_many_bytes() {
        let volume = Written::new(1000 * MIB);
        let disk = Disk::new(Box::new(volume.clone()));
        let admit = |bytes: u64| (0..bytes / MIB).for_each(|_| disk.try_promise(MIB).unwrap().kept());
        admit(BELIEVED_BYTES);
        let asked = volume.asked.load(Relaxed);
        admit(MIB);
        assert!(
            volume.asked.load(Relaxed) > asked,
            "it may have filled up meanwhile"
        );
        volume.free.store(300 * MIB, Relaxed);
        disk.look_again();
        assert_eq!(disk.space().unwrap().missing(0), 0);
        let promises = Vec::from_iter((0..100).map_while(|_| disk.try_promise(MIB)));
        assert_eq!(promises.len(), 44, "and down to the reserve, not further");
    }

    #[test]
    fn many_threads_write_up_to_the_reserve_and_not_beyond() {
        let volume = Written::new(400 * MIB);
        let disk = Disk::new(Box::new(volume.clone()));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(promise) = disk.try_promise(MIB / 4) {
                        volume.free.fetch_sub(promise.bytes(), Relaxed);
                        promise.kept();
                    }
                });
            }
        });
        let left = volume.free.load(Relaxed);
        assert!(left >= 256 * MIB, "the reserve is left: {left}");
        // A look may count twice what is written but not reported at that moment.
        assert!(left <= 260 * MIB, "and no more: {left}");
    }

    #[test]
    fn the_machine_tells_the_room_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let space = FolderVolume::new(folder.path()).space().unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
