//! Tells what a crash leaves from damage.
//!
//! A bad frame in the last segment is one of two things. It is *torn* if it was being written when the power
//! went, so its producer got no answer. Then no good frame follows, or the following ones were written in the
//! same unsynced stretch and a sector of the bad one never reached the disk (all zeroes). Everything from
//! there on is cut. Otherwise it is *corrupt*: it is set aside and reported, and what follows is served.

use std::io;

use super::files::LogFile;
use super::survey::Survey;
use super::walk::Damage;

/// What a disk writes whole or not at all; smaller than any file system's block.
const SECTOR_BYTES: u64 = 512;

/// Where the log is torn although good frames follow: the first damage that nothing proves to have been
/// durable and that a write left unfinished, by the look of it.
pub(super) fn torn_at(file: &dyn LogFile, survey: &Survey) -> io::Result<Option<u64>> {
    for damage in survey.damages.iter().filter(|damage| survey.synced <= damage.at) {
        if has_lost_sector(file, damage)? {
            return Ok(Some(damage.at));
        }
    }
    Ok(None)
}

/// Whether a sector within the damage, or what the damage has of its first sector, is all zeroes.
fn has_lost_sector(file: &dyn LogFile, damage: &Damage) -> io::Result<bool> {
    let end = damage.at + damage.bytes;
    let mut at = damage.at;
    while at < end {
        let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if next > end {
            break;
        }
        let mut sector = [1; SECTOR_BYTES as usize];
        let part = &mut sector[..usize::try_from(next - at).unwrap_or(SECTOR_BYTES as usize)];
        if file.read_at(part, at)? == part.len() && part.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}
