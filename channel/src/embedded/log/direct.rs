//! A file of the machine whose large writes bypass the page cache: the disk takes them out of the writer's
//! buffer.
//!
//! The page cache copies data into memory that is mostly new, and finds, counts and frees its pages one by
//! one. For a megabyte that takes longer than the disk does. Small writes are cheaper through the cache,
//! where readers find them. `docs/decisions/0007` has the measurements.
//!
//! # Contract
//! Both ways give the same file. Only whole blocks can bypass the cache, from memory that begins at a block's
//! edge as the file does there: [`lead`] tells where to begin when filling a buffer. Anything that does not
//! fit, and every write on a file system that cannot do it, goes through the cache. The second descriptor
//! that this takes is open only while large writes follow each other.

use std::fs::File;
#[cfg(target_os = "linux")]
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::files::LogFile;
use crate::embedded::path_identity::PathIdentity;

/// What file systems and processors handle as one; what disks ask for is the same or less.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Smaller writes go through the page cache.
const LARGE: usize = 256 << 10;

/// How many bytes to skip in an empty buffer, so that what follows may go past the cache when it is written
/// at `at`.
pub(super) fn lead(buffer: &[u8], at: u64) -> usize {
    let wanted = offset_in_block(at);
    let given = buffer.as_ptr().addr() % BLOCK_BYTES;
    (wanted + BLOCK_BYTES - given) % BLOCK_BYTES
}

fn offset_in_block(at: u64) -> usize {
    usize::try_from(at % BLOCK_BYTES as u64).unwrap_or_default()
}

/// Whether what is written at `at` may go past the cache.
#[cfg(test)]
pub(super) fn is_large(bytes: &[u8], at: u64) -> bool {
    blocks(bytes, at).is_some()
}

/// The whole blocks of a write, if they are many and stand in memory as they will in the file; before and
/// behind them parts of a block each.
fn blocks(bytes: &[u8], at: u64) -> Option<(&[u8], &[u8], &[u8])> {
    let before = (BLOCK_BYTES - offset_in_block(at)) % BLOCK_BYTES;
    let (before, rest) = bytes.split_at_checked(before)?;
    let (whole, behind) = rest.split_at(rest.len() / BLOCK_BYTES * BLOCK_BYTES);
    let is_aligned = whole.as_ptr().addr() % BLOCK_BYTES == 0;
    (whole.len() >= LARGE && is_aligned).then_some((before, whole, behind))
}

/// Opens a file for writing past the cache.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> Option<File> {
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open(_: &Path) -> Option<File> {
    None
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// An open file.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    identity: PathIdentity,
    /// The same file, open for writing past the cache: from a large write to the next small one.
    direct: Mutex<Option<File>>,
    /// Everything goes through the cache: that is wanted, or the other way was refused.
    is_cached: AtomicBool,
}

// === impl DirectFile ===

impl DirectFile {
    /// The file that is open and its path; with `is_cached` it writes everything through the cache.
    pub(super) fn new(file: File, path: &Path, is_cached: bool) -> io::Result<Self> {
        Ok(Self {
            identity: PathIdentity::of(&file, path)?,
            file,
            direct: Mutex::default(),
            is_cached: AtomicBool::new(is_cached),
        })
    }

    fn write_past_cache(&self, blocks: &[u8], at: u64) -> io::Result<()> {
        let mut direct = self.direct.lock();
        if direct.is_none() {
            // Not another file that stands at the path now.
            *direct = open(self.identity.path()).filter(|file| self.identity.is(file));
        }
        let Some(file) = &*direct else {
            self.is_cached.store(true, Ordering::Relaxed);
            return self.file.write_all_at(blocks, at);
        };
        match file.write_all_at(blocks, at) {
            // The file system asks for larger blocks, took a part that ends within one, or does not do it at
            // all.
            Err(error) if is_refusal(&error) => {
                self.is_cached.store(true, Ordering::Relaxed);
                *direct = None;
                self.file.write_all_at(blocks, at)
            }
            written => written,
        }
    }
}

impl LogFile for DirectFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.is_cached.load(Ordering::Relaxed) {
            return self.file.write_all_at(bytes, at);
        }
        let Some((before, whole, behind)) = blocks(bytes, at) else {
            self.direct.lock().take();
            return self.file.write_all_at(bytes, at);
        };
        let whole_at = at + before.len() as u64;
        self.file.write_all_at(before, at)?;
        self.write_past_cache(whole, whole_at)?;
        self.file.write_all_at(behind, whole_at + whole.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(&self.file, &mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn is_gone(&self) -> bool {
        self.identity.is_lost()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::embedded::log::files::{Files, Folder};

    #[test]
    fn only_large_writes_from_aligned_memory_have_blocks() {
        let memory = vec![0; LARGE + 4 * BLOCK_BYTES];
        for at in [0, 1, 4095, 4096, 70_000] {
            let start = lead(&memory, at);
            let sizes = |bytes: &[u8]| {
                blocks(bytes, at).map(|(before, whole, behind)| {
                    assert_eq!((at + before.len() as u64) % BLOCK_BYTES as u64, 0);
                    (before.len() + whole.len() + behind.len(), whole.len())
                })
            };
            let long = LARGE + 2 * BLOCK_BYTES;
            let (all, whole) = sizes(&memory[start..start + long]).expect("large and aligned");
            assert!(
                all == long && whole >= LARGE && whole % BLOCK_BYTES == 0,
                "{at}: {whole}"
            );
            assert_eq!(sizes(&memory[start..start + LARGE - 1]), None, "{at}: small");
            assert_eq!(
                sizes(&memory[start + 1..start + 1 + long]),
                None,
                "{at}: not aligned"
            );
        }
    }

    #[test]
    fn the_second_descriptor_is_closed_by_the_next_small_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = Folder::open(folder.path())
            .unwrap()
            .past_cache()
            .create("a")
            .unwrap();
        let open = || {
            let all = std::fs::read_dir("/proc/self/fd").unwrap();
            let targets = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            targets.filter(|target| *target == path).count()
        };
        let memory = vec![0; LARGE + 2 * BLOCK_BYTES];
        let large = &memory[lead(&memory, 0)..][..LARGE];
        for _ in 0..2 {
            file.write_at(large, 0).unwrap();
            file.write_at(large, 0).unwrap();
            assert!(open() <= 2, "one of each kind at most");
            file.write_at(b"small", 0).unwrap();
            assert_eq!(open(), 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// Through and past the cache, in any order and with a cut, as a writer does it; readers see the same
        /// at any time.
        #[test]
        fn what_is_written_either_way_is_read_back(
            writes in prop::collection::vec((0..3 * LARGE, any::<bool>(), any::<u8>()), 1..8),
            cut in prop::option::of(0..100_000_usize),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = Folder::open(folder.path()).unwrap().past_cache().create("a").unwrap();
            let (mut expected, mut buffer) = (Vec::new(), Vec::new());
            for (number, (length, is_aligned, octet)) in writes.into_iter().enumerate() {
                if let Some(cut) = cut.filter(|cut| number == 2 && *cut < expected.len()) {
                    file.set_len(cut as u64).unwrap();
                    expected.truncate(cut);
                }
                let at = expected.len() as u64;
                buffer.clear();
                buffer.reserve(length + BLOCK_BYTES + 1);
                let start = lead(&buffer, at) + usize::from(!is_aligned);
                buffer.resize(start, 0);
                buffer.extend((0..length).map(|n| octet.wrapping_add((n % 249) as u8)));
                file.write_at(&buffer[start..], at).unwrap();
                expected.extend_from_slice(&buffer[start..]);
                let mut found = vec![0; expected.len() + 1];
                prop_assert_eq!(file.read_at(&mut found, 0).unwrap(), expected.len());
                prop_assert!(found[..expected.len()] == expected);
            }
            file.sync_data().unwrap();
            prop_assert_eq!(file.length().unwrap(), expected.len() as u64);
            prop_assert!(std::fs::read(folder.path().join("a")).unwrap() == expected);
        }
    }
}
