//! The files of the history. None stays open between two writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::embedded::disk::{Disk, Space};
use crate::embedded::path_identity::PathIdentity;

/// The two files, the newer of which is appended to.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The folder that holds it, which an operator may move away.
    home: Option<PathIdentity>,
    disk: Arc<Disk>,
    limit: u64,
    /// The length of the newer file, once this process has written to it.
    length: Option<u64>,
    /// How often the newer file has become the older one, in this process.
    pub(super) generation: u64,
    /// The last try failed, and that was logged.
    failing: bool,
}

/// A file and its length.
pub(super) fn readable(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

// === impl Files ===

impl Files {
    /// Those in `folder`, which is made when something is written; one of them has so many bytes at most, and
    /// one write more.
    pub(super) fn new(folder: &Path, limit: u64, disk: Arc<Disk>) -> Self {
        Self {
            folder: folder.to_owned(),
            home: folder.parent().and_then(|home| PathIdentity::named(home).ok()),
            disk,
            limit,
            length: None,
            generation: 0,
            failing: false,
        }
    }

    pub(super) fn current(&self) -> PathBuf {
        self.folder.join("attempts.jsonl")
    }

    pub(super) fn previous(&self) -> PathBuf {
        self.folder.join("attempts.old.jsonl")
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.home.as_ref().is_some_and(PathIdentity::is_lost) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.disk.space().is_some_and(Space::is_all_but_full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.length.is_some_and(|length| length >= self.limit) {
            self.length = None;
            std::fs::rename(self.current(), self.previous())?;
            self.generation += 1;
        }
        let is_known = self.length.is_some();
        let (mut file, before) = self.open()?;
        // The last run, or a write that failed, may have ended in the middle of a line.
        let line_end: &[u8] = if is_known || before == 0 { b"" } else { b"\n" };
        let written = file.write_all(line_end).and_then(|()| file.write_all(lines));
        match written {
            Ok(()) => self.length = Some(before + (line_end.len() + lines.len()) as u64),
            Err(_) => {
                // The part of it that was written is written again.
                let _ = file.set_len(before);
                self.length = None;
            }
        }
        written
    }

    /// The newer file, to be appended to, and its length.
    fn open(&self) -> io::Result<(File, u64)> {
        let file = match append_to(&self.current()) {
            // It may be the first of this Broker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.folder)?;
                append_to(&self.current())?
            }
            opened => opened?,
        };
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Logs once that the history cannot be written, and once that it can be again.
    pub(super) fn tell(&mut self, error: Option<&io::Error>) {
        match (error, self.failing) {
            (Some(error), false) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "the history of attempts cannot be written; it is kept in memory and tried again");
            }
            (None, true) => {
                tracing::info!(folder = %self.folder.display(), "the history of attempts is written again");
            }
            _ => {}
        }
        self.failing = error.is_some();
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
