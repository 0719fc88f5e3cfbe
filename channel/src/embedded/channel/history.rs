//! The history of attempts: two files of bounded size, the older of which goes when the newer is full.
//!
//! Off the event's way: noting an attempt is a push into memory, and a task writes them some at a time. When
//! that task does not keep up, attempts are left out. What cannot be written for want of a descriptor or of
//! room is kept and tried again. Nothing is synced, and a line that cannot be read is skipped.
//!
//! [`files`] holds the attempts, each as a [`line`](mod@line). An [`index`] finds those of one position.

mod files;
mod index;
mod line;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::Span;

use crate::embedded::blocking::blocking;
use crate::embedded::disk::Disk;
use crate::{Attempt, ChannelError, Position};
use files::{Files, readable};
use index::Index;
use line::Line;

/// Attempts that may wait to be written, or are being written.
const WAITING: usize = 8_192;

/// How long attempts gather before they are written.
const GATHER: Duration = Duration::from_millis(250);

/// How soon writing is tried again after it failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The bounded history of a channel.
#[derive(Debug)]
pub(super) struct History {
    ring: Arc<Ring>,
    /// That in which it was opened.
    span: Span,
    wake: Arc<Notify>,
    /// Half of what may wait does: no more is gathered.
    enough: Arc<Notify>,
}

#[derive(Debug)]
struct Ring {
    is_kept: bool,
    waiting: Mutex<Waiting>,
    files: Mutex<Files>,
    indexes: Mutex<Indexes>,
}

/// The indexes of the two files.
#[derive(Debug, Default)]
struct Indexes {
    /// Of which pair of files they are.
    generation: u64,
    previous: Index,
    current: Index,
}

/// Attempts on their way into the files.
#[derive(Debug, Default)]
struct Waiting {
    list: Vec<Attempt>,
    /// How many more are being written. They come back if that fails.
    writing: usize,
    /// The first and the last position of the attempts that were left out.
    left_out: Option<(u64, u64)>,
}

// === impl History ===

impl History {
    /// The history in `folder`, which is made when something is written: of so many bytes, and a small part
    /// of the volume. None is kept in no bytes. Within a runtime.
    pub(super) fn open(folder: &Path, bytes: u64, disk: Arc<Disk>) -> Self {
        let volume = disk.space().map_or(u64::MAX, |space| space.total);
        Self::with_limit(folder, (bytes / 2).min(volume / 128), disk)
    }

    fn with_limit(folder: &Path, limit: u64, disk: Arc<Disk>) -> Self {
        let files = Mutex::new(Files::new(folder, limit, disk));
        let history = Self {
            ring: Arc::new(Ring {
                is_kept: limit > 0,
                waiting: Mutex::default(),
                files,
                indexes: Mutex::default(),
            }),
            span: Span::current(),
            wake: Arc::default(),
            enough: Arc::default(),
        };
        let (ring, wake) = (Arc::downgrade(&history.ring), history.wake.clone());
        let (enough, span) = (history.enough.clone(), history.span.clone());
        drop(tokio::spawn(async move {
            loop {
                wake.notified().await;
                let mut pause = GATHER;
                loop {
                    let _ = tokio::time::timeout(pause, enough.notified()).await;
                    let Some(ring) = ring.upgrade() else { return };
                    let written = blocking(span.clone(), move || ring.flush()).await;
                    if written.unwrap_or(true) {
                        break;
                    }
                    pause = AGAIN;
                }
            }
        }));
        history
    }

    /// Notes an attempt; `false`: too many wait, it is left out.
    pub(super) fn record(&self, attempt: Attempt) -> bool {
        if !self.ring.is_kept {
            return true;
        }
        let mut waiting = self.ring.waiting.lock();
        if waiting.list.len() + waiting.writing >= WAITING {
            waiting.leave_out(attempt.position.offset);
            return false;
        }
        waiting.list.push(attempt);
        match waiting.list.len() {
            1 => self.wake.notify_one(),
            n if n == WAITING / 2 => self.enough.notify_one(),
            _ => {}
        }
        true
    }

    /// What is kept of a position's attempts, oldest first.
    pub(super) async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError> {
        let ring = self.ring.clone();
        let found = blocking(self.span.clone(), move || {
            ring.flush();
            let mut found = ring.find(of);
            let waiting = ring.waiting.lock();
            found.extend(waiting.list.iter().filter(|one| one.position == of).cloned());
            found
        });
        found.await.map_err(|_| ChannelError::Closed)
    }

    /// Whether attempts for events around this position were left out since the process started.
    pub(super) fn is_incomplete(&self, at: Position) -> bool {
        let left_out = self.ring.waiting.lock().left_out;
        left_out.is_some_and(|(first, last)| (first..=last).contains(&at.offset))
    }

    /// Writes what waits.
    pub(super) async fn flush(&self) {
        let ring = self.ring.clone();
        let _ = blocking(self.span.clone(), move || ring.flush()).await;
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.wake.notify_one();
        self.enough.notify_one();
    }
}

// === impl Ring ===

impl Ring {
    /// Writes the waiting attempts. `false`: that failed, and they still wait.
    fn flush(&self) -> bool {
        let mut files = self.files.lock();
        let taken = self.waiting.lock().take();
        if taken.is_empty() {
            return true;
        }
        let mut lines = Vec::with_capacity(taken.len() * 160);
        for attempt in &taken {
            if serde_json::to_writer(&mut lines, &Line::from(attempt)).is_ok() {
                lines.push(b'\n');
            }
        }
        let written = files.write(&lines);
        files.tell(written.as_ref().err());
        let mut waiting = self.waiting.lock();
        match &written {
            Ok(()) => waiting.writing = 0,
            Err(_) => waiting.put_back(taken),
        }
        written.is_ok()
    }

    /// What the files hold of a position.
    fn find(&self, of: Position) -> Vec<Attempt> {
        let mut indexes = self.indexes.lock();
        let (generation, files) = {
            let files = self.files.lock();
            // Absent or unreadable: then nothing is kept there. Once open they can be read while others are
            // written, up to the length that they have now.
            let opened = [files.previous(), files.current()].map(|path| readable(&path).ok());
            (files.generation, opened)
        };
        let mut found = Vec::new();
        for (index, file) in indexes.of(generation).into_iter().zip(files) {
            let Some((mut file, length)) = file else { continue };
            let read = index.catch_up(&mut file, length);
            let read = read.and_then(|()| {
                index.find(&mut file, of.offset, |line| {
                    let line = serde_json::from_slice::<Line>(line).ok();
                    found.extend(line.and_then(|line| Attempt::try_from(line).ok()));
                })
            });
            if let Err(error) = read {
                tracing::debug!(%error, "a file of the history of attempts cannot be read");
            }
        }
        found
    }
}

// === impl Indexes ===

impl Indexes {
    /// Those of this pair of files, the older one first.
    fn of(&mut self, generation: u64) -> [&mut Index; 2] {
        if generation != self.generation {
            let current = std::mem::take(&mut self.current);
            self.previous = if generation == self.generation + 1 {
                current
            } else {
                Index::default()
            };
            self.generation = generation;
        }
        [&mut self.previous, &mut self.current]
    }
}

// === impl Waiting ===

impl Waiting {
    fn take(&mut self) -> Vec<Attempt> {
        self.writing = self.list.len();
        std::mem::take(&mut self.list)
    }

    /// Puts attempts that could not be written back in front.
    fn put_back(&mut self, mut taken: Vec<Attempt>) {
        self.writing = 0;
        taken.append(&mut self.list);
        self.list = taken;
    }

    fn leave_out(&mut self, at: u64) {
        let (first, last) = self.left_out.unwrap_or((at, at));
        self.left_out = Some((first.min(at), last.max(at)));
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{ObjectName, Timestamp};

    use super::*;
    use crate::embedded::disk::testing::Pretended;
    use crate::{AttemptOutcome, Stage};

    fn disk() -> Arc<Disk> {
        Arc::new(Disk::new(Box::new(Pretended::new(1 << 40, 1 << 39))))
    }

    fn attempt(offset: u64, attempt: u32) -> Attempt {
        Attempt {
            position: Position { partition: 0, offset },
            trigger: ObjectName::new("shop", "ship"),
            stage: Stage::Subscriber,
            attempt,
            at: Timestamp(1),
            millis: 2,
            status: Some(503),
            outcome: AttemptOutcome::Failed,
            detail: "line\nbreak \u{1F980}".to_owned(),
            answer: "busy".to_owned(),
        }
    }

    fn of(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    #[tokio::test]
    async fn attempts_are_found_by_position_in_order_also_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::with_limit(folder.path(), 1 << 20, disk());
        for n in 0..3 {
            assert!(history.record(attempt(1, n)));
            assert!(history.record(attempt(11, n)));
        }
        let expected: Vec<_> = (0..3).map(|n| attempt(1, n)).collect();
        assert_eq!(history.attempts(of(1)).await.unwrap(), expected);
        drop(history);
        assert_eq!(
            History::with_limit(folder.path(), 1 << 20, disk())
                .attempts(of(1))
                .await
                .unwrap(),
            expected
        );
    }

    #[tokio::test]
    async fn lines_of_earlier_versions_are_read_and_unknown_outcomes_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let words = [
            "delivered",
            "replied",
            "reply-refused",
            "dead-lettered",
            "failed",
            "parked",
            "looping",
        ];
        let lines: String = words.into_iter().chain(["teleported"]).map(line).collect();
        std::fs::write(folder.path().join("attempts.jsonl"), lines).unwrap();
        let history = History::with_limit(folder.path(), 1 << 20, disk());
        let found = history.attempts(of(1)).await.unwrap();
        let read: Vec<_> = found.iter().map(|attempt| attempt.outcome.as_str()).collect();
        assert_eq!(read, words);
        assert_eq!(found[0].detail, "busy");
    }

    /// A line as the first version of the history wrote it.
    fn line(outcome: &str) -> String {
        let rest = format!(r#""millis":2,"status":503,"outcome":"{outcome}","detail":"busy"}}"#);
        format!(r#"{{"p":1,"trigger":"shop/ship","stage":0,"attempt":0,"at":1,{rest}"#) + "\n"
    }

    #[tokio::test]
    async fn it_stays_within_its_bound_and_forgets_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::with_limit(folder.path(), 2_000, disk());
        for n in 0..100 {
            history.record(attempt(n, 0));
            history.flush().await;
        }
        let size: u64 = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size < 4_500, "{size}");
        assert_eq!(history.attempts(of(0)).await.unwrap(), []);
        assert_eq!(history.attempts(of(99)).await.unwrap(), [attempt(99, 0)]);
    }

    #[tokio::test]
    async fn attempts_are_found_whenever_the_files_change_between_two_questions() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::with_limit(folder.path(), 2_000, disk());
        // So that the newer file becomes the older one not at all, once, and several times between questions.
        for n in 0..60 {
            assert!(history.record(attempt(n, 0)));
            history.flush().await;
            if [0, 1, 5, 20, 21, 59].contains(&n) {
                assert_eq!(history.attempts(of(n)).await.unwrap(), [attempt(n, 0)], "{n}");
                let before = n.saturating_sub(8);
                assert_eq!(
                    history.attempts(of(before)).await.unwrap(),
                    [attempt(before, 0)],
                    "{n}"
                );
            }
        }
        assert!(history.ring.files.lock().generation > 2);
        assert_eq!(history.attempts(of(0)).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_in_order_and_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        // Nothing can be opened below a file.
        std::fs::write(&path, b"").unwrap();
        let history = History::with_limit(&path, 1 << 20, disk());
        history.record(attempt(1, 0));
        history.flush().await;
        history.record(attempt(1, 1));
        let both = [attempt(1, 0), attempt(1, 1)];
        assert_eq!(
            history.attempts(of(1)).await.unwrap(),
            both,
            "while it cannot be written"
        );
        std::fs::remove_file(&path).unwrap();
        // The task writes by itself.
        let waits = || {
            let waiting = history.ring.waiting.lock();
            waiting.list.len() + waiting.writing > 0
        };
        let written = async {
            while waits() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let bound = Duration::from_secs(60);
        tokio::time::timeout(bound, written)
            .await
            .expect("it is tried again");
        drop(history);
        let next = History::with_limit(&path, 1 << 20, disk());
        assert_eq!(next.attempts(of(1)).await.unwrap(), both);
        assert!(!next.is_incomplete(of(1)));
    }

    #[tokio::test]
    async fn the_last_of_a_full_volume_is_left_to_progress() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Pretended::new(64 << 20, 3 << 20);
        let disk = Arc::new(Disk::new(Box::new(volume.clone())));
        let history = History::open(folder.path(), 1 << 20, disk.clone());
        history.record(attempt(1, 0));
        history.flush().await;
        let file = folder.path().join("attempts.jsonl");
        assert!(!file.exists(), "nothing is written");
        assert_eq!(history.attempts(of(1)).await.unwrap(), [attempt(1, 0)]);
        volume.0.lock().free = 8 << 20;
        disk.look_again();
        history.flush().await;
        assert!(file.exists(), "now there is room");
    }

    #[tokio::test]
    async fn what_waits_to_be_written_is_bounded_and_a_hole_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        std::fs::write(&path, b"").unwrap();
        let history = History::with_limit(&path, 64 << 20, disk());
        let mut taken = 0;
        for n in 0..WAITING as u64 + 10 {
            taken += usize::from(history.record(attempt(n, 0)));
            if n % 1_000 == 0 {
                history.flush().await;
            }
        }
        assert_eq!(taken, WAITING);
        let last = WAITING as u64 - 1;
        assert!(!history.is_incomplete(of(last)));
        assert!(history.is_incomplete(of(last + 1)) && history.is_incomplete(of(last + 10)));
        assert!(!history.is_incomplete(of(last + 11)));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(history.attempts(of(last)).await.unwrap(), [attempt(last, 0)]);
        assert_eq!(history.attempts(of(0)).await.unwrap(), [attempt(0, 0)]);
        assert!(history.record(attempt(5, 1)), "there is room again");
    }

    #[tokio::test]
    async fn what_is_too_much_is_left_out_and_wrong_bytes_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("attempts.jsonl"),
            b"{\"p\":5,\xff\n{\"p\":5,\"trig",
        )
        .unwrap();
        let history = History::with_limit(folder.path(), 1 << 20, disk());
        assert!(
            History::open(&folder.path().join("none"), 0, disk()).record(attempt(5, 0)),
            "none is kept, and none is missed"
        );
        let taken = (0..WAITING + 10)
            .filter(|_| history.record(attempt(5, 0)))
            .count();
        assert!(taken >= WAITING);
        assert_eq!(history.attempts(of(5)).await.unwrap().len(), taken);
    }
}
