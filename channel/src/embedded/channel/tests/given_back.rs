//! A Broker that is forgotten gives its folder back, and the next one of its name begins above every position
//! that it used, wherever a crash came in between.

use super::*;
use crate::embedded::{OpenError, Store, backup};

const END: u64 = 3;

fn open(folder: &Path) -> Arc<Store> {
    Arc::new(Store::open(folder, StoreOptions::default()).unwrap())
}

/// A Broker with so many events, all settled, that is closed.
async fn ended(store: &Arc<Store>) -> Position {
    let channel = store.channel(&broker(), OPTIONS).await.unwrap();
    append(&*channel, &["a", "b", "c"]).await;
    let head = channel.head();
    channel.commit(vec![Progress::router(head).into()]).await.unwrap();
    channel.close().await.unwrap();
    head
}

/// The Broker as it is made after the one that was forgotten: empty, and at its end. It settles one event.
async fn begins_at(store: &Store, end: u64) {
    let channel = store.channel(&broker(), OPTIONS).await.unwrap();
    let usage = channel.usage();
    assert_eq!((usage.oldest, usage.head), (at(end), at(end)));
    assert_eq!(
        channel.router().await.unwrap(),
        at(end),
        "nothing is read before it"
    );
    assert!(!channel.recovered_uncleanly());
    let lanes = channel.open_lanes(vec![spec("t")]).await.unwrap();
    assert_eq!((lanes.len(), lanes[0].start), (1, at(end)));
    assert_eq!(append(&*channel, &["new"]).await, at(end));
    assert_eq!(events_from(&*channel, 0).await, ["new"]);
    assert_eq!(channel.metrics.lost_events.get(), 0, "nothing is lost");
    channel
        .commit(vec![Progress::router(at(end + 1)).into()])
        .await
        .unwrap();
    channel.close().await.unwrap();
}

/// Waits until what was thrown away is deleted, which happens afterwards.
async fn until_deleted(trash: &Path) {
    let empty = async {
        while std::fs::read_dir(trash).unwrap().count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), empty).await;
    assert!(waited.is_ok(), "{} is not empty", trash.display());
}

#[tokio::test]
async fn the_folder_goes_and_one_of_the_same_name_begins_above_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let channel = store.channel(&broker(), OPTIONS).await.unwrap();
    let refused = store.give_back(&broker(), channel.head()).await;
    assert!(matches!(refused, Err(OpenError::StillOpen(_))), "{refused:?}");
    channel.close().await.unwrap();
    drop(channel);
    let end = ended(&store).await;
    store.give_back(&broker(), end).await.unwrap();
    for round in 0..3 {
        assert_eq!(store.brokers().unwrap(), []);
        assert!(!folder.path().join("brokers/shop").exists());
        until_deleted(&folder.path().join("trash")).await;
        if round == 1 {
            drop(store);
            store = open(folder.path());
        }
        begins_at(&store, END + round).await;
        // An end that is lower changes nothing, and none is needed.
        let noted = if round == 1 { at(0) } else { at(END + round + 1) };
        store.give_back(&broker(), at(END + round + 1)).await.unwrap();
        store.give_back(&broker(), noted).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_crash_between_the_end_and_the_removal_the_broker_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let end = ended(&store).await;
    store.folder.note_end(&broker(), end.offset).unwrap();
    drop(store);
    let store = open(folder.path());
    let channel = store.channel(&broker(), OPTIONS).await.unwrap();
    assert_eq!(events_from(&*channel, 0).await, ["a", "b", "c"]);
    assert_eq!(append(&*channel, &["d"]).await, end);
    assert_eq!(channel.usage().oldest, at(0));
}

#[tokio::test]
async fn a_removal_that_a_crash_cut_off_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let end = ended(&store).await;
    store.folder.note_end(&broker(), end.offset).unwrap();
    drop(store);
    // What a crash leaves: the folder was moved away, and some of it deleted; and half of another end.
    let trash = folder.path().join("trash");
    std::fs::rename(folder.path().join("brokers/shop/default"), trash.join("0")).unwrap();
    std::fs::remove_file(trash.join("0/state.db")).unwrap();
    std::fs::write(trash.join("1"), "").unwrap();
    let store = open(folder.path());
    assert!(!trash.exists());
    assert_eq!(store.brokers().unwrap(), []);
    begins_at(&store, END).await;
}

#[tokio::test]
async fn wherever_a_crash_cuts_the_making_off_the_next_start_begins_above() {
    let path = |folder: &Path, below: &str| folder.join("brokers/shop/default").join(below);
    type Cut<'a> = (&'a str, &'a dyn Fn(&Path));
    let set = |folder: &Path, sql: &str| {
        let db = rusqlite::Connection::open(path(folder, "state.db")).unwrap();
        db.execute_batch(sql).unwrap();
    };
    let segments = |folder: &Path| {
        let all = std::fs::read_dir(path(folder, "log")).unwrap();
        all.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let cuts: [Cut<'_>; 5] = [
        ("only the folder", &|folder| {
            std::fs::remove_dir_all(path(folder, "")).unwrap();
            std::fs::create_dir_all(path(folder, "")).unwrap();
        }),
        ("no state", &|folder| {
            std::fs::remove_file(path(folder, "state.db")).unwrap();
            segments(folder)
                .iter()
                .for_each(|file| std::fs::remove_file(file).unwrap());
        }),
        ("no log", &|folder| {
            set(folder, "UPDATE channel SET router = 0");
            segments(folder)
                .iter()
                .for_each(|file| std::fs::remove_file(file).unwrap());
        }),
        ("a segment without its header", &|folder| {
            set(folder, "UPDATE channel SET router = 0");
            segments(folder)
                .iter()
                .for_each(|file| std::fs::write(file, "").unwrap());
        }),
        ("a router that was not set", &|folder| {
            set(folder, "UPDATE channel SET router = 0");
        }),
    ];
    for (cut, make) in cuts {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let end = ended(&store).await;
        store.give_back(&broker(), end).await.unwrap();
        let new = store.channel(&broker(), OPTIONS).await.unwrap();
        new.close().await.unwrap();
        drop((new, store));
        make(folder.path());
        tracing::info!(cut, "a crash");
        begins_at(&open(folder.path()), END).await;
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_noted_keeps_the_broker_and_one_that_cannot_be_read_opens_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let end = ended(&store).await;
    // A file stands where the folder of ends belongs.
    let ends = folder.path().join("ends");
    std::fs::write(&ends, "").unwrap();
    let refused = store.give_back(&broker(), end).await;
    assert!(matches!(refused, Err(OpenError::Files { .. })), "{refused:?}");
    std::fs::remove_file(&ends).unwrap();
    let channel = store.channel(&broker(), OPTIONS).await.unwrap();
    assert_eq!(events_from(&*channel, 0).await, ["a", "b", "c"]);
    channel.close().await.unwrap();
    store.give_back(&broker(), end).await.unwrap();
    std::fs::write(ends.join("shop/default"), "many").unwrap();
    let refused = store.channel(&broker(), OPTIONS).await;
    assert!(matches!(
        refused,
        Err(OpenError::Files {
            operation: "read",
            ..
        })
    ));
}

#[tokio::test]
async fn a_backup_knows_where_forgotten_brokers_ended() {
    let temp = tempfile::tempdir().unwrap();
    let (data, copy) = (temp.path().join("data"), temp.path().join("copy"));
    let store = open(&data);
    let end = ended(&store).await;
    store.give_back(&broker(), end).await.unwrap();
    backup(&data, &copy).unwrap();
    begins_at(&open(&copy), END).await;
}
