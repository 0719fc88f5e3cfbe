//! What one watch remembers between two runs: where it goes on, and the table of what has been told.
//!
//! # Contract
//! The table lies in two texts: `base`, all of it as it once was, and `since`, what has changed from then on.
//! A save writes only `since`, until that has grown so far that a new `base` is cheaper. A `since` counts
//! only for the `base` whose generation it names, so whichever of the two is written last before a crash,
//! what is read again is one state that was saved whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{Row, Table};
use crate::{Memory, SourceError};

/// What is remembered, and where.
#[derive(Debug)]
pub(super) struct Remembered {
    memory: Memory,
    name: String,
    pub(super) table: Table,
    /// Where the watch goes on; `None`: what is there has to be listed and compared.
    version: Option<String>,
    /// What was looked for when the table was made.
    view: String,
    /// Whether anything is stored: then a list is no longer the first.
    is_begun: bool,
    /// What differs from the stored base.
    since: BTreeMap<String, Option<Row>>,
    since_bytes: usize,
    base_bytes: usize,
    generation: u64,
    /// Whether there is anything that is not stored.
    is_dirty: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Base {
    generation: u64,
    version: Option<String>,
    view: String,
    table: Table,
}

#[derive(Serialize, Deserialize)]
struct Since {
    generation: u64,
    version: Option<String>,
    changed: BTreeMap<String, Option<Row>>,
}

/// `since` may have so many bytes, or this part of `base` if that is more.
const SINCE_BYTES: usize = 64 << 10;
const SINCE_PART: usize = 16;

// === impl Remembered ===

impl Remembered {
    /// Reads what is stored under this name.
    pub(super) async fn load(memory: &Memory, name: &str) -> Result<Self, SourceError> {
        let mut this = Self {
            memory: memory.clone(),
            name: name.to_owned(),
            table: Table::default(),
            version: None,
            view: String::new(),
            is_begun: false,
            since: BTreeMap::new(),
            since_bytes: 0,
            base_bytes: 0,
            generation: 0,
            is_dirty: false,
        };
        let base = this.read::<Base>("base").await?;
        let since = this.read::<Since>("since").await?;
        let Some((base, bytes)) = base else {
            return Ok(this);
        };
        this.base_bytes = bytes;
        this.generation = base.generation;
        // Generation 0 is what is written where everything is to be forgotten.
        this.is_begun = base.generation > 0 && !base.view.is_empty();
        if !this.is_begun {
            return Ok(this);
        }
        (this.version, this.view, this.table) = (base.version, base.view, base.table);
        if let Some((since, bytes)) = since.filter(|(since, _)| since.generation == this.generation) {
            this.version = since.version;
            this.since_bytes = bytes;
            for (uid, row) in &since.changed {
                this.table.set(uid, row.clone());
            }
            this.since = since.changed;
        }
        Ok(this)
    }

    async fn read<T: for<'a> Deserialize<'a>>(&self, part: &str) -> Result<Option<(T, usize)>, SourceError> {
        let Some(text) = self.memory.get(&self.key(part)).await? else {
            return Ok(None);
        };
        match serde_json::from_slice(&text) {
            Ok(read) => Ok(Some((read, text.len()))),
            Err(error) => Err(SourceError::Unusable(format!(
                "what is remembered of {} cannot be read: {error}",
                self.name
            ))),
        }
    }

    fn key(&self, part: &str) -> String {
        format!("{}/{part}", self.name)
    }

    /// Where the watch of this view goes on; `None`: list first.
    pub(super) fn version(&self, view: &str) -> Option<&str> {
        self.version.as_deref().filter(|_| self.view == view)
    }

    /// Whether there is something to compare a list with.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// From now on a list is compared with the table.
    pub(super) fn begin(&mut self, view: &str) {
        self.is_begun = true;
        self.is_dirty = true;
        if self.view != view {
            view.clone_into(&mut self.view);
            self.version = None;
            // The view stands only in the base.
            self.since_bytes = usize::MAX;
        }
    }

    /// The watch goes on there; `None`: list first.
    pub(super) fn go_on(&mut self, version: Option<String>) {
        self.is_dirty |= self.version != version;
        self.version = version;
    }

    /// Puts what is known of an object in its place.
    pub(super) fn set(&mut self, uid: &str, row: Option<Row>) {
        let size = uid.len() + row.as_ref().map_or(8, Row::size);
        self.since_bytes = self.since_bytes.saturating_add(size);
        self.table.set(uid, row.clone());
        self.since.insert(uid.to_owned(), row);
        self.is_dirty = true;
    }

    /// Whether there is anything to save.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty && self.is_begun
    }

    /// Makes it durable. Everything that the table says must have been told durably before.
    pub(super) async fn save(&mut self) -> Result<(), SourceError> {
        if !self.is_dirty() {
            return Ok(());
        }
        let is_new = self.generation == 0 || self.since_bytes > SINCE_BYTES.max(self.base_bytes / SINCE_PART);
        if is_new {
            self.write_base().await?;
        } else {
            let since = Since {
                generation: self.generation,
                version: self.version.clone(),
                changed: std::mem::take(&mut self.since),
            };
            let text = encode(&since)?;
            self.since = since.changed;
            self.memory.put(&self.key("since"), text).await?;
        }
        self.is_dirty = false;
        Ok(())
    }

    /// Forgets everything, durably: the next list is a first one.
    pub(super) async fn forget(mut self) -> Result<(), SourceError> {
        self.table = Table::default();
        self.version = None;
        self.view = String::new();
        self.write_base().await
    }

    async fn write_base(&mut self) -> Result<(), SourceError> {
        let base = Base {
            generation: self.generation + 1,
            version: self.version.clone(),
            view: self.view.clone(),
            table: std::mem::take(&mut self.table),
        };
        let text = encode(&base)?;
        self.table = base.table;
        self.base_bytes = text.len();
        self.memory.put(&self.key("base"), text).await?;
        self.generation += 1;
        self.since.clear();
        self.since_bytes = 0;
        Ok(())
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, SourceError> {
    serde_json::to_vec(value).map_err(|error| SourceError::Unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_event::ObjectName;
    use millrace_event::checkpoint::Stored;
    use millrace_model::{SourceKey, SourceKind};

    use super::*;
    use crate::store::Store;

    async fn load(store: &Arc<Store>) -> Remembered {
        let key = SourceKey {
            kind: SourceKind::ApiServer,
            name: ObjectName::new("shop", "pods"),
        };
        let memory = Memory::new(store.clone(), &key);
        Remembered::load(&memory, "v1/Pod").await.unwrap()
    }

    fn key(part: &str) -> String {
        format!("ApiServerSource/shop/pods/v1/Pod/{part}")
    }

    /// How often that part was written.
    fn version(store: &Store, part: &str) -> u64 {
        store
            .all
            .lock()
            .get(&key(part))
            .map_or(0, |stored| stored.version)
    }

    fn row(version: usize) -> Option<Row> {
        Some(Row {
            version: version.to_string(),
            namespace: Some("shop".to_owned()),
            name: "x".to_owned(),
        })
    }

    #[tokio::test]
    async fn what_was_saved_is_read_again_whole_and_what_was_not_is_not() {
        let store = Arc::<Store>::default();
        let mut told = load(&store).await;
        assert!(!told.is_begun());
        told.set("a", row(1));
        told.begin("view");
        told.go_on(Some("5".to_owned()));
        told.save().await.unwrap();
        told.set("b", row(6));
        told.set("a", None);
        told.go_on(Some("7".to_owned()));
        told.save().await.unwrap();
        told.set("c", row(8));
        told.go_on(Some("8".to_owned()));
        let again = load(&store).await;
        assert!(again.is_begun());
        assert_eq!(
            (again.version("view"), again.version("other view")),
            (Some("7"), None)
        );
        let rows: Vec<_> = again.table.iter().map(|(uid, row)| (uid, row.clone())).collect();
        assert_eq!(rows, [("b", row(6).unwrap())]);
    }

    #[tokio::test]
    async fn a_thousand_changes_are_not_a_thousand_whole_tables() {
        let store = Arc::<Store>::default();
        let mut told = load(&store).await;
        told.begin("view");
        for n in 0..1_000 {
            told.set(&format!("uid-{n}"), row(n));
            told.go_on(Some(n.to_string()));
            told.save().await.unwrap();
        }
        assert_eq!(version(&store, "base") + version(&store, "since"), 1_000);
        assert!(version(&store, "base") < 10, "{}", version(&store, "base"));
        let again = load(&store).await;
        assert_eq!((again.table.len(), again.version("view")), (1_000, Some("999")));
    }

    #[tokio::test]
    async fn changes_to_an_older_base_do_not_count() {
        let store = Arc::<Store>::default();
        let mut told = load(&store).await;
        told.begin("view");
        told.save().await.unwrap();
        told.set("a", row(1));
        told.save().await.unwrap();
        // As if the process had died between a new base and the first changes to it.
        told.set("a", None);
        told.write_base().await.unwrap();
        let again = load(&store).await;
        assert_eq!((again.table.len(), again.is_begun()), (0, true));
    }

    #[tokio::test]
    async fn what_was_forgotten_begins_anew() {
        let store = Arc::<Store>::default();
        let mut told = load(&store).await;
        told.begin("view");
        told.set("a", row(1));
        told.save().await.unwrap();
        told.forget().await.unwrap();
        let again = load(&store).await;
        assert_eq!((again.table.len(), again.is_begun()), (0, false));
    }

    #[tokio::test]
    async fn what_is_stored_and_cannot_be_read_is_said_and_not_thrown_away() {
        let store = Arc::<Store>::default();
        store.all.lock().insert(
            key("base"),
            Stored {
                version: 1,
                value: b"{".to_vec(),
            },
        );
        let source = SourceKey {
            kind: SourceKind::ApiServer,
            name: ObjectName::new("shop", "pods"),
        };
        let memory = Memory::new(store.clone(), &source);
        let error = Remembered::load(&memory, "v1/Pod").await.unwrap_err();
        assert!(error.to_string().contains("v1/Pod cannot be read"), "{error}");
    }
}
