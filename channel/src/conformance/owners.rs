//! Owners that follow each other, commits that are cut off, and logs that lose what they acknowledged.

use std::time::Duration;

use super::{Backend, after, append, key, lane, parked, passed, read_all, rows, spec, stored, work};
use crate::{
    Change, Channel, ChannelError, GapReason, LaneId, LaneProgress, LaneState, Position, Progress, Stage,
};

/// A second owner, and the first one after it. `None`: the backend lets no second owner in while the first is
/// there; the first still commits.
pub(super) async fn only_the_newest_owner_commits(backend: &mut impl Backend) {
    let first = backend.open().await;
    let lane = lane(&*first, "a").await;
    let p = passed(&*first, &["0", "1", "2"]).await;
    let park = parked::park(lane, p[2], Stage::Subscriber, None);
    first.commit(vec![park]).await.unwrap();
    let Some(second) = backend.open_elsewhere().await else {
        first
            .commit(vec![Change::Put(work(lane, p[0], 1, 5))])
            .await
            .unwrap();
        assert_eq!(rows(&*first, lane).await.len(), 1);
        return;
    };
    let ours = work(lane, p[1], 1, 5);
    second.commit(vec![Change::Put(ours.clone())]).await.unwrap();
    let id = parked::all(&*first).await[0].id.clone();
    refused(first.commit(vec![Change::Put(work(lane, p[0], 1, 5))]).await);
    refused(first.commit(vec![Change::Complete(ours.key)]).await);
    refused(first.commit(vec![Progress::router(p[0]).into()]).await);
    refused(first.redrive(&id).await);
    refused(first.drop_parked(&id).await);
    refused(first.set_lane_state(lane, LaneState::Paused).await);
    refused(first.drop_lane(lane).await);
    refused(first.open_lanes(vec![spec("b")]).await);
    refused(first.close().await);
    let router = second.router().await.unwrap();
    for channel in [second, backend.open().await] {
        assert_eq!(rows(&*channel, lane).await, std::slice::from_ref(&ours));
        assert_eq!(parked::all(&*channel).await.len(), 1);
        assert!(channel.router().await.unwrap() == router && router > p[2]);
        assert_eq!(channel.lanes().await.unwrap().len(), 1);
        assert_eq!(stored(&*channel, lane).await.state, LaneState::Active);
    }
    // Anybody may append.
    first
        .log()
        .append(vec![super::event("3")], crate::Class::Producer)
        .await
        .unwrap();
}

/// Whether the commit comes to its end in a while.
async fn ended(commit: impl Future<Output = Result<(), ChannelError>>) -> bool {
    let outcome = tokio::time::timeout(Duration::from_secs(10), commit).await;
    outcome.is_ok_and(|committed| committed.is_ok())
}

/// It is refused, or does not count; the caller looks at what counts.
fn refused<T>(outcome: Result<T, ChannelError>) {
    if let Err(error) = outcome {
        assert_eq!(error, ChannelError::NotOwner);
    }
}

/// The state after a large commit, as far as it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    puts: usize,
    progress: bool,
    removals: usize,
}

const EACH: usize = 4;

/// A commit that puts rows for new events, passes them, and completes older rows.
fn large(lane: LaneId, old: &[Position], new: &[Position]) -> Vec<Change> {
    let done = old
        .iter()
        .map(|position| Change::Complete(key(lane, *position, Stage::Subscriber)));
    let progress = Progress {
        router: new.last().map(|last| after(*last)),
        lanes: vec![LaneProgress {
            lane,
            cursor: None,
            queued: None,
            unsettled: vec![],
        }],
    };
    let put = new
        .iter()
        .map(|position| Change::Put(work(lane, *position, 1, 5)));
    // In no order of theirs: the backend stores them in the contract's.
    done.chain([progress.into()]).chain(put).collect()
}

async fn kept(channel: &dyn Channel, lane: LaneId, old: &[Position], new: &[Position]) -> Kept {
    let progress = channel.router().await.unwrap() == after(*new.last().expect("some"));
    let (mut puts, mut removals) = (0, 0);
    for (position, count) in old
        .iter()
        .map(|one| (one, false))
        .chain(new.iter().map(|one| (one, true)))
    {
        let found = channel.rows_of(&[lane], *position).await.unwrap();
        match count {
            true => puts += found.len(),
            false => removals += 1 - found.len(),
        }
    }
    Kept {
        puts,
        progress,
        removals,
    }
}

pub(super) async fn a_commit_that_is_cut_off_leaves_all_of_it_or_its_first_part(backend: &mut impl Backend) {
    let (mut first, mut parts) = (true, Vec::new());
    for chunks in 0..3 * EACH {
        let channel = backend.open().await;
        let lane = match first {
            true => lane(&*channel, "a").await,
            false => channel.lanes().await.unwrap()[0].id,
        };
        first = false;
        let old = passed(&*channel, &["0", "1", "2", "3"]).await;
        let put = old
            .iter()
            .map(|position| Change::Put(work(lane, *position, 1, 5)));
        channel.commit(put.collect()).await.unwrap();
        let new = append(&*channel, &["4", "5", "6", "7"]).await;
        if !backend.cut(chunks) {
            return;
        }
        let is_whole = ended(channel.commit(large(lane, &old, &new))).await;
        drop(channel);
        let channel = backend.open().await;
        let kept = kept(&*channel, lane, &old, &new).await;
        assert!(
            kept.progress || kept.removals == 0,
            "removals come last: {kept:?}"
        );
        assert!(!kept.progress || kept.puts == EACH, "puts come first: {kept:?}");
        if is_whole {
            assert_eq!((kept.puts, kept.removals), (EACH, EACH));
        }
        covers_what_is_owed(&*channel, lane, &new, kept).await;
        // The same changes may be given again.
        channel.commit(large(lane, &old, &new)).await.unwrap();
        let all = rows(&*channel, lane)
            .await
            .into_iter()
            .map(|row| row.key.position);
        let of_this: Vec<_> = all
            .filter(|position| old.contains(position) || new.contains(position))
            .collect();
        assert_eq!(of_this, new, "due from now on");
        assert_eq!(stored(&*channel, lane).await.covered, []);
        let done = new
            .iter()
            .map(|position| Change::Complete(key(lane, *position, Stage::Subscriber)));
        channel.commit(done.collect()).await.unwrap();
        parts.push(kept);
    }
    let is_part = |kept: &Kept| kept.puts > 0 && !kept.progress;
    let cut_inside = parts.iter().any(is_part);
    let is_atomic = backend.open().await.log().guarantees().atomic_commit;
    assert_eq!(cut_inside, !is_atomic, "{parts:?}");
}

/// Rows of events that stored progress still owes are known to the lane, and nobody acts on them.
async fn covers_what_is_owed(channel: &dyn Channel, lane: LaneId, new: &[Position], kept: Kept) {
    let lane_now = stored(channel, lane).await;
    let due = rows(channel, lane).await;
    let due_of_new = due.iter().filter(|row| new.contains(&row.key.position)).count();
    if kept.progress {
        assert_eq!((lane_now.covered, due_of_new), (vec![], EACH));
    } else {
        assert_eq!((lane_now.covered.len(), due_of_new), (kept.puts, 0));
    }
}

pub(super) async fn what_is_parked_for_an_event_that_is_owed_waits_for_progress(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = append(&*channel, &["0"]).await;
    let park = parked::park(lane, p[0], Stage::Subscriber, None);
    let progress: Change = Progress::router(after(p[0])).into();
    if !backend.cut(1) {
        return;
    }
    // If it was stored in one step, it is there as a whole.
    let is_whole = ended(channel.commit(vec![park, progress.clone()])).await;
    drop(channel);
    let channel = backend.open().await;
    if !is_whole {
        assert_eq!(stored(&*channel, lane).await.covered, p);
        assert_eq!(parked::all(&*channel).await, []);
    }
    let commands = channel.commands();
    channel.commit(vec![progress]).await.unwrap();
    assert_eq!(parked::all(&*channel).await.len(), 1);
    assert!(
        is_whole || commands.has_changed().unwrap(),
        "the dispatcher looks again"
    );
}

pub(super) async fn a_log_that_lost_its_end_is_read_on_without_skipping_what_is_new(
    backend: &mut impl Backend,
) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    let lost = passed(&*channel, &["2", "3", "4"]).await;
    let row = work(lane, lost[0], 1, 5);
    channel.commit(vec![Change::Put(row.clone())]).await.unwrap();
    if !backend.lose_suffix(lost[0]).await {
        return;
    }
    // Anybody goes on appending: the log gives the lost events' numbers again.
    channel
        .log()
        .append(vec![super::event("5")], crate::Class::Producer)
        .await
        .unwrap();
    channel
        .log()
        .append(vec![super::event("6")], crate::Class::Producer)
        .await
        .unwrap();
    refused(channel.commit(vec![Progress::router(p[0]).into()]).await);
    drop(channel);
    let channel = backend.open().await;
    let router = channel.router().await.unwrap();
    assert!(router <= lost[0], "it is read again from before the loss");
    let read = read_all(&*channel, router).await;
    let new: Vec<_> = read.iter().filter(|(_, id)| id == "5" || id == "6").collect();
    assert_eq!(new.len(), 2, "{read:?}");
    assert!(
        new.iter().all(|(position, _)| *position > lost[2]),
        "no position is used twice"
    );
    let batch = channel.log().reader(router).try_next(10, 1 << 20).await.unwrap();
    let gap = batch
        .gaps
        .iter()
        .find(|gap| gap.reason == GapReason::Lost)
        .expect("it is told");
    assert!(gap.from <= lost[0] && gap.to > lost[2] && gap.to <= new[0].0);
    // A row keeps what it stands for.
    let event = channel.get(lost[0]).await.unwrap().expect("a copy is kept");
    assert_eq!(event.event, super::event("2"));
    assert_eq!(channel.find("2", None, 9).await.unwrap(), [lost[0]], "and found");
    channel
        .commit(vec![Progress::router(channel.head()).into()])
        .await
        .unwrap();
    assert_eq!(rows(&*channel, lane).await, [row]);
    assert!(stored(&*channel, lane).await.start <= router);
}

/// A lane may have read, or begun, above the router. What comes in the place of the lost is new to it.
pub(super) async fn a_lane_that_was_ahead_of_a_loss_skips_nothing_that_is_new(backend: &mut impl Backend) {
    for is_refilled in [true, false] {
        let channel = backend.open().await;
        passed(&*channel, &["0", "1"]).await;
        let ahead = lane(&*channel, "ahead").await;
        let halted = lane(&*channel, "halted").await;
        let lost = append(&*channel, &["2", "3", "4"]).await;
        let lanes = [ahead, halted].map(|lane| LaneProgress {
            lane,
            cursor: Some(channel.head()),
            queued: None,
            unsettled: vec![],
        });
        let progress = Progress {
            router: None,
            lanes: lanes.to_vec(),
        };
        channel.commit(vec![progress.into()]).await.unwrap();
        let begins = format!("begins-{is_refilled}");
        let begins = lane(&*channel, &begins).await;
        channel.set_lane_state(halted, LaneState::Paused).await.unwrap();
        if !backend.lose_suffix(lost[0]).await {
            return;
        }
        let new = super::event("5");
        let more = vec![new, super::event("6"), super::event("7"), super::event("8")];
        if is_refilled {
            channel
                .log()
                .append(more.clone(), crate::Class::Producer)
                .await
                .unwrap();
        }
        drop(channel);
        let channel = backend.open().await;
        if !is_refilled {
            channel.log().append(more, crate::Class::Producer).await.unwrap();
        }
        let router = channel.router().await.unwrap();
        let read = read_all(&*channel, router).await;
        let (first, _) = read.iter().find(|(_, id)| id == "5").expect("it is read");
        for (id, lane) in [("ahead", ahead), ("begins", begins), ("halted", halted)] {
            let lane = stored(&*channel, lane).await;
            let follows = lane.cursor.is_none();
            assert!(id != "halted" || !follows, "it follows no router");
            let reads_on = lane.cursor.unwrap_or(router).max(lane.start);
            assert!(reads_on <= *first, "{id}, refilled: {is_refilled}");
        }
        // What no row names is gone, also from what is found.
        assert_eq!(channel.find("3", None, 9).await.unwrap(), []);
        channel
            .commit(vec![Progress::router(channel.head()).into()])
            .await
            .unwrap();
    }
}

pub(super) async fn a_filter_is_stored_before_the_progress_that_comes_with_it(backend: &mut impl Backend) {
    for chunks in 0..2 {
        let channel = backend.open().await;
        let name = format!("a{chunks}");
        let lane = lane(&*channel, &name).await;
        let p = append(&*channel, &["0", "1"]).await;
        if !backend.cut(chunks) {
            return;
        }
        let progress = Progress {
            router: Some(after(p[1])),
            lanes: vec![LaneProgress {
                lane,
                cursor: None,
                queued: Some(p[0]),
                unsettled: vec![],
            }],
        };
        let change = Change::Filter {
            lane,
            from: p[1],
            filter: "another".to_owned(),
        };
        ended(channel.commit(vec![progress.into(), change])).await;
        drop(channel);
        let channel = backend.open().await;
        let has_progress = channel.router().await.unwrap() == after(p[1]);
        let has_filter = !stored(&*channel, lane).await.earlier.is_empty();
        assert!(has_filter || !has_progress, "cut after {chunks}");
    }
}
