//! One data folder: its format, its lock, its brokers' channels and its checkpoints.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use millrace_event::{Checkpoint, ObjectName};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::ballast::Ballast;
use super::blocking::blocking;
use super::channel::{Embedded, Surroundings};
use super::checkpoints::Checkpoints;
use super::disk::{Disk, FolderVolume, Space};
use super::folder::{self, DataFolder, fault};
use super::metrics::Metrics;
use super::pool::Pool;
use super::rounds::Rounds;
use super::{ChannelOptions, OpenError, StoreOptions, state};
use crate::{Channel, ChannelError, Position};

/// Channels that are opened or closed at one time: they wait for a disk, which syncs many for the price of
/// one.
const AT_ONCE: usize = 16;
/// Resting channels whose upkeep works at one time: each needs a blocking thread for a moment.
pub(super) const IDLE_ROUNDS: usize = 4;
/// Brokers whose names fall on the same one of so many locks are opened one after the other.
const LOCKS: usize = 64;

/// What there was of a broker before its channel was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    Nothing,
    Folder,
    Channel,
}

/// An open data folder. Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Store {
    pub(super) folder: Arc<DataFolder>,
    surroundings: Surroundings,
    metrics: Metrics,
    checkpoints: Arc<Checkpoints>,
    open: Mutex<HashMap<ObjectName, Weak<Embedded>>>,
    /// A channel is opened once: asking twice at once gives the same one.
    opening: [tokio::sync::Mutex<()>; LOCKS],
}

// === impl Store ===

impl Store {
    /// Opens (or makes) the folder and takes its lock. Blocking, for a moment.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let folder = Arc::new(DataFolder::open(folder)?);
        let disk = Arc::new(Disk::new(Box::new(FolderVolume::new(folder.path()))));
        let ballast = Arc::new(Ballast::new(folder.path()));
        ballast.restore(&disk);
        let open = |file: &Path| ballast.backing(&disk, || Checkpoints::open(file));
        let checkpoints = Arc::new(open_checkpoints(folder.path(), options.rebuild_state, open)?);
        let pool = Pool::default();
        pool.begin()
            .map_err(|error| fault("start the threads of", folder.path(), error))?;
        Ok(Self {
            surroundings: Surroundings {
                options,
                rounds: Rounds::of(disk.clone(), ballast.clone()),
                disk,
                ballast,
                shares: Arc::default(),
                idle_rounds: Arc::new(Semaphore::new(IDLE_ROUNDS)),
                pool,
                folder: folder.clone(),
            },
            folder,
            metrics: Metrics::default(),
            checkpoints,
            open: Mutex::default(),
            opening: [const { tokio::sync::Mutex::const_new(()) }; LOCKS],
        })
    }

    /// Makes the metrics of all channels known.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Opens a broker's channel (makes it when new), or applies new options to the open one.
    pub async fn channel(
        &self,
        broker: &ObjectName,
        options: ChannelOptions,
    ) -> Result<Arc<Embedded>, OpenError> {
        let _one = self.opening[lock_of(broker)].lock().await;
        let known = self.open.lock().get(broker).and_then(Weak::upgrade);
        if let Some(channel) = known {
            if !channel.is_closing() {
                channel.set_options(options);
                return Ok(channel);
            }
            // Its files are free once its closing has come to an end, well or not.
            let _ = channel.close().await;
        }
        let (surroundings, metrics) = (self.surroundings.clone(), self.metrics.of(broker));
        let name = broker.clone();
        let opened =
            tokio::task::spawn_blocking(move || Embedded::open(&name, options, surroundings, metrics)).await;
        let channel = opened.map_err(|_| OpenError::Interrupted)??;
        self.open.lock().insert(broker.clone(), Arc::downgrade(&channel));
        Ok(channel)
    }

    /// Opens the channels of these brokers, several at a time: all or none. If one cannot be opened, the
    /// error names it; those that were opened here are closed again, and folders that were made for them are
    /// removed.
    pub async fn channels(
        self: &Arc<Self>,
        brokers: Vec<(ObjectName, ChannelOptions)>,
    ) -> Result<Vec<(ObjectName, Arc<Embedded>)>, (ObjectName, OpenError)> {
        let (mut opened, mut made) = (Vec::with_capacity(brokers.len()), Vec::new());
        let mut failed: Option<(ObjectName, OpenError)> = None;
        let (mut waiting, mut opening) = (brokers.into_iter(), JoinSet::new());
        // On a full volume they share the room of the ballast.
        let is_full = |space: Space| space.missing(0) > 0;
        let at_once = match self.surroundings.disk.space() {
            Some(space) if is_full(space) => 1,
            _ => AT_ONCE,
        };
        loop {
            while failed.is_none()
                && opening.len() < at_once
                && let Some((broker, options)) = waiting.next()
            {
                let store = self.clone();
                opening.spawn(async move {
                    let had = store.has(&broker);
                    (had, store.channel(&broker, options).await, broker)
                });
            }
            match opening.join_next().await {
                None => break,
                Some(Ok((had, Ok(channel), broker))) => opened.push((had, broker, channel)),
                Some(Ok((had, Err(error), broker))) => {
                    made.extend((had == Had::Nothing).then(|| broker.clone()));
                    failed = failed.or(Some((broker, error)));
                }
                Some(Err(cut)) => after(cut),
            }
        }
        let Some(failed) = failed else {
            let known = |(_, broker, channel)| (broker, channel);
            return Ok(opened.into_iter().map(known).collect());
        };
        self.take_back(opened, made).await;
        Err(failed)
    }

    /// Closes channels that nobody has used, and removes the folders of those that had none before, and those
    /// in `made`.
    async fn take_back(
        self: &Arc<Self>,
        opened: Vec<(Had, ObjectName, Arc<Embedded>)>,
        mut made: Vec<ObjectName>,
    ) {
        let mut closing = Vec::new();
        for (had, broker, channel) in opened {
            if had != Had::Channel {
                closing.push((broker.clone(), channel as Arc<dyn Channel>));
            }
            if had == Had::Nothing {
                made.push(broker);
            }
        }
        for (broker, closed) in close_all(closing).await {
            if let Err(error) = closed {
                let _span = tracing::error_span!("broker", %broker).entered();
                tracing::warn!(%error, "a channel that is not needed after all could not be closed");
            }
        }
        let store = self.clone();
        let removal = tokio::task::spawn_blocking(move || {
            for broker in made {
                if let Err(error) = store.remove(&broker) {
                    let _span = tracing::error_span!("broker", %broker).entered();
                    tracing::warn!(%error, "the new folder of a broker that is not needed after all stays");
                }
            }
        });
        // It fails only when the process ends.
        let _ = removal.await;
    }

    /// What there is of a broker.
    fn has(&self, broker: &ObjectName) -> Had {
        let is_open = |channel: Arc<Embedded>| !channel.is_closing();
        if self
            .open
            .lock()
            .get(broker)
            .and_then(Weak::upgrade)
            .is_some_and(is_open)
        {
            return Had::Channel;
        }
        match self.folder.broker(broker) {
            Ok(path) if path.exists() => Had::Folder,
            _ => Had::Nothing,
        }
    }

    /// The brokers that have a folder here, also those that are in no document any more.
    pub fn brokers(&self) -> Result<Vec<ObjectName>, OpenError> {
        self.folder.brokers()
    }

    /// Deletes a broker's folder with everything in it. Its channel must be closed, and must not be opened
    /// meanwhile. Blocking.
    pub fn remove(&self, broker: &ObjectName) -> Result<(), OpenError> {
        if let Some(away) = self.put_away(broker)? {
            folder::delete(&away);
        }
        Ok(())
    }

    fn put_away(&self, broker: &ObjectName) -> Result<Option<PathBuf>, OpenError> {
        {
            let mut open = self.open.lock();
            let known = open.get(broker).and_then(Weak::upgrade);
            if known.is_some_and(|channel| !channel.is_closed()) {
                return Err(OpenError::StillOpen(broker.clone()));
            }
            open.remove(broker);
        }
        let away = self.folder.put_away(broker)?;
        self.metrics.forget(broker);
        Ok(away)
    }

    /// Gives the folder of a Broker back that is gone for good. Its channel must be closed, and ended at
    /// `end`. That is durable before the folder goes: a Broker of the same name begins there. After an error,
    /// or a crash in between, the Broker is there as it was. The files are deleted afterwards, and nobody
    /// waits for that.
    pub async fn give_back(self: &Arc<Self>, broker: &ObjectName, end: Position) -> Result<(), OpenError> {
        let _one = self.opening[lock_of(broker)].lock().await;
        let (store, name) = (self.clone(), broker.clone());
        let given = tokio::task::spawn_blocking(move || {
            let around = &store.surroundings;
            let note = || store.folder.note_end(&name, end.offset);
            around.ballast.backing(&around.disk, note)?;
            store.put_away(&name)
        });
        let span = tracing::Span::current();
        if let Some(away) = given.await.map_err(|_| OpenError::Interrupted)?? {
            self.metrics.forgotten_brokers.inc();
            drop(blocking(span, move || folder::delete(&away)));
        }
        Ok(())
    }

    /// The checkpoints of sources, in `<data>/sources.db`.
    pub fn checkpoints(&self) -> Arc<dyn Checkpoint> {
        self.checkpoints.clone()
    }
}

/// Closes channels, several at a time; tells how each ended, in order of name.
pub async fn close_all(
    channels: Vec<(ObjectName, Arc<dyn Channel>)>,
) -> Vec<(ObjectName, Result<(), ChannelError>)> {
    let (mut waiting, mut closing) = (channels.into_iter(), JoinSet::new());
    let mut closed = Vec::new();
    loop {
        while closing.len() < AT_ONCE
            && let Some((broker, channel)) = waiting.next()
        {
            closing.spawn(async move { (broker, channel.close().await) });
        }
        match closing.join_next().await {
            None => break,
            Some(Ok(outcome)) => closed.push(outcome),
            Some(Err(cut)) => after(cut),
        }
    }
    closed.sort_by(|a, b| a.0.cmp(&b.0));
    closed
}

/// Passes a panic on. Otherwise the end of the runtime has cut a task off, and nobody needs it any more.
fn after(cut: JoinError) {
    if let Ok(panic) = cut.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

fn lock_of(broker: &ObjectName) -> usize {
    let mut hasher = DefaultHasher::new();
    broker.hash(&mut hasher);
    usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0)
}

fn open_checkpoints(
    folder: &Path,
    rebuild: bool,
    open: impl Fn(&Path) -> Result<Checkpoints, rusqlite::Error>,
) -> Result<Checkpoints, OpenError> {
    let file = folder.join("sources.db");
    let not_opened = |error: &rusqlite::Error| OpenError::State {
        file: file.clone(),
        reason: error.to_string(),
    };
    match open(&file) {
        // What is not damaged is not set aside: it may only lack room, or a descriptor.
        Err(error) if state::is_damage(&error) && rebuild => {
            let aside = state::set_aside(&file).map_err(|error| fault("rename", &file, error))?;
            tracing::warn!(%error, file = %file.display(), ?aside, "the checkpoints of sources are corrupt; sources begin anew");
            open(&file).map_err(|error| not_opened(&error))
        }
        Err(error) if state::is_damage(&error) => Err(OpenError::StateUnreadable {
            reason: error.to_string(),
            file,
        }),
        opened => opened.map_err(|error| not_opened(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::embedded::channel::testing::{OPTIONS, append, broker, event, events_from, spec};

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    fn open(folder: &Path) -> Store {
        Store::open(folder, StoreOptions::default()).unwrap()
    }

    fn open_rebuilding(folder: &Path) -> Store {
        Store::open(
            folder,
            StoreOptions {
                rebuild_state: true,
                ..StoreOptions::default()
            },
        )
        .unwrap()
    }

    #[tokio::test]
    async fn asking_again_gives_the_same_channel_and_a_closed_one_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let first = store.channel(&broker(), OPTIONS).await.unwrap();
        let again = store
            .channel(
                &broker(),
                ChannelOptions {
                    backlog_bytes: Some(1),
                    ..OPTIONS
                },
            )
            .await
            .unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(
            first.options().backlog_bytes,
            Some(1),
            "new options apply to the open channel"
        );
        assert!(matches!(store.remove(&broker()), Err(OpenError::StillOpen(_))));
        first.close().await.unwrap();
        let anew = store.channel(&broker(), OPTIONS).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &anew));
        assert_eq!(store.brokers().unwrap(), [broker()]);
        anew.close().await.unwrap();
        store.remove(&broker()).unwrap();
        assert_eq!(store.brokers().unwrap(), []);
    }

    #[tokio::test]
    async fn many_are_opened_together_or_none_and_what_was_made_for_them_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(folder.path()));
        let named = |n: usize| ObjectName::new("shop", format!("b{n:02}"));
        let all = |range: std::ops::Range<usize>| range.map(|n| (named(n), OPTIONS)).collect::<Vec<_>>();
        // One is open, one has only its folder.
        let running = store.channel(&named(0), OPTIONS).await.unwrap();
        store
            .channel(&named(1), OPTIONS)
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let in_the_way = folder.path().join("brokers/shop/b20");
        std::fs::write(&in_the_way, "").unwrap();

        let (broker, error) = store.channels(all(0..40)).await.unwrap_err();
        assert_eq!(broker, named(20));
        assert!(matches!(error, OpenError::Files { .. }), "{error}");
        assert_eq!(store.brokers().unwrap(), [named(0), named(1)]);
        let open = store
            .open
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .filter(|channel| !channel.is_closed())
            .count();
        assert_eq!(open, 1, "only the one that ran");
        assert!(!running.is_closing());

        std::fs::remove_file(in_the_way).unwrap();
        let opened = store.channels(all(0..40)).await.unwrap();
        assert_eq!((opened.len(), store.brokers().unwrap().len()), (40, 40));
        let opened = opened
            .into_iter()
            .map(|(broker, channel)| (broker, channel as Arc<dyn Channel>));
        let closed = close_all(opened.collect()).await;
        assert!(closed.iter().all(|(_, closed)| closed.is_ok()));
    }

    #[tokio::test]
    async fn an_unreadable_state_refuses_the_start_in_words_and_is_rebuilt_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        channel.open_lanes(vec![spec("a")]).await.unwrap();
        append(&*channel, &["one", "two"]).await;
        channel
            .commit(vec![crate::Progress::router(at(2)).into()])
            .await
            .unwrap();
        channel.close().await.unwrap();
        drop((channel, store));
        let file = folder.path().join("brokers/shop/default/state.db");
        std::fs::write(&file, vec![b'x'; 10_000]).unwrap();

        let error = open(folder.path()).channel(&broker(), OPTIONS).await.unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, OpenError::StateUnreadable { .. }), "{words}");
        for part in ["corrupt", "state.db", "--rebuild-state"] {
            assert!(words.contains(part), "{part} in: {words}");
        }

        let store = open_rebuilding(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        let lanes = channel.open_lanes(vec![spec("a")]).await.unwrap();
        assert_eq!((lanes[0].start, channel.router().await.unwrap()), (at(0), at(0)));
        assert!(channel.recovered_uncleanly(), "nothing says what was attempted");
        assert_eq!(events_from(&*channel, 0).await, ["one", "two"]);
        assert!(file.with_file_name("state.db.unreadable-1").exists());
        // A trigger admitted later in that run begins there too, behind the router.
        channel
            .commit(vec![crate::Progress::router(at(2)).into()])
            .await
            .unwrap();
        assert_eq!(
            channel.open_lanes(vec![spec("b")]).await.unwrap()[0].cursor,
            Some(at(0))
        );
    }

    #[tokio::test]
    async fn a_state_that_vanished_beside_its_log_is_not_taken_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        append(&*channel, &["one"]).await;
        channel.close().await.unwrap();
        drop((channel, store));
        std::fs::remove_file(folder.path().join("brokers/shop/default/state.db")).unwrap();
        let error = open(folder.path()).channel(&broker(), OPTIONS).await.unwrap_err();
        assert!(matches!(error, OpenError::StateUnreadable { .. }), "{error}");
        let store = open_rebuilding(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        assert_eq!(events_from(&*channel, 0).await, ["one"]);
    }

    #[tokio::test]
    async fn a_sound_state_is_kept_even_when_rebuilding_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        append(&*channel, &["one", "two"]).await;
        channel
            .commit(vec![crate::Progress::router(at(2)).into()])
            .await
            .unwrap();
        channel.close().await.unwrap();
        drop((channel, store));
        let store = open_rebuilding(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        assert_eq!(channel.router().await.unwrap(), at(2));
        assert_eq!(channel.open_lanes(vec![spec("a")]).await.unwrap()[0].start, at(2));
    }

    #[tokio::test]
    async fn the_lock_goes_with_the_store_and_with_every_channel_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        drop(store);
        // Somebody still writes there.
        assert!(matches!(
            Store::open(folder.path(), StoreOptions::default()),
            Err(OpenError::Locked(_))
        ));
        drop(channel);
    }

    #[tokio::test]
    async fn damaged_checkpoints_refuse_the_start_and_begin_anew_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store
            .checkpoints()
            .compare_and_set("a", 0, b"x".to_vec())
            .await
            .unwrap();
        drop(store);
        std::fs::write(folder.path().join("sources.db"), vec![b'x'; 9_000]).unwrap();
        let error = Store::open(folder.path(), StoreOptions::default()).unwrap_err();
        assert!(matches!(error, OpenError::StateUnreadable { .. }), "{error}");
        let store = open_rebuilding(folder.path());
        assert_eq!(store.checkpoints().get("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn checkpoints_that_only_cannot_be_opened_are_not_called_corrupt_nor_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        // SQLite opens no folder. It fails for another reason than damage, as on a full disk.
        let file = folder.path().join("sources.db");
        std::fs::create_dir(&file).unwrap();
        for rebuild_state in [false, true] {
            let options = StoreOptions {
                rebuild_state,
                ..StoreOptions::default()
            };
            let error = Store::open(folder.path(), options).unwrap_err();
            assert!(matches!(error, OpenError::State { .. }), "{error}");
            assert!(!error.to_string().contains("--rebuild-state"), "{error}");
            assert!(file.is_dir(), "it is where it was");
        }
    }

    #[tokio::test]
    async fn a_reader_outlives_neither_close_nor_truth() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        let mut reader: Box<dyn Reader> = channel.log().reader(at(0));
        channel
            .log()
            .append(vec![event("one")], crate::Class::Producer)
            .await
            .unwrap();
        assert_eq!(reader.next(10, 1_000).await.unwrap().records.len(), 1);
        channel.close().await.unwrap();
        assert_eq!(
            reader.next(10, 1_000).await.unwrap_err(),
            crate::ChannelError::Closed
        );
    }
}
