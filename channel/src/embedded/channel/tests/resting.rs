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

/// Keeps its upkeep from its next round, so that only the test puts it to rest.
async fn untended(channel: &Embedded) -> tokio::sync::OwnedMutexGuard<()> {
    channel.tending.clone().lock_owned().await
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

fn delivered(position: Position) -> Attempt {
    Attempt {
        position,
        trigger: ObjectName::new("shop", "a"),
        stage: Stage::Subscriber,
        attempt: 1,
        at: Timestamp(1),
        millis: 2,
        status: Some(200),
        outcome: crate::AttemptOutcome::Delivered,
        detail: String::new(),
        answer: String::new(),
    }
}

/// The names of what is open of the only channel, in order.
fn names_open(brokers: &Path) -> Vec<String> {
    let name = |path: std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<_> = open_below(brokers).into_iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_busy_channel_has_four_files_open_whatever_is_asked_of_it() {
    const FOUR: [&str; 4] = [
        "00000000000000000000.log",
        "state.db",
        "state.db-shm",
        "state.db-wal",
    ];
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let brokers = brokers_of(folder.path());
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    for n in 0..3 {
        append(&*channel, &["a", "b"]).await;
        channel.commit(vec![put(lane, n)]).await.unwrap();
        channel.record(delivered(at(n)));
        channel.history.flush().await;
        // Those that deliver ask this all the time.
        assert_eq!(
            channel.due(lane, Timestamp(i64::MAX), 10).await.unwrap().len() as u64,
            n + 1
        );
        channel.next_due(lane, Timestamp(i64::MIN)).await.unwrap();
        channel.rows_of(&[lane], at(n)).await.unwrap();
        channel.lanes().await.unwrap();
        channel.state.give_back().await.unwrap();
        assert_eq!(channel.attempts(at(n)).await.unwrap().len(), 1);
        assert_eq!(names_open(&brokers), FOUR);
    }
    // SQLite keeps the descriptor of a search as long as the database is open.
    let query = ParkedQuery {
        limit: 10,
        ..ParkedQuery::default()
    };
    for _ in 0..3 {
        channel.parked(query.clone()).await.unwrap();
        assert_eq!(names_open(&brokers).len(), FOUR.len() + 1);
    }
}

#[tokio::test]
async fn a_known_channel_that_owes_nothing_is_opened_without_a_change_to_its_files() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let broker = brokers_of(folder.path()).join("shop/default");
    channel.open_lanes(vec![spec("a")]).await.unwrap();
    append(&*channel, &["a"]).await;
    settle_all(&channel).await;
    channel.close().await.unwrap();
    kill(channel).await;
    let times = || {
        let paths = [broker.clone(), broker.join("state.db"), broker.join("log")];
        paths.map(|path| std::fs::metadata(path).unwrap().modified().unwrap())
    };
    let before = times();
    let channel = open(folder.path(), &clock);
    assert!(channel.rests() && !channel.recovered_uncleanly());
    assert_eq!((channel.router().await.unwrap(), channel.head()), (at(1), at(1)));
    channel.close().await.unwrap();
    assert_eq!(times(), before);
    kill(channel).await;
    // A clock that runs differently is written down, and it rests all the same.
    clock.set(Timestamp(clock.now().0 + 3_600_000));
    let channel = open(folder.path(), &clock);
    assert!(channel.rests());
    assert_ne!(times(), before);
    append(&*channel, &["b"]).await;
    assert_eq!(events_from(&*channel, 0).await, ["a", "b"]);
}

#[tokio::test]
async fn lanes_that_are_there_already_wake_nobody() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let specs = vec![spec("a"), spec("b")];
    let lanes = channel.open_lanes(specs.clone()).await.unwrap();
    append(&*channel, &["a"]).await;
    settle_all(&channel).await;
    channel.close().await.unwrap();
    kill(channel).await;
    let channel = open(folder.path(), &clock);
    assert_eq!(channel.open_lanes(specs.clone()).await.unwrap(), lanes);
    assert!(channel.rests());
    // The connection that has read the lanes is closed after it has answered.
    until_none_open(&brokers_of(folder.path())).await;
    assert!(channel.rests());
    // What is new, changed or back does wake it.
    let _tending = untended(&channel).await;
    let another = LaneSpec {
        filter: "another".to_owned(),
        ..spec("b")
    };
    let lane = lanes[0].id;
    let orphaned = LaneState::Orphaned(clock.steady());
    for (what, specs) in [
        ("a new trigger", vec![spec("a"), spec("c")]),
        ("another filter", vec![spec("a"), another]),
        ("an orphan", vec![spec("a")]),
    ] {
        if what == "an orphan" {
            channel.set_lane_state(lane, orphaned).await.unwrap();
        }
        until_rests(&channel).await;
        let opened = channel.open_lanes(specs.clone()).await.unwrap();
        assert!(!channel.rests(), "{what}");
        until_rests(&channel).await;
        assert_eq!(channel.open_lanes(specs).await.unwrap(), opened, "{what}: once");
        assert!(channel.rests(), "{what}: once");
    }
}

#[tokio::test]
async fn a_look_at_rest_tells_what_needs_the_upkeep() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    append(&*channel, &["a"]).await;
    settle_all(&channel).await;
    until_rests(&channel).await;
    let tending = untended(&channel).await;
    assert!(!channel.needs_upkeep(false), "all is in order");
    let database = brokers_of(folder.path()).join("shop/default/state.db");
    let aside = database.with_file_name("aside");
    std::fs::rename(&database, &aside).unwrap();
    assert!(channel.needs_upkeep(false), "its database is gone");
    std::fs::rename(&aside, &database).unwrap();
    assert!(!channel.needs_upkeep(false), "it is back");
    assert!(channel.needs_upkeep(true), "others need the room of its history");
    clock.set(Timestamp(clock.now().0 + 3_600_000));
    assert!(channel.needs_upkeep(false), "the clock was set");
    clock.set(Timestamp(clock.now().0 - 3_600_000));
    assert!(!channel.needs_upkeep(false));
    clock.advance(Duration::from_secs(25 * 3_600));
    assert!(channel.needs_upkeep(false), "its history is too old");
    drop(tending);
}

#[tokio::test]
async fn a_resting_channel_that_a_command_wakes_leaves_the_rounds_and_rests_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open(folder.path(), &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    let _tending = untended(&channel).await;
    until_rests(&channel).await;
    channel.enters_rounds();
    assert!(channel.look_at_rest(false));
    channel.set_lane_state(lane, LaneState::Paused).await.unwrap();
    assert!(!channel.look_at_rest(false), "its own upkeep goes on");
    assert!(channel.enters_rounds(), "it may come back");
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
    let _tending = untended(&channel).await;
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
