//! What sources remember, in `<data>/sources.db`: a value and its version by key. Only a caller that knows
//! the version may replace a value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_event::checkpoint::{Change, Checkpoint, CheckpointError, Stored};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tokio::sync::Mutex;

use super::path_identity::PathIdentity;

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
    home: Option<PathIdentity>,
    db: Arc<Mutex<Option<Open>>>,
}

/// The open database.
#[derive(Debug)]
struct Open {
    db: Connection,
    identity: PathIdentity,
}

// === impl Checkpoints ===

impl Checkpoints {
    /// The checkpoints in `file`. An existing file is opened now, so that damage is reported at the start.
    /// Blocking.
    pub(crate) fn open(file: &Path) -> Result<Self, rusqlite::Error> {
        let db = if file.exists() { Some(connect(file)?) } else { None };
        Ok(Self {
            file: file.to_owned(),
            home: file.parent().and_then(|home| PathIdentity::named(home).ok()),
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
            if db.identity.is_lost() {
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
                |row| stored(row, 0),
            )
            .optional()
            .map_err(storage)
        })
        .await
    }

    async fn scan(&self, prefix: &str) -> Result<BTreeMap<String, Stored>, CheckpointError> {
        let prefix = prefix.to_owned();
        self.with(move |db| below(db, &prefix).map_err(storage)).await
    }

    async fn replace_all(&self, changes: Vec<Change>) -> Result<(), CheckpointError> {
        self.with(move |db| replace(db, &changes)).await
    }
}

/// All values whose keys begin with `prefix`.
fn below(db: &Connection, prefix: &str) -> Result<BTreeMap<String, Stored>, rusqlite::Error> {
    // Not LIKE, in which `_` and `%` of a prefix would stand for others.
    let mut query = db.prepare_cached(
        "SELECT key, version, value FROM checkpoints WHERE key >= ?1 AND key < ?1 || char(1114111)",
    )?;
    let rows = query.query_map([prefix], |row| Ok((row.get(0)?, stored(row, 1)?)))?;
    rows.collect()
}

/// The version and the value, from this column on.
fn stored(row: &Row<'_>, column: usize) -> Result<Stored, rusqlite::Error> {
    Ok(Stored {
        version: u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0),
        value: row.get(column + 1)?,
    })
}

fn gone(file: &Path) -> CheckpointError {
    CheckpointError::Storage(format!(
        "{} was moved, removed or replaced while Millrace had it open: put it back, or restart Millrace",
        file.display()
    ))
}

fn replace(db: &mut Connection, changes: &[Change]) -> Result<(), CheckpointError> {
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(storage)?;
    for Change { key, expected, value } in changes {
        let version = i64::try_from(*expected).unwrap_or(-1);
        let changed = match (value, expected) {
            (Some(value), 0) => transaction.execute(
                "INSERT OR IGNORE INTO checkpoints (key, version, value) VALUES (?1, 1, ?2)",
                params![key, value],
            ),
            (Some(value), _) => transaction.execute(
                "UPDATE checkpoints SET version = version + 1, value = ?3 WHERE key = ?1 AND version = ?2",
                params![key, version, value],
            ),
            (None, _) => transaction.execute(
                "DELETE FROM checkpoints WHERE key = ?1 AND version = ?2",
                params![key, version],
            ),
        };
        if changed.map_err(storage)? == 0 {
            return Err(CheckpointError::Conflict(key.clone()));
        }
    }
    transaction.commit().map_err(storage)
}

fn connect(file: &Path) -> Result<Open, rusqlite::Error> {
    let db = Connection::open(file)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -256)?;
    db.execute_batch(TABLE)?;
    let identity = PathIdentity::named(file)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok(Open { db, identity })
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

    fn change(key: &str, expected: u64, value: Option<&[u8]>) -> Change {
        Change {
            key: key.to_owned(),
            expected,
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[tokio::test]
    async fn several_are_replaced_all_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("sources.db")).unwrap();
        let changes = vec![
            change("k/a", 0, Some(b"1")),
            change("k/b", 0, Some(b"2")),
            change("k0", 0, Some(b"3")),
            change("k", 0, Some(b"4")),
        ];
        checkpoints.replace_all(changes).await.unwrap();
        let refused = vec![change("k/a", 1, Some(b"x")), change("k/b", 7, Some(b"y"))];
        let conflict = Err(CheckpointError::Conflict("k/b".to_owned()));
        assert_eq!(checkpoints.replace_all(refused).await, conflict);
        let taken = vec![change("k/a", 1, Some(b"5")), change("k/b", 1, None)];
        checkpoints.replace_all(taken).await.unwrap();
        let found = checkpoints.scan("k/").await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(key, stored)| (key.as_str(), stored.version, stored.value.as_slice()))
            .collect();
        assert_eq!(found, [("k/a", 2, b"5".as_slice())]);
        assert_eq!(checkpoints.scan("nothing").await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_prefix_is_taken_by_its_letters() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("sources.db")).unwrap();
        for key in ["a_b/1", "axb/1", "a%b/1", "A_B/1", "a_b/é", "a_b"] {
            checkpoints.compare_and_set(key, 0, b"x".to_vec()).await.unwrap();
        }
        let found = checkpoints.scan("a_b/").await.unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a_b/1", "a_b/é"]);
    }

    #[tokio::test]
    async fn a_database_of_the_first_version_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sources.db");
        // What Millrace wrote before it kept several values of one source.
        let old =
            "CREATE TABLE checkpoints (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL)
            STRICT, WITHOUT ROWID;
            PRAGMA user_version = 1;
            INSERT INTO checkpoints VALUES ('CronSource/shop/nightly/ticks', 41, x'7b7d');";
        Connection::open(&file).unwrap().execute_batch(old).unwrap();
        let checkpoints = Checkpoints::open(&file).unwrap();
        let key = "CronSource/shop/nightly/ticks";
        assert_eq!(checkpoints.compare_and_set(key, 41, b"{}".to_vec()).await, Ok(42));
        let changes = vec![change("KafkaSource/shop/orders/x", 0, Some(b"{}"))];
        checkpoints.replace_all(changes).await.unwrap();
        let all = checkpoints.scan("").await.unwrap();
        assert_eq!(
            all.into_keys().collect::<Vec<_>>(),
            [key, "KafkaSource/shop/orders/x"]
        );
    }
}
