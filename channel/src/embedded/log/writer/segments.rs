//! Which segment the writer writes: a new one begins when one is full, failed or is gone, and its file is
//! closed while nobody writes.

use std::sync::Arc;

use millrace_event::Moment;

use super::Writer;
use crate::embedded::log::active::Active;
use crate::embedded::log::find::MAX_HELD;
use crate::embedded::log::header::Head;
use crate::embedded::log::{LogError, io_error};

// === impl Writer ===

impl Writer {
    /// The segment for a group of so many bytes: the one that is written, or a new one.
    pub(super) fn take_active(&mut self, bytes: u64) -> Result<Active, LogError> {
        self.wake()?;
        self.make_sure()?;
        if let Some(active) = &self.active
            && active.written() + bytes > self.shared.options.segment_bytes
        {
            self.roll()?;
        }
        self.active.take().map_or_else(|| self.begin_segment(), Ok)
    }

    /// Seals the segment that is written if it holds anything, and begins the next.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        self.wake()?;
        if self
            .active
            .as_ref()
            .is_none_or(|active| active.segment.is_empty())
        {
            return Ok(());
        }
        self.make_sure()?;
        self.sync()?;
        // If this fails the old one goes on being written: a full disk must not cost a segment each time.
        let next = self.begin_segment()?;
        if let Some(old) = self.active.replace(next) {
            old.segment.seal();
            self.shared.bound_collected(MAX_HELD);
        }
        Ok(())
    }

    fn begin_segment(&self) -> Result<Active, LogError> {
        let Moment { wall, steady } = self.shared.options.clock.moment();
        let head = Head {
            marker: fastrand::u32(..),
            base: self.next,
            previous_end: self.end,
            created: wall,
        };
        let active = Active::create(&*self.shared.files, &head)?;
        active.segment.appended_at(steady);
        self.shared.add_segment(Arc::clone(&active.segment));
        Ok(active)
    }

    /// Closes the file until there is more to write. It ends with the mark of a clean end, so that nothing is
    /// left to be done at the end. `false`: it stays open.
    pub(in crate::embedded::log) fn rest(&mut self) -> bool {
        if self.finish().is_err() {
            return false;
        }
        if let Some(active) = self
            .active
            .take_if(|active| active.is_finished() && !active.is_gone())
        {
            self.resting = Some(active.rest());
            (self.buffer, self.frames, self.keys) = (Vec::new(), Vec::new(), Vec::new());
        }
        self.active.is_none()
    }

    pub(in crate::embedded::log) fn is_open(&self) -> bool {
        self.active.is_some()
    }

    /// Opens the file again. If it is gone meanwhile, a new segment begins. A want of descriptors passes.
    fn wake(&mut self) -> Result<(), LogError> {
        let Some(resting) = self.resting.take() else {
            return Ok(());
        };
        match resting.open(&*self.shared.files) {
            Ok(Some(active)) => self.active = Some(active),
            Ok(None) => {
                let segment = resting.segment;
                tracing::error!(
                    file = segment.name,
                    "a segment of the log was removed or replaced while nobody wrote; a new one begins"
                );
                segment.seal();
                if segment.base == self.next {
                    self.shared.forget_empty(segment.base);
                }
            }
            Err(error) => {
                self.resting = Some(resting);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Before the first write in this run. After a failure a new segment begins, as after any failed sync.
    fn make_sure(&mut self) -> Result<(), LogError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let sure = active.make_sure(&*self.shared.files);
        if let Err(error) = &sure {
            let segment = &active.segment;
            tracing::error!(file = segment.name, %error, "the log of the last run could not be synced; a new segment begins");
            segment.seal();
            if segment.base == self.next {
                self.shared.forget_empty(segment.base);
            }
            self.active = None;
        }
        sure
    }

    /// Leaves a segment after a failure. The offsets up to `next` are never given out again.
    pub(super) fn abandon(&mut self, active: Active, next: u64, why: &LogError) {
        let segment = Arc::clone(&active.segment);
        let cut = active.leave();
        tracing::error!(
            file = segment.name,
            end = self.end,
            next,
            cut,
            error = %why,
            "the log could not be written; its segment is left and a new one begins"
        );
        self.next = next;
    }

    /// Notices, without an append, what would make one fail, and tries to mend it. The fault ends when
    /// nothing is found.
    pub(in crate::embedded::log) fn look_over(&mut self) -> Result<(), LogError> {
        let found = self.examine();
        let fault = found.as_ref().err().filter(|error| **error != LogError::DiskFull);
        self.shared.fault.set(fault.map(ToString::to_string));
        found
    }

    fn examine(&mut self) -> Result<(), LogError> {
        let was_resting = self.resting.is_some();
        self.wake()?;
        if let Some(active) = self.active.take_if(|active| active.is_gone()) {
            let (gone, segment) = (active.gone(), Arc::clone(&active.segment));
            self.abandon(active, self.next, &gone);
            // No offset was given out in it, so the next segment begins at its offset and has its name.
            if segment.base == self.next {
                self.shared.forget_empty(segment.base);
            }
        }
        let writable = self.shared.files.check_writable();
        writable.map_err(|error| io_error("write", "the log", &error))?;
        if self.active.is_none() {
            self.active = Some(self.begin_segment()?);
        }
        if was_resting {
            self.rest();
        }
        Ok(())
    }
}
