//! One kind in one place: found, listed and compared where that is needed, then watched, and every change
//! told.
//!
//! # Contract
//! - Nothing is saved that was not told durably before. So a crash repeats at most what was told since the
//!   last save, with the same ids, and loses nothing.
//! - A watch goes on where the last save says. Only where the API server no longer keeps the changes since
//!   then, or other objects are looked for than before, what is there is listed and compared with what was
//!   told.
//! - The first list ever is silent unless the document says otherwise. A kind or a namespace that is not
//!   there is an empty list: what is in it once it comes is new.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::catch_up::note;
use super::client::Trouble;
use super::difference::{Change, Difference, compare};
use super::discover::{Resource, discover};
use super::remember::Remembered;
use super::select::Selection;
use super::stream::{Stream, WatchEvent};
use super::tell::Teller;
use crate::SourceError;
use crate::waits::Waits;

/// What watches one kind in one place.
pub(super) struct Watch {
    pub(super) shared: Arc<Shared>,
    pub(super) selection: Selection,
    /// The place is no longer looked at: what was in it ends.
    pub(super) left: CancellationToken,
    pub(super) shutdown: CancellationToken,
}

/// Why a round is over.
enum End {
    /// The process stops, or this source.
    Shutdown,
    /// The place was left, and everything in it has been told as ended.
    Left,
    /// The watch ended in its course.
    Closed,
}

/// Why a round broke off.
pub(super) enum Stop {
    /// In the middle of something: what is in memory is not to be saved.
    Shutdown,
    Source(SourceError),
    Trouble(Trouble),
}

/// The first wait before a kind is tried again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// What was told is saved after so long at the latest, or after so many changes.
const SAVE_AFTER: Duration = Duration::from_secs(1);
const SAVE_CHANGES: usize = 500;

// === impl Watch ===

impl Watch {
    /// Runs until the shutdown, or until the place is left.
    pub(super) async fn run(self) -> Result<(), SourceError> {
        let part = self.selection.shown();
        self.shared.standing.starts(&part);
        let memory = &self.shared.context.memory;
        let mut told = Remembered::load(memory, &self.selection.name()).await?;
        let (mut resource, mut waits) = (None, Waits::new(WAITS));
        loop {
            match self.round(&mut resource, &mut told, &mut waits).await {
                Ok(End::Shutdown) => return told.save().await,
                Ok(End::Left) => {
                    self.shared.standing.is_gone(&part);
                    return told.forget().await;
                }
                Ok(End::Closed) => {}
                Err(Stop::Shutdown) => return Ok(()),
                Err(Stop::Source(error)) => return Err(error),
                Err(Stop::Trouble(Trouble::Missing(_)))
                    if self.left.is_cancelled() && told.table.len() == 0 =>
                {
                    // Nothing of it was ever told, and there is nothing to be told of its end.
                    self.shared.standing.is_gone(&part);
                    return told.forget().await;
                }
                Err(Stop::Trouble(trouble)) => {
                    if matches!(trouble, Trouble::Missing(_)) {
                        resource = None;
                    }
                    self.trouble(&part, trouble, &mut told)?;
                }
            }
            told.save().await?;
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(waits.next()) => {}
            }
        }
    }

    /// What a trouble means for what is remembered, and who is told of it.
    fn trouble(&self, part: &str, trouble: Trouble, told: &mut Remembered) -> Result<(), SourceError> {
        match trouble {
            // The credentials may be others by now: the source begins again and reads them.
            Trouble::Unauthorized(_) => return Err(SourceError::Origin(trouble.to_string())),
            Trouble::Gone => {
                tracing::info!(
                    part,
                    "the changes since the last stop are no longer kept: listing"
                );
                told.go_on(None);
            }
            Trouble::Missing(why) => {
                if !told.is_begun() {
                    told.begin(&self.view());
                }
                self.shared.standing.is_ill(part, &why);
            }
            Trouble::Forbidden(why) | Trouble::Failed(why) => self.shared.standing.is_ill(part, &why),
            Trouble::TooLarge(_) => self.shared.standing.is_ill(part, &trouble.to_string()),
        }
        Ok(())
    }

    pub(super) fn view(&self) -> String {
        self.selection.view(self.shared.origin.url())
    }

    async fn round(
        &self,
        known: &mut Option<Resource>,
        told: &mut Remembered,
        waits: &mut Waits,
    ) -> Result<End, Stop> {
        let resource = match known {
            Some(resource) => resource,
            None => {
                let kind = &self.selection.watched.object;
                let found = self.unless_shutdown(discover(&self.shared.origin, kind)).await?;
                known.insert(found)
            }
        };
        let Some(path) = self.selection.path(resource) else {
            self.shared.standing.is_gone(&self.selection.shown());
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(End::Shutdown),
                () = self.left.cancelled() => return Ok(End::Left),
            }
        };
        let teller = Teller::new(&self.shared, resource, &self.shutdown);
        if self.left.is_cancelled() {
            let rest = Difference::default().rest(&told.table);
            teller.tell(&rest).await?;
            return Ok(End::Left);
        }
        self.go_on_or_list(told, &path, &teller).await?;
        let view = self.view();
        let Some(version) = told.version(&view) else {
            return Ok(End::Closed);
        };
        let (origin, watched) = (&self.shared.origin, &self.selection.watched);
        let opened = Stream::open(origin, &path, &watched.selector, &watched.object, version);
        let stream = self.unless_shutdown(opened).await?;
        self.shared.standing.is_well(&self.selection.shown());
        let opened = Instant::now();
        let ended = self.follow(stream, told, &teller).await;
        if ended.is_ok() || opened.elapsed() > WAITS.1 {
            waits.begin_anew();
        }
        ended
    }

    /// Tells what the watch says until it ends.
    async fn follow(
        &self,
        mut stream: Stream,
        told: &mut Remembered,
        teller: &Teller<'_>,
    ) -> Result<End, Stop> {
        let mut save_at: Option<Instant> = None;
        let mut unsaved = 0;
        loop {
            let due = save_at.unwrap_or_else(|| Instant::now() + SAVE_AFTER);
            let batch = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(End::Shutdown),
                () = self.left.cancelled() => return Ok(End::Closed),
                () = tokio::time::sleep_until(due), if save_at.is_some() => {
                    told.save().await?;
                    (save_at, unsaved) = (None, 0);
                    continue;
                }
                batch = stream.next() => batch?,
            };
            let Some(batch) = batch else {
                return Ok(End::Closed);
            };
            let (changes, trouble) = self.understand(batch, told);
            teller.tell(&changes).await?;
            if let Some(trouble) = trouble {
                return Err(Stop::Trouble(trouble));
            }
            unsaved += changes.len();
            if unsaved >= SAVE_CHANGES {
                told.save().await?;
                (save_at, unsaved) = (None, 0);
            } else if told.is_dirty() && save_at.is_none() {
                save_at = Some(Instant::now() + SAVE_AFTER);
            }
        }
    }

    /// What a batch means, up to the first trouble in it.
    fn understand(&self, batch: Vec<WatchEvent>, told: &mut Remembered) -> (Vec<Change>, Option<Trouble>) {
        let mut changes = Vec::new();
        for said in batch {
            let (object, is_there) = match said {
                WatchEvent::Seen(object) => (object, true),
                WatchEvent::Ended(object) => (object, false),
                WatchEvent::Passed(version) => {
                    told.go_on(Some(version));
                    continue;
                }
                WatchEvent::Unreadable(code, why) => {
                    self.shared.context.report.refused(code, why);
                    continue;
                }
                WatchEvent::Trouble(trouble) => return (changes, Some(trouble)),
            };
            let in_view = is_there && self.selection.takes(&object);
            let version = object.version.clone();
            if let Some(change) = compare(&told.table, object, in_view) {
                if let Err(trouble) = note(told, &change) {
                    return (changes, Some(trouble));
                }
                changes.push(change);
            }
            told.go_on(Some(version));
        }
        (changes, None)
    }

    pub(super) async fn unless_shutdown<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stop::Shutdown),
            done = work => done.map_err(Stop::Trouble),
        }
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}
