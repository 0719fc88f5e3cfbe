//! What fills up on a real NATS server: producers are refused in words, and what makes room goes on.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Config};
use millrace_channel::{
    AppendError, Change, Channel, Class, LaneId, LaneSpec, Parked, ParkedQuery, Position, Progress, Stage,
    WorkKey,
};
use millrace_channel_jetstream::{Options, Streams};
use millrace_event::{DataForm, Event, ObjectName, SpecVersion, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, options};

/// The least share of a partition's state, and the bound that its stream once had.
const SHARE: u64 = 64 << 20;
/// Lanes that fill the state to more than 85 %, and events that each of them parks.
const LANES: usize = 16;
const EVENTS: usize = 6;
/// Octets of each.
const OCTETS: usize = 900 << 10;

fn event(id: usize) -> Event {
    let builder = Event::builder(SpecVersion::V10)
        .attribute("id", &id.to_string())
        .attribute("source", "/bounds")
        .attribute("type", "test");
    let octets = vec![b'x'; OCTETS];
    builder
        .data(DataForm::Bytes, &octets)
        .build()
        .expect("a valid event")
}

async fn append(channel: &dyn Channel, id: usize) -> Result<(), AppendError> {
    channel.log().append(vec![event(id)], Class::Producer).await
}

async fn lanes(channel: &dyn Channel, count: usize) -> Vec<LaneId> {
    let spec = |number: usize| LaneSpec {
        trigger: ObjectName::new("shop", format!("t{number}")),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: Duration::from_secs(3_600),
    };
    let lanes = channel.open_lanes((0..count).map(spec).collect()).await;
    lanes.expect("lanes").into_iter().map(|lane| lane.id).collect()
}

fn park(lane: LaneId, position: Position) -> Change {
    Change::Park {
        key: WorkKey {
            lane,
            position,
            stage: Stage::Subscriber,
        },
        reason: "nobody wants it".to_owned(),
        since: Timestamp(50),
        attempts: 1,
        failures: Vec::new(),
        body: None,
    }
}

async fn parked(channel: &dyn Channel) -> Vec<Parked> {
    let query = ParkedQuery {
        limit: 10_000,
        ..ParkedQuery::default()
    };
    channel.parked(query).await.expect("what is parked")
}

/// Appends events; the router passes them.
async fn appended(channel: &dyn Channel) -> Vec<Position> {
    let mut positions = Vec::new();
    for id in 0..EVENTS {
        positions.push(channel.head());
        append(channel, id).await.expect("there is room");
    }
    let passed = Progress::router(channel.head());
    channel.commit(vec![passed.into()]).await.expect("a commit");
    positions
}

/// What becomes of the next event of a producer, once it is as wanted.
async fn until(channel: &dyn Channel, wanted: fn(&Result<(), AppendError>) -> bool) {
    let mut last = Ok(());
    for id in 0..150 {
        last = append(channel, 1_000 + id).await;
        if wanted(&last) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it stays {last:?}");
}

fn refused_for_state(answer: &Result<(), AppendError>) -> bool {
    matches!(answer, Err(AppendError::Full { code: "backlog-full", reason, .. }) if reason.contains("state"))
}

async fn config(url: &str, stream: &str) -> (jetstream::Context, Config, u64) {
    let client = async_nats::connect(url).await.expect("a connection");
    let context = jetstream::new(client);
    let stream = context.get_stream(stream).await.expect("the stream");
    let info = stream.cached_info().clone();
    (context, info.config, info.state.bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_beyond_its_share_refuses_producers_and_can_be_drained() {
    let Some(server) = Server::start("a_state_beyond_its_share_refuses_producers_and_can_be_drained").await
    else {
        return;
    };
    let broker = ObjectName::new("bounds", "share");
    let streams = Streams::open(options(server.url(), &broker)).await.expect("open");
    let streams = Arc::new(streams);
    let channel = streams.claim(0).await.expect("it is claimed").channel();
    let channel = &*channel;
    let end = CancellationToken::new();
    let tended = tokio::spawn({
        let (streams, end) = (streams.clone(), end.clone());
        async move { streams.tend(&end).await }
    });
    let lanes = lanes(channel, LANES).await;
    let positions = appended(channel).await;
    let (first, rest) = lanes.split_at(LANES * 3 / 4);
    for lane in first {
        for position in &positions {
            channel
                .commit(vec![park(*lane, *position)])
                .await
                .expect("a commit");
        }
    }
    until(channel, refused_for_state).await;
    assert!(
        channel
            .usage()
            .refusing
            .is_some_and(|reason| reason.contains("state"))
    );
    // What is in the log already can still be parked, beyond the share: it has no copy, and is in the log.
    for lane in rest {
        for position in &positions {
            let parks = channel.commit(vec![park(*lane, *position)]).await;
            parks.expect("a commit");
        }
    }
    let all = parked(channel).await;
    assert_eq!(all.len(), LANES * EVENTS);
    let (_, _, bytes) = config(server.url(), "millrace-bounds-share-state").await;
    // Each copy is counted when it is written, a little larger than it is.
    assert!((SHARE * 80 / 100..SHARE).contains(&bytes), "{bytes}");
    let copied = (OCTETS * LANES * EVENTS) as u64;
    assert!(bytes < copied, "the last have no copy: {bytes}");
    for one in &all {
        assert!(channel.drop_parked(&one.id).await.expect("it can be dropped"));
    }
    until(channel, Result::is_ok).await;
    end.cancel();
    tended.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_demands_bounds_gets_a_wide_one() {
    let config_file = "
        accounts { A {
            users: [{ user: a, password: a }]
            jetstream: { max_file: 10GB, max_bytes_required: true }
        } }
        no_auth_user: a";
    let test = "an_account_that_demands_bounds_gets_a_wide_one";
    let Some(server) = Server::start_with(test, config_file).await else {
        return;
    };
    let broker = ObjectName::new("bounds", "account");
    Streams::open(options(server.url(), &broker)).await.expect("open");
    let (_, config, _) = config(server.url(), "millrace-bounds-account-state").await;
    assert_eq!(u64::try_from(config.max_bytes), Ok(4 * SHARE));
}

/// As streams that an earlier version has made.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_full_stream_refuses_says_so() {
    let Some(server) = Server::start("a_claim_that_a_full_stream_refuses_says_so").await else {
        return;
    };
    let broker = ObjectName::new("bounds", "claim");
    let open = || {
        Streams::open(Options {
            max_bytes: 32 << 20,
            ..options(server.url(), &broker)
        })
    };
    open().await.expect("open");
    let (context, config, bytes) = config(server.url(), "millrace-bounds-claim-state").await;
    let bound = |max_bytes| Config {
        max_bytes,
        ..config.clone()
    };
    let full = bound(i64::try_from(bytes).expect("a length"));
    context.update_stream(full).await.expect("it is bounded");
    let streams = open().await.expect("a bounded one is taken");
    let refused = streams.claim(0).await.map(drop).expect_err("it is full");
    assert!(refused.to_string().contains("maximum bytes"), "{refused}");
    context
        .update_stream(bound(-1))
        .await
        .expect("as the documentation says");
    streams.claim(0).await.expect("there is room");
}
