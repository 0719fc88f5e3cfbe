//! Where the logs of Brokers ended whose folders were given back: `ends/<namespace>/<name>` in the data
//! folder.
//!
//! A Broker of the same name begins there, so that a position is never used twice. The end is durable before
//! the folder goes, and it stays: it costs a file of a few bytes for each name that was ever given up.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use millrace_event::ObjectName;

use super::OpenError;
use super::folder::{fault, sync_dir};

/// The folder of these files in the data folder.
pub(crate) const FOLDER: &str = "ends";

/// The next position of a Broker that was given back; 0: there was none of that name. Blocking.
pub(crate) fn find(data: &Path, broker: &ObjectName) -> Result<u64, OpenError> {
    let path = path_of(data, broker);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        read => read.map_err(|error| fault("read", &path, error))?,
    };
    let no_position = |_| {
        fault(
            "read",
            &path,
            io::Error::new(io::ErrorKind::InvalidData, "it holds no position"),
        )
    };
    text.trim_end().parse().map_err(no_position)
}

/// Notes durably that a Broker ends at `end`, unless a higher end is known. It is complete or not there:
/// `draft` is the file in which it is written first, on the same file system. Blocking.
pub(crate) fn note(data: &Path, broker: &ObjectName, end: u64, draft: &Path) -> Result<(), OpenError> {
    if end <= find(data, broker)? {
        return Ok(());
    }
    let mut within = data.to_owned();
    for part in [FOLDER, broker.namespace()] {
        let inner = within.join(part);
        std::fs::create_dir_all(&inner).map_err(|error| fault("make", &inner, error))?;
        // Also of one that is there: a kill may have come before its sync.
        sync_dir(&within)?;
        within = inner;
    }
    let written = File::create(draft).and_then(|mut file| {
        writeln!(file, "{end}")?;
        file.sync_all()
    });
    let path = path_of(data, broker);
    if let Err(error) = written.and_then(|()| std::fs::rename(draft, &path)) {
        // Best effort: a start empties the folder in which it lies.
        let _ = std::fs::remove_file(draft);
        return Err(fault("write", &path, error));
    }
    sync_dir(&within)
}

fn path_of(data: &Path, broker: &ObjectName) -> PathBuf {
    data.join(FOLDER).join(broker.namespace()).join(broker.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_only_rises_and_one_that_cannot_be_read_is_no_end() {
        let temp = tempfile::tempdir().unwrap();
        let (data, draft) = (temp.path(), temp.path().join("draft"));
        let (a, b) = (ObjectName::new("shop", "a"), ObjectName::new("shop", "b"));
        assert_eq!(find(data, &a).unwrap(), 0);
        for (end, known) in [(7, 7), (3, 7), (0, 7), (u64::MAX, u64::MAX)] {
            note(data, &a, end, &draft).unwrap();
            assert_eq!(find(data, &a).unwrap(), known, "{end}");
        }
        assert_eq!(find(data, &b).unwrap(), 0);
        for wrong in ["", "x", "-1", "1 2", "18446744073709551616"] {
            std::fs::write(path_of(data, &b), wrong).unwrap();
            let refused = [find(data, &b).map(drop), note(data, &b, 9, &draft)];
            for refused in refused {
                assert!(
                    matches!(refused, Err(OpenError::Files { .. })),
                    "{wrong:?}: {refused:?}"
                );
            }
        }
    }
}
