//! Rows of work.

use millrace_event::Timestamp;

use super::{Backend, after, event, failure, key, lane, numbers, passed, rows, stored, work};
use crate::{Change, LaneProgress, Progress, Stage, Work};

pub(super) async fn a_row_comes_back_as_it_was_put(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1"]).await;
    let plain = work(lane, p[0], 0, 10);
    let full = Work {
        key: key(lane, p[1], Stage::Reply),
        attempt: 3,
        due: Timestamp(20),
        open: true,
        crashes: 2,
        suspect: true,
        undecided: true,
        failures: vec![failure(0), failure(1)],
        body: Some(event("reply")),
    };
    channel
        .commit(vec![Change::Put(plain.clone()), Change::Put(full.clone())])
        .await
        .unwrap();
    assert_eq!(rows(&*channel, lane).await, [plain.clone(), full.clone()]);
    drop(channel);
    assert_eq!(rows(&*backend.open().await, lane).await, [plain, full]);
}

pub(super) async fn changes_can_be_committed_again_without_effect(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1", "2"]).await;
    let letter = Work {
        key: key(lane, p[1], Stage::DeadLetter),
        ..work(lane, p[1], 0, 5)
    };
    let changes = vec![
        Change::Put(work(lane, p[0], 1, 5)),
        Change::Put(work(lane, p[1], 1, 5)),
        Change::Put(work(lane, p[2], 1, 5)),
        Change::Advance {
            from: key(lane, p[1], Stage::Subscriber),
            to: letter.clone(),
        },
        Change::Progress(Progress {
            router: Some(after(p[2])),
            lanes: vec![LaneProgress {
                lane,
                cursor: Some(after(p[2])),
                queued: None,
                unsettled: vec![],
            }],
        }),
        Change::Complete(key(lane, p[2], Stage::Subscriber)),
    ];
    for _ in 0..3 {
        channel.commit(changes.clone()).await.unwrap();
        assert_eq!(
            rows(&*channel, lane).await,
            [work(lane, p[0], 1, 5), letter.clone()]
        );
    }
}

pub(super) async fn changes_of_one_call_are_applied_in_order(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    let (put, done) = (
        Change::Put(work(lane, p[0], 0, 1)),
        Change::Complete(key(lane, p[0], Stage::Subscriber)),
    );
    channel.commit(vec![put.clone(), done.clone()]).await.unwrap();
    assert_eq!(rows(&*channel, lane).await, []);
    channel.commit(vec![done, put]).await.unwrap();
    assert_eq!(rows(&*channel, lane).await.len(), 1);
}

pub(super) async fn an_attempt_count_only_rises(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    for (attempt, due, kept) in [
        (1, 10, (1, 10)),
        (0, 20, (1, 10)),
        (1, 30, (1, 30)),
        (2, 5, (2, 5)),
    ] {
        channel
            .commit(vec![Change::Put(work(lane, p[0], attempt, due))])
            .await
            .unwrap();
        let found = rows(&*channel, lane).await;
        assert_eq!(
            (found.len(), found[0].attempt, found[0].due.0),
            (1, kept.0, kept.1)
        );
    }
}

pub(super) async fn due_rows_come_earliest_first(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let (a, b) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    let p = passed(&*channel, &["0", "1", "2", "3"]).await;
    let put = |(n, due): (usize, i64)| Change::Put(work(a, p[n], 0, due));
    let mut changes: Vec<_> = [(0, 40), (1, 20), (2, 30), (3, 20)]
        .into_iter()
        .map(put)
        .collect();
    changes.push(Change::Put(work(b, p[0], 0, 1)));
    channel.commit(changes).await.unwrap();
    let cases: [(i64, usize, &[usize]); 5] = [
        (19, 10, &[]),
        (20, 10, &[1, 3]),
        (30, 10, &[1, 3, 2]),
        (99, 2, &[1, 3]),
        (99, 10, &[1, 3, 2, 0]),
    ];
    for (until, limit, expected) in cases {
        let due = channel.due(a, Timestamp(until), limit).await.unwrap();
        let found = numbers(&p, due.iter().map(|work| work.key.position));
        assert_eq!(found, expected, "until {until}, at most {limit}");
    }
    for (after, next) in [(0, Some(20)), (20, Some(30)), (39, Some(40)), (40, None)] {
        assert_eq!(
            channel.next_due(a, Timestamp(after)).await.unwrap(),
            next.map(Timestamp),
            "after {after}"
        );
    }
}

pub(super) async fn a_row_moves_to_another_stage_in_one_step(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    channel
        .commit(vec![Change::Put(work(lane, p[0], 5, 10))])
        .await
        .unwrap();
    let to = Work {
        key: key(lane, p[0], Stage::DeadLetter),
        failures: vec![failure(5)],
        ..work(lane, p[0], 0, 30)
    };
    let change = Change::Advance {
        from: key(lane, p[0], Stage::Subscriber),
        to: to.clone(),
    };
    channel.commit(vec![change]).await.unwrap();
    assert_eq!(rows(&*channel, lane).await, [to]);
}

pub(super) async fn a_lane_knows_its_debts(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0", "1", "2"]).await;
    let mut changes: Vec<_> = [(0, 30), (1, 20)]
        .map(|(n, due)| Change::Put(work(lane, p[n], 0, due)))
        .into();
    changes.push(super::parked::park(lane, p[2], Stage::Subscriber, None));
    channel.commit(changes).await.unwrap();
    let found = stored(&*channel, lane).await;
    assert_eq!(
        (found.deferred, found.parked, found.next_due),
        (2, 1, Some(Timestamp(20)))
    );
    assert_eq!(channel.open_lanes(vec![super::spec("a")]).await.unwrap(), [found]);
}

pub(super) async fn a_dropped_lane_takes_its_work_along_and_leaves_what_is_parked(
    backend: &mut impl Backend,
) {
    let channel = backend.open().await;
    let (a, b) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    let p = passed(&*channel, &["0", "1", "2"]).await;
    let changes = vec![
        Change::Put(work(a, p[0], 0, 1)),
        Change::Put(work(a, p[1], 0, 1)),
        Change::Put(work(b, p[1], 0, 1)),
        super::parked::park(a, p[2], Stage::Subscriber, None),
    ];
    channel.commit(changes).await.unwrap();
    assert_eq!(channel.drop_lane(a).await.unwrap(), 2);
    assert_eq!(rows(&*channel, a).await, []);
    assert_eq!(rows(&*channel, b).await.len(), 1);
    let parked = super::parked::all(&*channel).await;
    assert_eq!((parked.len(), parked[0].event.as_ref()), (1, Some(&event("2"))));
}

pub(super) async fn changes_for_a_lane_that_is_gone_do_nothing(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let lane = lane(&*channel, "a").await;
    let p = passed(&*channel, &["0"]).await;
    channel.drop_lane(lane).await.unwrap();
    let changes = vec![
        Change::Put(work(lane, p[0], 0, 1)),
        super::parked::park(lane, p[0], Stage::Subscriber, None),
        Change::Progress(Progress {
            router: Some(after(p[0])),
            lanes: vec![LaneProgress {
                lane,
                cursor: None,
                queued: None,
                unsettled: vec![p[0]],
            }],
        }),
    ];
    channel.commit(changes).await.unwrap();
    assert_eq!(rows(&*channel, lane).await, []);
    assert_eq!(super::parked::all(&*channel).await, []);
    assert_eq!(
        channel.router().await.unwrap(),
        after(p[0]),
        "the others are made"
    );
}

pub(super) async fn what_a_lane_has_written_down_of_one_event_is_found(backend: &mut impl Backend) {
    let channel = backend.open().await;
    let (one, other) = (lane(&*channel, "a").await, lane(&*channel, "b").await);
    let p = passed(&*channel, &["0", "1"]).await;
    let letter = Work {
        key: key(one, p[0], Stage::Reply),
        body: Some(event("reply")),
        ..work(one, p[0], 2, 9)
    };
    let park = Change::Park {
        key: key(one, p[0], Stage::Subscriber),
        reason: "nobody wants it".to_owned(),
        since: Timestamp(50),
        attempts: 2,
        failures: vec![failure(1)],
        body: None,
    };
    let others = [work(one, p[1], 0, 1), work(other, p[0], 0, 1)].map(Change::Put);
    let changes = [vec![Change::Put(letter.clone()), park], others.to_vec()].concat();
    channel.commit(changes).await.unwrap();
    let all = channel.rows_of(&[one, other], p[0]).await.unwrap();
    assert_eq!(all[&other].work, [work(other, p[0], 0, 1)]);
    let rows = &channel.rows_of(&[one], p[0]).await.unwrap();
    assert_eq!((rows.len(), &rows[&one]), (1, &all[&one]));
    let rows = &all[&one];
    assert_eq!(rows.work, [letter]);
    let parked: Vec<_> = rows.parked.iter().map(|row| (row.stage, row.attempts)).collect();
    assert_eq!(parked, [(Stage::Subscriber, 2)]);
    assert_eq!(rows.parked[0].failures, [failure(1)]);
    assert!(channel.rows_of(&[other], p[1]).await.unwrap().is_empty());
}
