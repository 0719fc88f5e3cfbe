//! What sources remember, in `<data>/sources.db`: a value and its version by key. Only a caller that knows
//! the version may replace a value.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_event::checkpoint::{Checkpoint, CheckpointError, Stored};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::Mutex;

use super::place::Place;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS checkpoints (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;";

/// The checkpoints of a data folder. The file is made when the first one is stored.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    file: PathBuf,
    /// The data folder, which an operator may move away.
    home: Option<Place>,
    db: Arc<Mutex<Option<Open>>>,
}

/// The open database.
#[derive(Debug)]
struct Open {
    db: Connection,
    place: Place,
}

// === impl Checkpoints ===

impl Checkpoints {
    /// The checkpoints in `file`. An existing file is opened now, so that damage is reported at the start.
    /// Blocking.
    pub(crate) fn open(file: &Path) -> Result<Self, rusqlite::Error> {
        let db = if file.exists() { Some(connect(file)?) } else { None };
        Ok(Self {
            file: file.to_owned(),
            home: file.parent().and_then(|home| Place::named(home).ok()),
            db: Arc::new(Mutex::new(db)),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, CheckpointError> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let mut db = self.db.clone().lock_owned().await;
        let (file, home) = (self.file.clone(), self.home.clone());
        tokio::task::spawn_blocking(move || {
            if home.is_some_and(|home| home.is_lost()) {
                return Err(gone(&file));
            }
            let db = match &mut *db {
                Some(db) => db,
                none => none.insert(connect(&file).map_err(storage)?),
            };
            let outcome = work(&mut db.db)?;
            if db.place.is_lost() {
                return Err(gone(&file));
            }
            Ok(outcome)
        })
        .await
        .map_err(|error| CheckpointError::Storage(error.to_string()))?
    }
}

#[async_trait::async_trait]
impl Checkpoint for Checkpoints {
    async fn get(&self, key: &str) -> Result<Option<Stored>, CheckpointError> {
        let key = key.to_owned();
        self.with(move |db| {
            db.query_row(
                "SELECT version, value FROM checkpoints WHERE key = ?1",
                [key],
                |row| {
                    let version = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                    Ok(Stored {
                        version,
                        value: row.get(1)?,
                    })
                },
            )
            .optional()
            .map_err(storage)
        })
        .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
    ) -> Result<u64, CheckpointError> {
        let key = key.to_owned();
        self.with(move |db| replace(db, &key, expected, &value)).await
    }
}

fn gone(file: &Path) -> CheckpointError {
    CheckpointError::Storage(format!(
        "{} was moved, removed or replaced while Millrace had it open: put it back, or restart Millrace",
        file.display()
    ))
}

fn replace(db: &mut Connection, key: &str, expected: u64, value: &[u8]) -> Result<u64, CheckpointError> {
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(storage)?;
    let changed = if expected == 0 {
        transaction.execute(
            "INSERT OR IGNORE INTO checkpoints (key, version, value) VALUES (?1, 1, ?2)",
            params![key, value],
        )
    } else {
        transaction.execute(
            "UPDATE checkpoints SET version = version + 1, value = ?3 WHERE key = ?1 AND version = ?2",
            params![key, i64::try_from(expected).unwrap_or(-1), value],
        )
    };
    if changed.map_err(storage)? == 0 {
        return Err(CheckpointError::Conflict(key.to_owned()));
    }
    transaction.commit().map_err(storage)?;
    Ok(expected + 1)
}

fn connect(file: &Path) -> Result<Open, rusqlite::Error> {
    let db = Connection::open(file)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -256)?;
    db.execute_batch(TABLE)?;
    let place =
        Place::named(file).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok(Open { db, place })
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn storage(error: rusqlite::Error) -> CheckpointError {
    CheckpointError::Storage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_checkpoint_is_stored_in_a_file_that_is_gone_nor_in_another_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (home, away) = (temp.path().join("data"), temp.path().join("away"));
        std::fs::create_dir(&home).unwrap();
        let checkpoints = Checkpoints::open(&home.join("sources.db")).unwrap();
        std::fs::rename(&home, &away).unwrap();
        std::fs::create_dir(&home).unwrap();
        assert!(checkpoints.compare_and_set("a", 0, b"x".to_vec()).await.is_err());
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
        std::fs::remove_dir(&home).unwrap();
        std::fs::rename(&away, &home).unwrap();
        assert_eq!(checkpoints.compare_and_set("a", 0, b"x".to_vec()).await, Ok(1));
        std::fs::remove_file(home.join("sources.db")).unwrap();
        assert!(checkpoints.compare_and_set("a", 1, b"y".to_vec()).await.is_err());
    }

    #[tokio::test]
    async fn a_checkpoint_is_replaced_only_by_who_knows_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sources.db");
        let checkpoints = Checkpoints::open(&file).unwrap();
        assert_eq!(checkpoints.get("git").await.unwrap(), None);
        assert_eq!(checkpoints.compare_and_set("git", 0, b"a".to_vec()).await, Ok(1));
        let conflict = Err(CheckpointError::Conflict("git".to_owned()));
        assert_eq!(
            checkpoints.compare_and_set("git", 0, b"b".to_vec()).await,
            conflict
        );
        assert_eq!(
            checkpoints.compare_and_set("git", 7, b"b".to_vec()).await,
            conflict
        );
        assert_eq!(
            checkpoints.compare_and_set("new", 3, b"b".to_vec()).await,
            Err(CheckpointError::Conflict("new".to_owned()))
        );
        assert_eq!(checkpoints.compare_and_set("git", 1, b"b".to_vec()).await, Ok(2));
        drop(checkpoints);
        let again = Checkpoints::open(&file).unwrap();
        assert_eq!(
            again.get("git").await.unwrap(),
            Some(Stored {
                version: 2,
                value: b"b".to_vec()
            })
        );
    }
}
