//! The suite that every backend passes: each sentence of the contract ([`crate::contract`]) once.
//!
//! A backend's tests call [`all`] with a way to make backends. The checks are functions named after what they
//! promise, by what they speak of: [`events`], [`lanes`], [`work`](mod@work), [`parked`],
//! [`owners`].
//!
//! A check compares with the positions at which its own events stand: those of a channel begin anywhere and
//! have gaps.

#![allow(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod events;
mod lanes;
mod owners;
mod parked;
mod work;

use std::sync::Arc;
use std::time::Duration;

use millrace_event::{DataForm, Event, ObjectName, SpecVersion, Timestamp};

use crate::{Channel, Class, FailedAttempt, Lane, LaneId, LaneSpec, Position, Stage, Work, WorkKey};

/// A backend under test: where one channel is kept.
#[async_trait::async_trait]
pub trait Backend: Send {
    /// Opens the channel (one partition): a new one the first time, later what is kept. The caller has closed
    /// or dropped the one before; dropping it without closing stands for a crash.
    async fn open(&mut self) -> Arc<dyn Channel>;

    /// Opens it once more while it is open, as a second process does. `None`: the backend lets no second one
    /// in.
    async fn open_elsewhere(&mut self) -> Option<Arc<dyn Channel>>;

    /// Cuts the owner off after so many more steps of its commits: the one that is under way never ends. It
    /// can be opened anew. `false`: a commit of this backend is one step.
    fn cut(&mut self, _steps: usize) -> bool {
        false
    }

    /// Fails the next append after so many of its steps. `false`: whoever uses the backend cannot make it do
    /// that.
    fn cut_append(&mut self, _steps: usize) -> bool {
        false
    }

    /// Loses the events at and after this position, although they were acknowledged. `false`: whoever uses
    /// the backend cannot make it do that.
    async fn lose_suffix(&mut self, _from: Position) -> bool {
        false
    }
}

/// Runs every check, each on a new backend.
///
/// # Panics
/// When the backend breaks the contract.
pub async fn all<B: Backend>(mut make: impl FnMut() -> B) {
    macro_rules! each {
        ($($module:ident: $($check:ident),+;)+) => {
            $($(
                tracing::info!(check = stringify!($check), "conformance");
                $module::$check(&mut make()).await;
            )+)+
        };
    }
    each! {
        events:
            appended_events_are_read_back_in_order,
            a_batch_stands_together_and_nothing_takes_no_position,
            durable_events_survive_a_close_and_a_crash,
            a_position_is_never_used_twice,
            a_reader_follows_the_head,
            a_reader_gives_what_is_asked_for_and_at_least_one_record,
            a_read_that_is_given_up_loses_nothing,
            one_event_is_found_by_its_position,
            events_are_found_by_their_id,
            a_time_leads_to_the_first_position_at_or_after_it,
            the_ends_of_the_log_are_those_of_its_partitions,
            replies_go_the_same_way_as_producers_events,
            noted_attempts_are_found_by_position,
            usage_tells_what_can_be_read,
            a_batch_that_fails_is_stored_in_part_only_where_the_backend_says_so,
            a_closed_channel_takes_nothing;
        lanes:
            a_new_channel_has_no_past,
            a_lane_starts_at_the_head_and_is_found_again,
            another_uid_is_another_lane,
            one_that_resumes_takes_over_the_last_lane_of_its_name,
            a_lane_is_never_numbered_twice,
            progress_comes_back_as_it_was_committed,
            what_was_read_is_judged_by_the_filter_that_counted_then,
            a_filter_that_changed_while_nobody_served_counts_from_where_the_lane_had_read,
            the_router_comes_back_where_it_was_committed,
            a_lane_state_lasts_and_only_a_pause_outlasts_the_return_of_the_trigger,
            only_a_trigger_that_is_gone_is_forgotten,
            the_work_of_a_trigger_that_is_gone_goes_and_its_place_stays,
            since_when_the_broker_is_gone_lasts_until_it_is_back,
            only_a_crash_is_an_unclean_stop;
        work:
            a_row_comes_back_as_it_was_put,
            changes_can_be_committed_again_without_effect,
            changes_of_one_call_are_applied_in_order,
            an_attempt_count_only_rises,
            due_rows_come_earliest_first,
            what_a_lane_has_written_down_of_one_event_is_found,
            a_row_moves_to_another_stage_in_one_step,
            a_lane_knows_its_debts,
            a_dropped_lane_takes_its_work_along_and_leaves_what_is_parked,
            changes_for_a_lane_that_is_gone_do_nothing;
        parked:
            a_parked_event_keeps_its_history,
            parking_again_keeps_the_id,
            parked_events_are_listed_by_pages_in_order,
            a_redriven_event_begins_again_with_its_history,
            a_redriven_reply_keeps_its_body,
            what_is_parked_outlives_its_trigger_but_cannot_be_redriven,
            a_dropped_parked_event_is_gone,
            usage_counts_what_is_parked,
            commands_are_seen_by_who_watches;
        owners:
            only_the_newest_owner_commits,
            a_commit_that_is_cut_off_leaves_all_of_it_or_its_first_part,
            what_is_parked_for_an_event_that_is_owed_waits_for_progress,
            a_log_that_lost_its_end_is_read_on_without_skipping_what_is_new,
            a_lane_that_was_ahead_of_a_loss_skips_nothing_that_is_new,
            a_filter_is_stored_before_the_progress_that_comes_with_it;
    }
}

/// Where to read on after the event at this position.
fn after(position: Position) -> Position {
    Position {
        offset: position.offset + 1,
        ..position
    }
}

/// The number of each position in the order of `all`: what a test compares instead of positions, which begin
/// anywhere and have gaps.
fn numbers(all: &[Position], found: impl IntoIterator<Item = Position>) -> Vec<usize> {
    let number = |position: Position| all.iter().position(|one| *one == position).expect("one of them");
    found.into_iter().map(number).collect()
}

fn event(id: &str) -> Event {
    let builder = Event::builder(SpecVersion::V10)
        .attribute("id", id)
        .attribute("source", "/conformance");
    builder
        .attribute("type", "test")
        .data(DataForm::Bytes, id.as_bytes())
        .build()
        .expect("a valid event")
}

fn spec(trigger: &str) -> LaneSpec {
    LaneSpec {
        trigger: ObjectName::new("shop", trigger),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: Duration::from_secs(3600),
    }
}

/// Appends events in one call and says where they stand. Nobody else appends meanwhile.
pub(crate) async fn append(channel: &dyn Channel, ids: &[&str]) -> Vec<Position> {
    let from = channel.head();
    let events = ids.iter().map(|id| event(id)).collect();
    channel
        .log()
        .append(events, Class::Producer)
        .await
        .expect("an append");
    let read = read_all(channel, from).await;
    assert_eq!(
        read.iter().map(|(_, id)| id).collect::<Vec<_>>(),
        ids,
        "what was appended"
    );
    read.into_iter().map(|(position, _)| position).collect()
}

/// As [`append`]; the router has passed them.
async fn passed(channel: &dyn Channel, ids: &[&str]) -> Vec<Position> {
    let positions = append(channel, ids).await;
    let progress = crate::Progress::router(channel.head());
    channel.commit(vec![progress.into()]).await.expect("a commit");
    positions
}

/// Reads everything from a position to the head: position and id of each event.
async fn read_all(channel: &dyn Channel, from: Position) -> Vec<(Position, String)> {
    let mut reader = channel.log().reader(from);
    let mut all = Vec::new();
    while reader.position() < channel.head() {
        let batch = reader.try_next(3, 1 << 20).await.expect("a read");
        assert_eq!(batch.next, reader.position());
        let read = batch.records.iter();
        all.extend(read.map(|record| (record.position, record.event.id().to_owned())));
    }
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
    all
}

pub(crate) async fn lane(channel: &dyn Channel, trigger: &str) -> LaneId {
    channel
        .open_lanes(vec![spec(trigger)])
        .await
        .expect("a lane")
        .remove(0)
        .id
}

/// The lane as it is stored now.
async fn stored(channel: &dyn Channel, id: LaneId) -> Lane {
    let lanes = channel.lanes().await.expect("the lanes");
    lanes.into_iter().find(|lane| lane.id == id).expect("the lane")
}

/// All rows of a lane.
pub(crate) async fn rows(channel: &dyn Channel, lane: LaneId) -> Vec<Work> {
    channel
        .due(lane, Timestamp(i64::MAX), 1_000)
        .await
        .expect("the rows")
}

fn key(lane: LaneId, position: Position, stage: Stage) -> WorkKey {
    WorkKey {
        lane,
        position,
        stage,
    }
}

/// A row for a subscriber.
pub(crate) fn work(lane: LaneId, position: Position, attempt: u32, due: i64) -> Work {
    Work {
        key: key(lane, position, Stage::Subscriber),
        attempt,
        due: Timestamp(due),
        open: false,
        crashes: 0,
        suspect: false,
        undecided: false,
        failures: Vec::new(),
        body: None,
    }
}

fn failure(attempt: u32) -> FailedAttempt {
    FailedAttempt {
        at: Timestamp(7),
        stage: Stage::Subscriber,
        attempt,
        target: "http://subscriber.example/".to_owned(),
        status: (attempt > 0).then_some(500),
        reason: "it said no".to_owned(),
        body: vec![0, 0xff, b'"'],
        millis: 12,
    }
}
