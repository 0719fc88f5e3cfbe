//! What happens to damage, found at opening or while reading: counted, reported, and its bytes copied beside
//! the segment, so that somebody can look at them after the segment has been deleted. The segment itself
//! stays as it is.

use std::io;

use super::files::{Files, LogFile};
use super::metrics::LogMetrics;
use super::walk::{CHUNK_BYTES, Damage};

/// Counts and reports a damaged place, and copies it to `<segment>.corrupt-<byte>`.
pub(super) fn set_aside(
    files: &dyn Files,
    metrics: &LogMetrics,
    name: &str,
    file: &dyn LogFile,
    damage: &Damage,
) {
    metrics.corrupt_frames.inc();
    tracing::error!(
        file = name,
        at_byte = damage.at,
        bytes = damage.bytes,
        from = damage.from,
        to = damage.to,
        lost = damage.to - damage.from,
        "the log is corrupt here; the damage is set aside and the rest is served"
    );
    if damage.bytes == 0 {
        return;
    }
    let aside = format!("{name}.corrupt-{}", damage.at);
    match copy(files, file, &aside, damage) {
        Ok(()) => {}
        // A full disk, mostly. The damage is still in the segment.
        Err(error) => tracing::warn!(file = aside, %error, "the corrupt bytes could not be copied"),
    }
}

fn copy(files: &dyn Files, file: &dyn LogFile, aside: &str, damage: &Damage) -> io::Result<()> {
    if files.list()?.iter().any(|name| name == aside) {
        return Ok(());
    }
    let copy = files.create(aside)?;
    let copied = copy_into(&*copy, file, damage);
    if copied.is_err() {
        // Half a copy helps nobody, and the room it takes may be the last.
        let _ = files.remove(aside);
    }
    copied
}

fn copy_into(copy: &dyn LogFile, file: &dyn LogFile, damage: &Damage) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut done = 0;
    while done < damage.bytes {
        let wanted = usize::try_from(damage.bytes - done)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = file.read_at(&mut buffer[..wanted], damage.at + done)?;
        if read == 0 {
            break;
        }
        copy.write_at(&buffer[..read], done)?;
        done += read as u64;
    }
    copy.sync_data()
}
