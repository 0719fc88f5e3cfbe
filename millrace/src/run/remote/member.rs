//! What other processes are told of this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use millrace_channel_jetstream::About;

/// A file of the data folder with a random text. Whoever has the folder's lock knows that the process before
/// it has ended, and takes over what that one owned.
const FILE: &str = "member";
/// Random octets as text.
const LENGTH: usize = 32;

/// This process, as others are to know it.
#[derive(Debug)]
pub(crate) struct Myself {
    data: PathBuf,
    admin: String,
    /// Known when the first Broker on servers is opened.
    about: OnceLock<About>,
}

// === impl Myself ===

impl Myself {
    /// A process with that data folder, which it has locked, and that admin API.
    pub(crate) fn new(data: &Path, admin: String) -> Self {
        Self {
            data: data.to_owned(),
            admin,
            about: OnceLock::new(),
        }
    }

    /// What others are told of it. Blocking.
    pub(super) fn about(&self) -> About {
        let about = || about(&self.data, self.admin.clone());
        self.about.get_or_init(about).clone()
    }
}

fn about(data: &Path, admin: String) -> About {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let own = own(data);
    // A copy of a folder is another process's, at least where it lies elsewhere.
    let place = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let all = [
        own.as_bytes(),
        host.as_bytes(),
        place.as_os_str().as_encoded_bytes(),
    ]
    .join(&0);
    About {
        id: format!("{:016x}", fnv1a(&all)),
        name: format!("{host}:{}", std::process::id()),
        admin,
    }
}

/// What the file says; made if there is none. If it cannot be kept, a restart is another process.
fn own(data: &Path) -> String {
    let file = data.join(FILE);
    if let Ok(known) = fs::read_to_string(&file)
        && known.trim().len() == LENGTH
    {
        return known.trim().to_owned();
    }
    let own = format!("{:032x}", fastrand::u128(..));
    if let Err(error) = fs::write(&file, &own) {
        tracing::warn!(%error, "the name of this process among others cannot be kept in the data folder");
    }
    own
}

/// FNV-1a of 64 bits.
fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_id_and_a_copy_elsewhere_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = |folder: &tempfile::TempDir| about(folder.path(), String::new()).id;
        let first = id(&one);
        assert_eq!(id(&one), first);
        assert_ne!(id(&other), first);
        fs::copy(one.path().join(FILE), other.path().join(FILE)).unwrap();
        assert_ne!(id(&other), first);
    }
}
