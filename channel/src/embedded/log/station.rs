//! The writer's place in the pool: whoever holds it works, one at a time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::LogError;
use super::shared::Shared;
use super::writer::{LAZY_SYNC, Writer};
use crate::embedded::pool::{self, Seat};

/// The writer, and whether a thread is with it.
#[derive(Debug)]
pub(super) struct Station {
    shared: Arc<Shared>,
    seat: Seat,
    /// None once it has ended.
    writer: Mutex<Option<Writer>>,
}

// === impl Station ===

impl Station {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        Self {
            shared,
            seat: Seat::new(),
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Makes everything below the head durable, between two groups. Blocking.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.writer
            .lock()
            .as_mut()
            .map_or(Err(LogError::Closed), Writer::sync)
    }

    /// Looks whether the files are in order, between two groups. Blocking.
    pub(super) fn look_over(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        writer.as_mut().map_or(Err(LogError::Closed), Writer::look_over)
    }

    /// Closes the file if nothing waits; says whether it is closed. Blocking.
    pub(super) fn rest(&self) -> bool {
        let mut writer = self.writer.lock();
        let rests = self.shared.queue.waiting_bytes() == 0 && writer.as_mut().is_some_and(Writer::rest);
        if rests {
            self.seat.stir();
        }
        rests
    }

    /// Does what still waits, and ends. Blocking.
    pub(super) fn end(&self) {
        let _span = self.seat.enter();
        let mut writer = self.writer.lock();
        while self.group(&mut writer) {}
        self.finish(&mut writer, None);
        self.seat.stir();
    }

    /// One group; `false`: nothing waited, or it has ended. Work is taken only by who holds the writer, so
    /// that it is done in order.
    fn group(&self, held: &mut Option<Writer>) -> bool {
        let Some(writer) = held else { return false };
        // On an idle machine this returns at once. On a busy one it lets producers add to the group, so that
        // more events share a sync and its wake-ups.
        if self.shared.queue.is_worth_waiting_for() {
            thread::yield_now();
        }
        let Some(work) = self.shared.queue.take() else {
            return false;
        };
        if let Some(closer) = writer.work(work) {
            self.finish(held, Some(closer));
        }
        true
    }

    fn finish(&self, held: &mut Option<Writer>, closer: Option<oneshot::Sender<Result<(), LogError>>>) {
        let Some(mut writer) = held.take() else { return };
        let finished = writer.finish();
        // The end of the head's channel tells readers that nothing more comes.
        drop(writer);
        self.shared.queue.abandon();
        if let Some(closer) = closer {
            let _ = closer.send(finished);
        }
    }
}

impl pool::Station for Station {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn turn(&self) -> bool {
        self.group(&mut self.writer.lock())
    }

    fn patience(&self) -> Option<Duration> {
        match &*self.writer.lock() {
            Some(writer) if writer.is_unsynced() => Some(LAZY_SYNC),
            Some(writer) if writer.is_open() => None,
            _ => Some(Duration::ZERO),
        }
    }

    fn pause(&self) {
        if let Some(writer) = &mut *self.writer.lock() {
            writer.sync_late();
        }
    }

    /// However the writer ends, nothing waits for it any more.
    fn broken(&self) {
        drop(self.writer.lock().take());
        self.shared.queue.abandon();
    }
}
