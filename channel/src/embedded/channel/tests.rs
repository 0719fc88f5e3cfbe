//! What the channel promises beyond the contract of every backend: limits, retention, copies, and a disk that
//! fills up under one channel or several.

mod given_back;
mod resting;
mod sharing;

use std::path::Path;
use std::time::Duration;

use millrace_event::Clock;

use super::testing::*;
use super::*;
use crate::embedded::Durability;
use crate::embedded::disk::testing::Small;
use crate::embedded::metrics::Metrics;
use crate::{Change, Class, GapReason, LaneProgress, Log as _, Progress, Stage, WorkKey, conformance};

const MIB: u64 = 1 << 20;

/// Events of this size fill a segment of the least size (256 KiB) by threes.
const LARGE: usize = 80 << 10;

fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

/// A channel on a volume of `total` bytes.
fn open_on(folder: &Path, total: u64, options: ChannelOptions, clock: &Clock) -> Arc<Embedded> {
    let around = surroundings(folder, total, clock);
    Embedded::open(&broker(), options, around, Metrics::default().of(&broker())).unwrap()
}

/// A data folder on a volume of `total` bytes.
fn surroundings(folder: &Path, total: u64, clock: &Clock) -> Surroundings {
    let volume = Small {
        folder: folder.to_owned(),
        total,
    };
    let store = StoreOptions {
        durability: Durability::Os,
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let disk = Arc::new(Disk::new(Box::new(volume)));
    let ballast = Arc::new(Ballast::new(folder));
    Surroundings {
        options: store,
        rounds: Rounds::of(disk.clone(), ballast.clone()),
        disk,
        ballast,
        pool: Default::default(),
        idle_rounds: Arc::new(Semaphore::new(crate::embedded::store::IDLE_ROUNDS)),
        shares: Arc::default(),
        folder: Arc::new(DataFolder::open(folder).unwrap()),
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp(1_000_000))
}

/// Small segments: the history that is kept is small.
const SMALL: ChannelOptions = ChannelOptions {
    retention_bytes: MIB,
    ..OPTIONS
};

/// Appends large events until one is refused; says how many went in, and the code.
async fn fill(channel: &Embedded, at_most: u64) -> (u64, Option<&'static str>) {
    for n in 0..at_most {
        match channel
            .append(vec![sized(&n.to_string(), LARGE)], Class::Producer)
            .await
        {
            Ok(()) => {}
            Err(AppendError::Full {
                code, retry_after, ..
            }) => {
                assert!(retry_after > Duration::ZERO);
                return (n, Some(code));
            }
            Err(other) => panic!("{other}"),
        }
    }
    (at_most, None)
}

async fn settle_all(channel: &Embedded) {
    channel
        .commit(vec![Progress::router(channel.head()).into()])
        .await
        .unwrap();
}

fn park(lane: LaneId, offset: u64) -> Change {
    Change::Park {
        key: WorkKey {
            lane,
            position: at(offset),
            stage: Stage::Subscriber,
        },
        reason: "no".to_owned(),
        since: Timestamp(0),
        attempts: 1,
        failures: Vec::new(),
        body: None,
    }
}

fn put(lane: LaneId, offset: u64) -> Change {
    Change::Put(conformance::work(lane, at(offset), 1, 0))
}

#[tokio::test]
async fn settled_history_goes_when_it_is_old_and_what_is_held_stays() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open_on(folder.path(), 1 << 40, SMALL, &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    fill(&channel, 9).await;
    let held = LaneProgress {
        lane,
        cursor: None,
        queued: None,
        unsettled: vec![at(4)],
    };
    let progress = Progress {
        router: Some(at(9)),
        lanes: vec![held],
    };
    channel.commit(vec![progress.into()]).await.unwrap();
    clock.advance(Duration::from_secs(23 * 3_600));
    channel.retain(0).await.unwrap();
    assert_eq!(channel.usage().oldest, at(0), "not yet a day old");
    clock.advance(Duration::from_secs(2 * 3_600));
    channel.retain(0).await.unwrap();
    let oldest = channel.usage().oldest;
    assert!(at(0) < oldest && oldest <= at(4), "{oldest}");
    assert!(channel.get(at(4)).await.unwrap().is_some());
    channel
        .commit(vec![
            LaneProgress {
                lane,
                cursor: None,
                queued: None,
                unsettled: vec![],
            }
            .into(),
        ])
        .await
        .unwrap();
    channel.retain(0).await.unwrap();
    assert_eq!(channel.usage().oldest, at(9), "also the segment that was written");
    assert_eq!(append(&*channel, &["next"]).await, at(9));
}

#[tokio::test]
async fn settled_history_stays_within_its_bytes() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open_on(folder.path(), 1 << 40, SMALL, &clock);
    fill(&channel, 40).await;
    assert!(
        channel.usage().log_bytes > 3 * MIB,
        "what is not settled is not history"
    );
    settle_all(&channel).await;
    channel.retain(0).await.unwrap();
    assert!(channel.usage().log_bytes <= MIB);
}

#[tokio::test]
async fn events_that_rows_name_stay_readable_until_the_last_row_is_gone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open_on(folder.path(), 1 << 40, SMALL, &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    fill(&channel, 9).await;
    let appended = channel.get(at(1)).await.unwrap().unwrap().appended;
    channel
        .commit(vec![
            put(lane, 0),
            put(lane, 1),
            park(lane, 1),
            park(lane, 2),
            Progress::router(at(9)).into(),
        ])
        .await
        .unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    channel.retain(0).await.unwrap();
    assert_eq!(channel.usage().oldest, at(9));
    drop(channel);
    let channel = loop {
        // The upkeep of the one before has it in hand for a moment.
        if DataFolder::open(folder.path()).is_ok() {
            break open_on(folder.path(), 1 << 40, SMALL, &clock);
        }
        tokio::task::yield_now().await;
    };
    for offset in 0..3 {
        let record = channel
            .get(at(offset))
            .await
            .unwrap()
            .expect("kept beside the log");
        assert_eq!((record.position, record.appended), (at(offset), appended));
        assert_eq!(record.event, sized(&offset.to_string(), LARGE));
        let found = channel.find(&offset.to_string(), None, 9).await.unwrap();
        assert_eq!(found, [at(offset)], "also by its id");
    }
    assert_eq!(channel.find("0", Some("/other"), 9).await.unwrap(), []);
    assert_eq!(channel.find("3", None, 9).await.unwrap(), []);
    assert!(channel.get(at(3)).await.unwrap().is_none(), "nobody named it");
    let parked = channel
        .parked(ParkedQuery {
            limit: 9,
            ..ParkedQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(parked.iter().filter(|one| one.event.is_some()).count(), 2);
    // Moving on keeps the copy, being done with it does not.
    assert!(channel.redrive(&parked[0].id).await.unwrap());
    assert!(channel.get(at(1)).await.unwrap().is_some());
    let done = |offset| {
        Change::Complete(WorkKey {
            lane,
            position: at(offset),
            stage: Stage::Subscriber,
        })
    };
    channel.commit(vec![done(0), done(1)]).await.unwrap();
    channel.drop_parked(&parked[1].id).await.unwrap();
    for offset in 0..3 {
        assert!(channel.get(at(offset)).await.unwrap().is_none(), "{offset}");
    }
}

#[tokio::test]
async fn producers_are_turned_away_at_the_backlog_limit_until_lanes_have_settled() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let options = ChannelOptions {
        backlog_bytes: Some(MIB),
        ..SMALL
    };
    let channel = open_on(folder.path(), 1 << 40, options, &clock);
    let (stored, code) = fill(&channel, 100).await;
    assert_eq!(code, Some("backlog-full"));
    assert!((10..=13).contains(&stored), "about a MiB: {stored}");
    assert!(
        channel
            .usage()
            .refusing
            .is_some_and(|reason| reason.contains("1.0 MiB"))
    );
    channel
        .append(vec![sized("reply", LARGE)], Class::Reserve)
        .await
        .unwrap();
    channel
        .commit(vec![Progress::router(at(stored / 2)).into()])
        .await
        .unwrap();
    let (more, code) = fill(&channel, 100).await;
    assert_eq!(code, Some("backlog-full"));
    assert!(
        (stored / 2 - 2..=stored / 2 + 1).contains(&more),
        "half of it: {more} of {stored}"
    );
    settle_all(&channel).await;
    assert_eq!(channel.usage().refusing, None);
    assert_eq!(channel.metrics.dropped_events.get(), 0);
    channel.set_options(ChannelOptions {
        backlog_bytes: None,
        ..options
    });
    assert_eq!(fill(&channel, 30).await, (30, None), "the limit is gone at once");
}

#[tokio::test]
async fn drop_oldest_skips_the_hindmost_forward_and_says_so() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let options = ChannelOptions {
        backlog_bytes: Some(2 * MIB),
        drop_oldest: true,
        ..SMALL
    };
    let channel = open_on(folder.path(), 1 << 40, options, &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    fill(&channel, 3).await;
    let behind = LaneProgress {
        lane,
        cursor: Some(at(0)),
        queued: None,
        unsettled: vec![],
    };
    channel.commit(vec![put(lane, 1), behind.into()]).await.unwrap();
    assert_eq!(fill(&channel, 100).await, (100, None));
    let usage = channel.usage();
    assert!(
        usage.log_bytes <= 2 * MIB + (LARGE as u64) * 4,
        "{}",
        usage.log_bytes
    );
    assert_eq!((usage.refusing, usage.dropped), (None, usage.oldest.offset));
    let mut reader = channel.log().reader(at(0));
    let batch = reader.try_next(1, 1).await.unwrap();
    let gap = batch.gaps[0];
    assert_eq!(
        (gap.from, gap.to, gap.reason),
        (at(0), usage.oldest, GapReason::Dropped)
    );
    assert!(
        channel.get(at(1)).await.unwrap().is_some(),
        "rows keep what they name"
    );
    assert!(channel.get(at(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_volume_leaves_the_reserve_and_drains_by_itself() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let total = 16 * MIB;
    let channel = open_on(folder.path(), total, OPTIONS, &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    let (stored, code) = fill(&channel, 1_000).await;
    assert_eq!(code, Some("disk-full"));
    let space = channel.disk.space().unwrap();
    assert!(
        space.free >= total / 4 - (LARGE as u64) * 2,
        "the reserve is left: {space:?}"
    );
    assert!(
        channel
            .usage()
            .refusing
            .is_some_and(|reason| reason.contains("4.0 MiB"))
    );
    channel
        .append(vec![sized("reply", LARGE)], Class::Reserve)
        .await
        .unwrap();
    // Half is delivered: its segments go before the next producer would be refused.
    channel
        .commit(vec![park(lane, 0), Progress::router(at(stored / 2)).into()])
        .await
        .unwrap();
    let (more, code) = fill(&channel, 1_000).await;
    assert_eq!(code, Some("disk-full"));
    // But for the segment that is half settled, and what the copy of the parked event takes in the state and
    // its journal.
    assert!(more >= stored / 2 - 12, "{more} of {stored}");
    assert!(channel.get(at(0)).await.unwrap().is_some(), "parked");
    settle_all(&channel).await;
    assert_eq!(channel.usage().refusing, None);
    assert!(fill(&channel, 10).await.1.is_none());
}

#[tokio::test]
async fn positions_that_only_state_names_are_not_given_out_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let channel = open_on(folder.path(), 1 << 40, SMALL, &clock);
    let lane = channel.open_lanes(vec![spec("a")]).await.unwrap()[0].id;
    append(&*channel, &["0", "1"]).await;
    channel.commit(vec![put(lane, 1)]).await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    // The log loses its end, as a broken disk may.
    let logs = folder.path().join("brokers/shop/default/log");
    for file in std::fs::read_dir(&logs).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let channel = open_on(folder.path(), 1 << 40, SMALL, &clock);
    assert_eq!(append(&*channel, &["new"]).await, at(2));
    assert!(
        channel.get(at(1)).await.unwrap().is_none(),
        "a row whose event is gone"
    );
    assert!(channel.metrics.lost_events.get() > 0);
    assert_eq!(events_from(&*channel, 0).await, ["new"]);
}
