//! Whose turn it is to read: bounds how many threads may hang, and lets one file take only one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_model::NamedFile;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::{SecretError, shown_path};
use crate::reader::DEADLINE;

/// The most files that are read at one time, including reads that hang. Each has a thread of its own.
pub(crate) const AT_ONCE: usize = 32;
/// How many of them documents of one folder may use.
pub(crate) const OF_A_FOLDER: usize = 4;

/// The turns that there are.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    folders: Mutex<BTreeMap<PathBuf, Arc<Semaphore>>>,
    files: Mutex<BTreeMap<PathBuf, File>>,
}

/// A file that is being read.
#[derive(Debug)]
struct File {
    turn: Arc<Semaphore>,
    /// When the latest attempt began.
    begun: Instant,
}

/// A thread may read while it holds this. The turn belongs to the thread and not to the task that waits for
/// it: giving up waiting makes no room for another thread that hangs.
#[derive(Debug)]
pub(crate) struct Turn {
    _permits: [OwnedSemaphorePermit; 3],
}

// === impl Turns ===

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            folders: Mutex::default(),
            files: Mutex::default(),
        }
    }

    /// Waits for a turn to read this file.
    ///
    /// # Errors
    /// When an earlier attempt at the file hangs, or no turn is free before the deadline.
    pub(crate) async fn take(&self, file: &NamedFile, deadline: Instant) -> Result<Turn, SecretError> {
        let hangs = || SecretError::Hangs(shown_path(&file.path));
        let late = || SecretError::Late(shown_path(&file.path));
        let of_file = self.of_file(&file.path).ok_or_else(hangs)?;
        let of_file = before(deadline, of_file).await.ok_or_else(hangs)?;
        let of_folder = before(deadline, self.of_folder(&file.folder))
            .await
            .ok_or_else(late)?;
        let of_all = before(deadline, self.all.clone()).await.ok_or_else(late)?;
        if let Some(known) = self.files.lock().get_mut(&file.path) {
            known.begun = Instant::now();
        }
        Ok(Turn {
            _permits: [of_file, of_folder, of_all],
        })
    }

    /// The turn of a file; `None` while an earlier read of it hangs.
    fn of_file(&self, path: &Path) -> Option<Arc<Semaphore>> {
        let mut files = self.files.lock();
        files.retain(|_, file| Arc::strong_count(&file.turn) > 1);
        let file = files.entry(path.to_owned()).or_insert_with(|| File {
            turn: Arc::new(Semaphore::new(1)),
            begun: Instant::now(),
        });
        let is_hanging = file.turn.available_permits() == 0 && file.begun.elapsed() >= DEADLINE;
        (!is_hanging).then(|| file.turn.clone())
    }

    fn of_folder(&self, folder: &Path) -> Arc<Semaphore> {
        let mut folders = self.folders.lock();
        folders.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = folders.entry(folder.to_owned());
        turns
            .or_insert_with(|| Arc::new(Semaphore::new(OF_A_FOLDER)))
            .clone()
    }

    /// How many threads may begin now.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

/// A permit, if there is one before the deadline. It holds its semaphore, which so stays known as long as it
/// is needed.
async fn before(deadline: Instant, turns: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    timeout_at(deadline, turns.acquire_owned()).await.ok()?.ok()
}
