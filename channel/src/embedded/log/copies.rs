//! A log's files for a backup, which copies them while they are being written.

use std::io;
use std::path::Path;

use super::files::{Files, Folder};
use super::header::{self, Decoded, HEAD_BYTES, Head};
use super::survey::Survey;
use super::torn::torn_at;
use super::walk::Extent;

/// The segments in a folder, oldest first. The last one may be written to, the others never change.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<String>> {
    let mut found: Vec<(u64, String)> = Folder::open(folder)?
        .list()?
        .into_iter()
        .filter_map(|name| Some((header::base_of(&name)?, name)))
        .collect();
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Cuts an unfinished end off a copied segment, and makes the copy durable. A segment that was only being
/// created is removed.
pub(crate) fn settle(files: &dyn Files, name: &str) -> io::Result<()> {
    let file = files.open(name)?;
    let bytes = file.length()?;
    let mut start = vec![0; HEAD_BYTES];
    let read = file.read_at(&mut start, 0)?;
    let Decoded::Good(head) = Head::decode(&start[..read]) else {
        if bytes <= HEAD_BYTES as u64 {
            files.remove(name)?;
        }
        return Ok(());
    };
    let mut extent = Extent {
        marker: Some(head.marker),
        bytes,
        until: None,
    };
    let mut survey = Survey::of(&*file, extent, head.base)?;
    if let Some(torn) = torn_at(&*file, &survey)? {
        extent.bytes = torn;
        survey = Survey::of(&*file, extent, head.base)?;
    }
    if survey.end_byte < bytes {
        file.set_len(survey.end_byte)?;
    }
    file.sync_data()
}
