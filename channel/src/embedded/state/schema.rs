//! The database file: how it is opened, what is in it, and how an unreadable one is refused or set aside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StateError;

/// The version of the tables below, kept in `user_version`.
const VERSION: i64 = 5;

/// A whole check of the file is quick up to this size; a larger file is believed until a read says otherwise.
const CHECKED_UP_TO: u64 = 64 * 1024 * 1024;

/// What the state consists of.
///
/// Numbers of lanes are never used twice (AUTOINCREMENT), nor are those of parked events. `work_due` gives
/// due rows in order. `work_position` tells whether an event is still named before its copy or its segment
/// goes. `ahead` has to be added to `work.due` and to both `orphaned` to make wall times of them; `noted` is
/// the wall time at which that was so. `channel.orphaned` is since when the Broker is in no document any
/// more. `lanes.filter` is the present filter (NULL: it is not known), and `earlier` those before it, each
/// with its end (NULL: there are none).
const TABLES: &str = "
CREATE TABLE channel (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    router INTEGER NOT NULL,
    clean INTEGER NOT NULL,
    ahead INTEGER NOT NULL DEFAULT 0,
    noted INTEGER,
    orphaned INTEGER
) STRICT;
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trigger TEXT NOT NULL,
    uid TEXT NOT NULL,
    start INTEGER NOT NULL,
    cursor INTEGER,
    unsettled BLOB NOT NULL,
    paused INTEGER NOT NULL,
    orphaned INTEGER,
    queued INTEGER,
    filter TEXT,
    earlier TEXT
) STRICT;
CREATE INDEX lanes_trigger ON lanes (trigger);
CREATE TABLE work (
    lane INTEGER NOT NULL,
    position INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due INTEGER NOT NULL,
    open INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    suspect INTEGER NOT NULL,
    failures BLOB NOT NULL,
    body BLOB,
    PRIMARY KEY (lane, position, stage)
) STRICT;
CREATE INDEX work_due ON work (lane, due, position);
CREATE INDEX work_position ON work (position);
CREATE TABLE parked (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    salt INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    position INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failures BLOB NOT NULL,
    body BLOB,
    UNIQUE (lane, position, stage)
) STRICT;
CREATE INDEX parked_trigger ON parked (trigger);
CREATE INDEX parked_position ON parked (position);
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    appended INTEGER NOT NULL,
    event BLOB NOT NULL
) STRICT;
INSERT INTO channel (id, router, clean) VALUES (1, 0, 1);
";

/// The steps from version 1 to version 2, from 2 to 3, and so on.
const STEPS: [&str; 4] = [
    "ALTER TABLE channel ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE channel ADD COLUMN noted INTEGER;",
    "ALTER TABLE channel ADD COLUMN orphaned INTEGER;",
    "ALTER TABLE lanes ADD COLUMN queued INTEGER;
     ALTER TABLE lanes ADD COLUMN filter TEXT;
     ALTER TABLE lanes ADD COLUMN earlier TEXT;",
];

/// What was found at opening.
#[derive(Debug)]
pub(super) struct Database {
    /// The connection that writes.
    pub(super) db: Connection,
    /// There was no state before.
    pub(super) fresh: bool,
}

/// The least and the most bytes of the write-ahead log.
const JOURNAL: (i64, i64) = (256 << 10, 4 << 20);

/// Bytes of a page of the database.
const PAGE: i64 = 4096;

/// Why the file was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// The content is not a database that can be relied on.
    #[error("{0}")]
    Unreadable(String),
    /// It was written by a later version.
    #[error("it has version {found} and this Millrace reads up to version {VERSION}")]
    TooNew {
        /// The version found.
        found: i64,
    },
    /// The file system or SQLite failed for another reason.
    #[error(transparent)]
    Other(#[from] rusqlite::Error),
}

/// Opens the database, or makes it. `must_exist` (the log holds events): an absent or empty file is
/// unreadable, not new.
pub(super) fn open(file: &Path, must_exist: bool) -> Result<Database, SchemaError> {
    let db = connect(file).map_err(unreadable)?;
    let version: i64 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(unreadable)?;
    if version > VERSION {
        return Err(SchemaError::TooNew { found: version });
    }
    let fresh = version == 0;
    if fresh && must_exist {
        return Err(SchemaError::Unreadable(
            "it is missing or empty although the log holds events".to_owned(),
        ));
    }
    if fresh {
        // Must come before the first table, and before WAL makes the header.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .map_err(unreadable)?;
    }
    settings(&db).map_err(unreadable)?;
    if fresh {
        create(&db).map_err(unreadable)?;
    } else {
        check(&db, file)?;
        if version < VERSION {
            migrate(&db, version).map_err(unreadable)?;
        }
    }
    Ok(Database { db, fresh })
}

/// Opens a database that nobody has open, and that is whole and of this version, to read what it holds.
/// `None`: it has to be opened for writing, which tells what is wrong, or makes or converts it.
pub(super) fn peek(file: &Path) -> Option<Connection> {
    let db = unchanging(file)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).ok()?;
    (version == VERSION && check(&db, file).is_ok()).then_some(db)
}

/// Opens a database to read it: without a lock, without companions, and without a change to any file. Nobody
/// may write to it meanwhile. `None`: it was not closed, or there is none.
pub(super) fn unchanging(file: &Path) -> Option<Connection> {
    // A reader of another process, as a backup, leaves an empty one.
    let holds = |suffix| std::fs::metadata(with_suffix(file, suffix)).is_ok_and(|found| found.len() > 0);
    if holds("-wal") || holds("-journal") {
        return None;
    }
    let uri = format!("file:{}?immutable=1", percent_encoded(file));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri, flags).ok()?;
    // All questions in one transaction: each by itself would look at the file first.
    db.execute_batch("BEGIN").ok()?;
    Some(db)
}

/// A path as a part of a URI.
fn percent_encoded(path: &Path) -> String {
    let octets = path.as_os_str().as_encoded_bytes().iter();
    octets
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*octet).to_string(),
            _ => format!("%{octet:02x}"),
        })
        .collect()
}

/// A second connection that only reads, so that a list for a person never waits for a sync, nor makes a
/// commit wait.
pub(super) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    // It may be the only one; only a connection that can write takes the companions with it when it goes.
    let db = connect_to(file, OpenFlags::empty())?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -512)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// Renames an unreadable database and its companions aside, under the first number that is free; says to
/// which name.
pub(crate) fn set_aside(file: &Path) -> std::io::Result<Option<PathBuf>> {
    if !file.exists() {
        return Ok(None);
    }
    let aside = (1u32..)
        .map(|n| with_suffix(file, &format!(".unreadable-{n}")))
        .find(|path| !path.exists());
    let aside = aside.expect("invariant: an unbounded range has a free number");
    // The companions first: a crash in between leaves the database where the next start finds it again.
    for companion in ["-wal", "-shm"] {
        let from = with_suffix(file, companion);
        if from.exists() {
            std::fs::rename(&from, with_suffix(&aside, companion))?;
        }
    }
    std::fs::rename(file, &aside)?;
    Ok(Some(aside))
}

pub(super) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens the database again that this process has closed, for writing; its journal is bounded as before.
pub(super) fn reopen(file: &Path, journal: i64) -> Result<Connection, rusqlite::Error> {
    let db = connect_to(file, OpenFlags::empty())?;
    db.set_prepared_statement_cache_capacity(64);
    settings(&db)?;
    bound_journal(&db, journal)?;
    Ok(db)
}

fn connect_to(file: &Path, how: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | how;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    Ok(db)
}

fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    let db = connect_to(file, OpenFlags::SQLITE_OPEN_CREATE)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn settings(db: &Connection) -> Result<(), rusqlite::Error> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    bound_journal(db, JOURNAL.1)
}

/// Lets the write-ahead log grow to so many bytes before it is moved into the database, between the bounds of
/// [`JOURNAL`]. What a large transaction made of it is given back then.
pub(super) fn bound_journal(db: &Connection, bytes: i64) -> Result<(), rusqlite::Error> {
    let bytes = bytes.clamp(JOURNAL.0, JOURNAL.1);
    db.pragma_update(None, "wal_autocheckpoint", bytes / PAGE)?;
    db.pragma_update(None, "journal_size_limit", bytes)
}

fn create(db: &Connection) -> Result<(), rusqlite::Error> {
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

fn migrate(db: &Connection, version: i64) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(version - 1).unwrap_or(0);
    let steps: String = STEPS.into_iter().skip(done).collect();
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

fn check(db: &Connection, file: &Path) -> Result<(), SchemaError> {
    if std::fs::metadata(file).is_ok_and(|meta| meta.len() <= CHECKED_UP_TO) {
        let verdict: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(unreadable)?;
        if verdict != "ok" {
            return Err(SchemaError::Unreadable(verdict));
        }
    }
    db.query_row("SELECT router FROM channel WHERE id = 1", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(|_| ())
    .map_err(|error| SchemaError::Unreadable(error.to_string()))
}

fn unreadable(error: rusqlite::Error) -> SchemaError {
    if is_damage(&error) {
        return SchemaError::Unreadable(error.to_string());
    }
    SchemaError::Other(error)
}

/// Tells damage from a disk that is full or a folder that may not be written.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::SchemaChanged
                | ErrorCode::TypeMismatch,
        )
    )
}

/// Whether a failure came from a volume without room.
pub(super) fn is_full(error: &StateError) -> bool {
    matches!(error, StateError::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_keeps_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let db = open(&file, false).unwrap().db;
        let journal = with_suffix(&file, "-wal");
        let write = |times: i64| {
            for time in 0..times {
                db.execute("UPDATE channel SET router = ?1 WHERE id = 1", [time])
                    .unwrap();
            }
            std::fs::metadata(&journal).unwrap().len()
        };
        assert!(write(300) > 1 << 20, "each commit writes a page");
        bound_journal(&db, 0).unwrap();
        assert!(write(300) < 300 << 10);
    }

    #[test]
    fn a_new_file_gets_its_tables_and_gives_space_back() {
        let folder = tempfile::tempdir().unwrap();
        let found = open(&folder.path().join("state.db"), false).unwrap();
        assert!(found.fresh);
        let pragma = |name: &str| {
            found
                .db
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(pragma("auto_vacuum"), 2);
        assert_eq!(pragma("synchronous"), 2);
        assert_eq!(pragma("user_version"), VERSION);
    }

    #[test]
    fn what_is_not_a_sound_database_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let cases: [(&str, &dyn Fn()); 4] = [
            ("text", &|| std::fs::write(&file, vec![b'x'; 8192]).unwrap()),
            ("empty beside a log", &|| std::fs::write(&file, b"").unwrap()),
            ("another database", &|| {
                let db = Connection::open(&file).unwrap();
                db.execute_batch("CREATE TABLE t (a); PRAGMA user_version = 1;")
                    .unwrap();
            }),
            ("holes in the middle", &|| {
                drop(open(&file, false).unwrap());
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[4096..].fill(0xA5);
                std::fs::write(&file, bytes).unwrap();
            }),
        ];
        for (case, prepare) in cases {
            let _ = set_aside(&file).unwrap();
            prepare();
            let outcome = open(&file, true).map(|_| ());
            assert!(
                matches!(outcome, Err(SchemaError::Unreadable(_))),
                "{case}: {outcome:?}"
            );
        }
    }

    #[test]
    fn an_earlier_version_is_taken_on() {
        // What each version lacks that the next one has.
        let added = [
            (1, "ALTER TABLE channel DROP COLUMN ahead;"),
            (2, "ALTER TABLE channel DROP COLUMN noted;"),
            (3, "ALTER TABLE channel DROP COLUMN orphaned;"),
            (
                4,
                "ALTER TABLE lanes DROP COLUMN queued; ALTER TABLE lanes DROP COLUMN filter;
                 ALTER TABLE lanes DROP COLUMN earlier;",
            ),
        ];
        for (first, (version, _)) in added.iter().enumerate() {
            let lacks: String = added[first..].iter().map(|(_, lacks)| *lacks).collect();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("state.db");
            let db = open(&file, false).unwrap().db;
            db.execute_batch(&format!(
                "UPDATE channel SET router = 7; {lacks} PRAGMA user_version = {version};"
            ))
            .unwrap();
            drop(db);
            for _ in 0..2 {
                let found = open(&file, true).unwrap();
                let row: (i64, i64, Option<i64>, Option<i64>) = found
                    .db
                    .query_row("SELECT router, ahead, noted, orphaned FROM channel", [], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .unwrap();
                assert_eq!((found.fresh, row), (false, (7, 0, None, None)), "{version}");
                let lanes = "SELECT count(queued) + count(filter) + count(earlier) FROM lanes";
                let known: i64 = found.db.query_row(lanes, [], |row| row.get(0)).unwrap();
                assert_eq!(known, 0, "{version}");
            }
        }
    }

    #[test]
    fn a_closed_database_is_read_without_a_trace_and_no_other_is() {
        let temp = tempfile::tempdir().unwrap();
        // Characters that mean something in a URI.
        let folder = temp.path().join("a b?c=1&d#%41");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("state.db");
        assert!(peek(&file).is_none(), "there is none");
        let db = open(&file, false).unwrap().db;
        db.execute_batch("UPDATE channel SET router = 7").unwrap();
        assert!(peek(&file).is_none(), "it is open");
        drop(db);
        let trace = || {
            let meta = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
            (meta(&folder), meta(&file), std::fs::read(&file).unwrap())
        };
        let before = trace();
        let router = |db: Connection| db.query_row("SELECT router FROM channel", [], |row| row.get(0));
        assert_eq!(router(peek(&file).unwrap()), Ok(7_i64));
        assert!(trace() == before, "nothing was made or changed");
        let written = peek(&file).unwrap().execute("UPDATE channel SET router = 8", []);
        assert!(written.is_err(), "{written:?}");

        let set_version = |version: i64| {
            let db = Connection::open(&file).unwrap();
            db.pragma_update(None, "user_version", version).unwrap();
        };
        set_version(VERSION - 1);
        assert!(peek(&file).is_none(), "it is to be converted");
        set_version(VERSION);
        assert!(peek(&file).is_some());
        let mut damaged = before.2;
        damaged[5_000..9_000].fill(b'x');
        std::fs::write(&file, damaged).unwrap();
        assert!(peek(&file).is_none(), "it is damaged");
    }

    #[test]
    fn a_later_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        open(&file, false)
            .unwrap()
            .db
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert!(matches!(open(&file, false), Err(SchemaError::TooNew { found }) if found == VERSION + 1));
    }

    #[test]
    fn what_is_set_aside_keeps_its_companions_and_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        for n in 1..=2 {
            std::fs::write(&file, b"x").unwrap();
            std::fs::write(folder.path().join("state.db-wal"), b"w").unwrap();
            let aside = set_aside(&file).unwrap().unwrap();
            assert_eq!(aside, folder.path().join(format!("state.db.unreadable-{n}")));
            assert!(
                folder
                    .path()
                    .join(format!("state.db.unreadable-{n}-wal"))
                    .exists()
            );
            assert!(!file.exists());
        }
        assert_eq!(set_aside(&file).unwrap(), None);
    }
}
