//! Which file a path leads to, and whether it may be read: it is found first, then judged, and opened last.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use millrace_model::NamedFile;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::error::{SecretError, shown_path};
use crate::place::end;
use crate::reader::MAX_BYTES;
use crate::rule::SecretRule;

/// The longest path that Linux takes, in bytes.
const MAX_PATH: usize = 4_096;

/// Opens a file for reading if the rule and the kind of file allow that. Blocking.
///
/// The kernel resolves the path once, to a descriptor that stands for the file without opening it: a pipe or
/// a device notices nothing. The kernel then tells where that file is; this place is judged, and then the
/// descriptor is opened, not the path. So nobody can put another file in its place between the verdict and
/// the reading.
pub(crate) fn open_file(rule: &SecretRule, named: &NamedFile) -> Result<File, SecretError> {
    let shown = || shown_path(&named.path);
    if named.path.as_os_str().len() > MAX_PATH {
        return Err(SecretError::PathTooLong(shown()));
    }
    let unreadable = |error: Errno| SecretError::Unreadable {
        file: shown(),
        error: error.into(),
    };
    let found = match open(&named.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => found,
        Err(error) => {
            // Whether a file exists is told only in places that are open.
            rule.judge_place(named, &end(&named.path))?;
            return Err(unreadable(error));
        }
    };
    let handle = handle_of(&found);
    let place = fs::read_link(&handle).map_err(|error| SecretError::Unreadable {
        file: shown(),
        error: io::Error::other(format!("/proc has to say where it is, and does not: {error}")),
    })?;
    rule.judge_place(named, &place)?;
    let about = fstat(&found).map_err(unreadable)?;
    if let Some(kind) = kind_beside_regular(FileType::from_raw_mode(about.st_mode)) {
        return Err(SecretError::NotRegular { file: shown(), kind });
    }
    if is_of_the_kernel(&found) {
        return Err(SecretError::NotRegular {
            file: shown(),
            kind: "a file of the kernel",
        });
    }
    if u64::try_from(about.st_size).is_ok_and(|size| size > MAX_BYTES) {
        return Err(SecretError::TooLarge(shown()));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = open(&handle, flags, Mode::empty()).map_err(unreadable)?;
    Ok(File::from(opened))
}

/// The path by which the kernel shows a descriptor of this process.
fn handle_of(found: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(found.as_raw_fd().to_string())
}

/// The kind of a file that is not regular.
fn kind_beside_regular(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::Fifo => Some("a pipe"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Symlink | FileType::Unknown => Some("no file with a content"),
    }
}

/// Whether the file only looks regular, because its file system is procfs or sysfs, wherever that is mounted.
fn is_of_the_kernel(found: &OwnedFd) -> bool {
    const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;
    rustix::fs::fstatfs(found)
        .is_ok_and(|system| [rustix::fs::PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&system.f_type))
}
