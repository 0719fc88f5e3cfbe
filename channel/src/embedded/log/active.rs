//! The segment that is written: its file, how far it is good and how far it is durable.

use std::io;
use std::sync::Arc;

use millrace_event::Timestamp;

use super::files::{Files, LogFile};
use super::frame::{self, Stamp};
use super::header::{self, Decoded, HEAD_BYTES, Head};
use super::segment::Segment;
use super::{LogError, io_error};

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    file: Arc<dyn LogFile>,
    /// Bytes that hold frames whose producers have been answered.
    written: u64,
    /// Bytes that are durable.
    synced: u64,
    /// It ends with the mark of a clean end.
    marked: bool,
    /// That it is durable was only found out from how the last run ended.
    trusted: bool,
}

/// A segment whose file is closed while nobody writes. All of it is durable.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) segment: Arc<Segment>,
    written: u64,
    marked: bool,
    trusted: bool,
}

/// Why a group is not in the segment.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// It was taken back: the segment is as before.
    Undone(LogError),
    /// What the segment holds behind the last good group is not known.
    Broken(LogError),
}

// === impl Active ===

impl Active {
    /// Makes the file of a new segment, durable with its name.
    pub(super) fn create(files: &dyn Files, head: &Head) -> Result<Self, LogError> {
        let name = header::file_name(head.base);
        let create = || {
            let file = files.create(&name)?;
            file.write_at(&head.encode(), 0)?;
            file.sync_data()?;
            files.sync_dir()?;
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| {
            // Half a segment does no harm (the next try begins it anew), but it takes room.
            let _ = files.remove(&name);
            io_error("create", &name, &error)
        })?;
        let segment = Arc::new(Segment::begun(head, &file));
        Ok(Self::found(segment, file, HEAD_BYTES as u64, false))
    }

    /// Goes on with a segment all of whose bytes are good and durable.
    pub(super) fn found(segment: Arc<Segment>, file: Arc<dyn LogFile>, bytes: u64, marked: bool) -> Self {
        Self {
            segment,
            file,
            written: bytes,
            synced: bytes,
            marked,
            trusted: false,
        }
    }

    /// It was not synced when it was found: the last run had ended cleanly.
    pub(super) fn trusted(self) -> Self {
        Self {
            trusted: true,
            ..self
        }
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Syncs it, with its name, if it was only trusted. Before more is written to it.
    pub(super) fn make_sure(&mut self, files: &dyn Files) -> Result<(), LogError> {
        if self.trusted {
            let synced = self.file.sync_data().and_then(|()| files.sync_dir());
            synced.map_err(|error| io_error("sync", &self.segment.name, &error))?;
            self.trusted = false;
        }
        Ok(())
    }

    /// Closes the file until there is more to write. Everything must be durable.
    pub(super) fn rest(self) -> Resting {
        Resting {
            segment: self.segment,
            written: self.written,
            marked: self.marked,
            trusted: self.trusted,
        }
    }

    /// Where the next frame goes.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// What the next frame says, beside its events.
    pub(super) fn stamp(&self, offset: u64, time: Timestamp) -> Stamp {
        let marker = self.segment.marker();
        Stamp {
            marker: marker.expect("invariant: a segment without a header is not written on"),
            offset,
            time,
            synced: u32::try_from(self.synced).unwrap_or(u32::MAX),
        }
    }

    /// Appends frames; with `sync` they are durable when this returns.
    pub(super) fn write(&mut self, frames: &[u8], sync: bool) -> Result<(), NotWritten> {
        let name = &self.segment.name;
        if let Err(error) = self.file.write_at(frames, self.written) {
            // Nothing of it was synced, so when it is cut off its place is as if never used. Only a full disk
            // is expected to get well again.
            let cut = self.file.set_len(self.written);
            return Err(match io_error("write", name, &error) {
                LogError::DiskFull if cut.is_ok() => NotWritten::Undone(LogError::DiskFull),
                error => NotWritten::Broken(error),
            });
        }
        if sync {
            let synced = self.file.sync_data();
            synced.map_err(|error| NotWritten::Broken(io_error("sync", name, &error)))?;
            self.synced = self.written + frames.len() as u64;
        }
        // Last of all: nothing that takes time may come between this look and the answer.
        if self.is_gone() {
            return Err(NotWritten::Broken(self.gone()));
        }
        self.written += frames.len() as u64;
        self.marked = false;
        Ok(())
    }

    /// Whether the file was removed or replaced.
    pub(super) fn is_gone(&self) -> bool {
        self.file.is_gone()
    }

    /// The error for a file that was removed or replaced.
    pub(super) fn gone(&self) -> LogError {
        LogError::Gone {
            file: self.segment.name.clone(),
        }
    }

    /// Whether something written is not durable yet.
    pub(super) fn is_unsynced(&self) -> bool {
        self.synced < self.written
    }

    /// Makes durable what has been written.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        let synced = self.file.sync_data();
        synced.map_err(|error| io_error("sync", &self.segment.name, &error))?;
        self.synced = self.written;
        Ok(())
    }

    /// Seals the segment, cut where it was last good; returns whether the cut is durable. It need not be: the
    /// next segment's header says where this one ends. A file whose name is gone stays open for its readers.
    pub(super) fn leave(self) -> bool {
        self.segment.seal();
        if self.file.is_gone() {
            self.segment.hold(Arc::clone(&self.file));
        }
        let cut = self.file.set_len(self.written);
        cut.and_then(|()| self.file.sync_data()).is_ok()
    }

    /// Whether nothing is left to be done before its end.
    pub(super) fn is_finished(&self) -> bool {
        !self.is_unsynced() && (self.marked || self.segment.is_empty())
    }

    /// Writes the mark of a clean end behind durable frames, unless it is there.
    pub(super) fn mark(&mut self, next: u64, time: Timestamp) -> io::Result<()> {
        if self.marked || self.segment.is_empty() {
            return Ok(());
        }
        let mut mark = Vec::new();
        frame::encode(&mut mark, self.stamp(next, time), std::iter::empty());
        self.file.write_at(&mark, self.written)?;
        self.file.sync_data()?;
        self.written += mark.len() as u64;
        self.synced = self.written;
        self.marked = true;
        Ok(())
    }
}

// === impl Resting ===

impl Resting {
    /// Opens the file again. `None`: it is gone, or another one is in its place.
    pub(super) fn open(&self, files: &dyn Files) -> Result<Option<Active>, LogError> {
        let name = &self.segment.name;
        let file = match self.segment.file(files) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", name, &error)),
        };
        let is_same = self
            .is_of(&*file)
            .map_err(|error| io_error("read", name, &error))?;
        Ok(is_same.then(|| Active {
            trusted: self.trusted,
            ..Active::found(Arc::clone(&self.segment), file, self.written, self.marked)
        }))
    }

    fn is_of(&self, file: &dyn LogFile) -> io::Result<bool> {
        let mut start = [0; HEAD_BYTES];
        file.read_at(&mut start, 0)?;
        let is_head = matches!(Head::decode(&start), Decoded::Good(head)
            if head.base == self.segment.base && Some(head.marker) == self.segment.marker());
        Ok(is_head && file.length()? >= self.written && !file.is_gone())
    }
}
