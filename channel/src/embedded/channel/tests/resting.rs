//! An idle channel keeps no file open, wakes for the next event, and tells truly how its last run ended.

use super::*;

/// What this process has open below a folder.
fn open_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    // One that is closed meanwhile leads nowhere.
    let targets = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(folder)).collect()
}

/// Waits until nothing is open there: the upkeep may be looking at a moment.
async fn until_none_open(folder: &Path) {
    let closed = async {
        while !open_below(folder).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(waited.is_ok(), "{:?} are open", open_below(folder));
}

fn brokers_of(folder: &Path) -> std::path::PathBuf {
    folder.canonicalize().unwrap().join("brokers")
}

fn open(folder: &Path, clock: &Clock) -> Arc<Embedded> {
    open_on(folder, 1 << 40, SMALL, clock)
}

/// Lets it rest. Its upkeep may be reading at a moment; then it rests at the next try.
async fn until_rests(channel: &Arc<Embedded>) {
    loop {
        channel.rest().await;
        if channel.rests() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Ends it as a kill does. Its upkeep may have it in hand for a moment.
async fn kill(channel: Arc<Embedded>) {
    while Arc::strong_count(&channel) > 1 {
        tokio::task::yield_now().await;
    }
    drop(channel);
}

#[tokio::test]
async fn an_idle_channel_keeps_no_file_open_and_wakes_for_the_next_event() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let brokers = brokers_of(folder.path());
    until_none_open(&brokers).await;
    for round in 0..3 {
        append(&*channel, &["a", "b"]).await;
        assert_ne!(open_below(&brokers), [] as [&Path; 0]);
        settle_all(&channel).await;
        until_rests(&channel).await;
        until_none_open(&brokers).await;
        // Looking at it opens files for as long as that takes.
        assert_eq!(events_from(&*channel, 0).await.len(), 2 * (round + 1));
        assert_eq!(channel.lanes().await.unwrap().len(), 0);
        channel.log.look_over().await.unwrap();
        channel.state.look_over().await;
        assert_eq!(channel.fault(), None);
        until_none_open(&brokers).await;
    }
    assert_eq!(channel.usage().head, at(6));
    channel.close().await.unwrap();
    kill(channel).await;
    let again = open(folder.path(), &clock);
    assert!(!again.recovered_uncleanly());
    // Nor does a known one begin with open files.
    until_none_open(&brokers).await;
    assert_eq!(events_from(&*again, 0).await.len(), 6);
}

#[tokio::test]
async fn an_end_counts_as_clean_only_while_nothing_was_stored_since_it_rested() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    for (stores, expected) in [(false, false), (true, true), (false, false)] {
        let channel = open(folder.path(), &clock);
        append(&*channel, &["a"]).await;
        settle_all(&channel).await;
        until_rests(&channel).await;
        if stores {
            append(&*channel, &["b"]).await;
        }
        kill(channel).await;
        let channel = open(folder.path(), &clock);
        assert_eq!(channel.recovered_uncleanly(), expected, "stores: {stores}");
        settle_all(&channel).await;
        channel.close().await.unwrap();
        kill(channel).await;
    }
}

#[tokio::test]
async fn a_channel_that_owes_something_keeps_its_files() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    append(&*channel, &["a"]).await;
    channel.rest().await;
    assert!(!channel.rests(), "an event that nobody has read");
    channel
        .commit(vec![put(lane, 0), Progress::router(channel.head()).into()])
        .await
        .unwrap();
    channel.rest().await;
    assert!(!channel.rests(), "an attempt that is due");
    let row = WorkKey {
        lane,
        position: at(0),
        stage: Stage::Subscriber,
    };
    channel.commit(vec![Change::Complete(row)]).await.unwrap();
    until_rests(&channel).await;
    // A command wakes it too.
    channel.set_lane_state(lane, LaneState::Paused).await.unwrap();
    assert!(!channel.rests());
    until_rests(&channel).await;
    assert_eq!(channel.lanes().await.unwrap()[0].state, LaneState::Paused);
}

#[tokio::test]
async fn appends_and_rests_at_the_same_time_lose_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let rests = async {
        for _ in 0..60 {
            settle_all(&channel).await;
            channel.rest().await;
        }
    };
    let appends = async {
        for n in 0..60 {
            append(&*channel, &[&n.to_string()]).await;
        }
    };
    tokio::join!(rests, appends);
    let expected: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(events_from(&*channel, 0).await, expected);
    kill(channel).await;
    assert_eq!(events_from(&*open(folder.path(), &clock), 0).await, expected);
}

#[tokio::test]
async fn files_that_vanish_while_it_rests_are_noticed_and_take_no_event() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    append(&*channel, &["a"]).await;
    settle_all(&channel).await;
    until_rests(&channel).await;
    let broker = brokers_of(folder.path()).join("shop/default");
    // Another database, also where it got the same inode number.
    let (database, aside) = (broker.join("state.db"), broker.join("aside"));
    std::fs::rename(&database, &aside).unwrap();
    std::fs::copy(&aside, &database).unwrap();
    let refused = channel.append(vec![event("b")], Class::Producer).await;
    assert!(
        matches!(&refused, Err(AppendError::Storage(why)) if why.contains("state.db")),
        "{refused:?}"
    );
    assert!(channel.fault().is_some());
    std::fs::rename(&aside, &database).unwrap();
    channel.state.look_over().await;
    append(&*channel, &["b"]).await;
    settle_all(&channel).await;
    until_rests(&channel).await;
    // A segment: the next event goes into a new one.
    for file in std::fs::read_dir(broker.join("log")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let at = append(&*channel, &["c"]).await;
    assert_eq!(at, super::at(2), "no position is used again");
    kill(channel).await;
    assert_eq!(events_from(&*open(folder.path(), &clock), 2).await, ["c"]);
}
