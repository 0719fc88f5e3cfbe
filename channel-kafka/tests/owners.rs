//! Promise: of two owners only the newer one writes, and is told so at once; and transactions of others in
//! the topic of the events neither hide events nor count as events.

use std::time::Duration;

use millrace_channel::{Change, Channel, ChannelError, Class, LaneSpec, Progress, Record};
use millrace_channel_kafka::Partition;
use millrace_event::{DataForm, Event, ObjectName, SpecVersion};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

#[path = "server/mod.rs"]
mod server;

use server::{Server, new_broker};

const PATIENT: Duration = Duration::from_secs(30);

fn event(id: &str) -> Event {
    let event = Event::builder(SpecVersion::V10).attribute("id", id);
    let event = event.attribute("source", "/s").attribute("type", "t");
    let event = event.data(DataForm::Bytes, id.as_bytes());
    event.build().expect("an event")
}

async fn append(channel: &dyn Channel, id: &str) {
    let appended = channel.log().append(vec![event(id)], Class::Producer).await;
    appended.expect("it is appended");
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.event.id()).collect()
}

fn router_at_head(channel: &dyn Channel) -> Vec<Change> {
    vec![Progress::router(channel.head()).into()]
}

/// Also while the newer one writes all the time.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_fenced_off_is_told_so_and_has_changed_nothing() {
    let Some(server) = Server::start("an_owner_that_was_fenced_off").await else {
        return;
    };
    let broker = new_broker();
    let open = async || {
        Partition::open(server.options(&broker))
            .await
            .expect("it is open")
    };
    let first = open().await.channel();
    append(&*first, "1").await;
    let second = open().await.channel();
    let router = second.router().await.expect("a position");
    let writing = async {
        loop {
            let written = second.commit(vec![Progress::router(router).into()]).await;
            written.expect("it is the owner");
        }
    };
    let refused = first.commit(router_at_head(&*first));
    let refused = tokio::select! {
        refused = tokio::time::timeout(PATIENT, refused) => refused,
        () = writing => unreachable!("it never ends"),
    };
    assert_eq!(refused, Ok(Err(ChannelError::NotOwner)));
    let spec = LaneSpec {
        trigger: ObjectName::new("shop", "late"),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: PATIENT,
    };
    assert_eq!(
        first.open_lanes(vec![spec]).await.err(),
        Some(ChannelError::NotOwner)
    );
    drop((first, second));
    let third = open().await.channel();
    assert_eq!(third.router().await, Ok(router));
    assert_eq!(third.lanes().await.expect("the lanes").len(), 0);
}

/// What an owner has given to Kafka and not committed when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_left_open_is_not_stored_and_holds_nobody_up() {
    let Some(server) = Server::start("what_an_owner_left_open").await else {
        return;
    };
    let broker = new_broker();
    let open = async || {
        Partition::open(server.options(&broker))
            .await
            .expect("it is open")
    };
    let first = open().await.channel();
    append(&*first, "1").await;
    first
        .commit(router_at_head(&*first))
        .await
        .expect("it is committed");
    let router = first.router().await.expect("a position");
    drop(first);
    // As an owner that is killed amid a commit: under its name, open, with another progress.
    let topic = format!("millrace.conformance.{}", broker.name());
    let (zombie, state) = (begin(&server, &format!("{topic}.0")), format!("{topic}.state"));
    let sent = zombie.send(BaseRecord::to(&state).key("progress").payload("{}"));
    sent.map_err(|(error, _)| error).expect("it is queued");
    zombie.flush(PATIENT).expect("it is written");
    let opened = tokio::time::timeout(PATIENT, open()).await;
    let second = opened.expect("nobody is waited for").channel();
    assert_eq!(second.router().await, Ok(router));
    zombie
        .commit_transaction(PATIENT)
        .expect_err("another owner has begun");
    second
        .commit(router_at_head(&*second))
        .await
        .expect("it is the owner");
}

fn begin(server: &Server, id: &str) -> BaseProducer {
    let producer: BaseProducer = server
        .client()
        .set("transactional.id", id)
        .create()
        .expect("a client");
    producer.init_transactions(PATIENT).expect("it begins");
    producer.begin_transaction().expect("a transaction");
    producer
}

fn write(producer: &BaseProducer, topic: &str, id: &str) {
    let attributes = [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "/other"),
        ("ce_type", "t"),
    ];
    let add = |headers: OwnedHeaders, (key, value)| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    };
    let headers = attributes.into_iter().fold(OwnedHeaders::new(), add);
    let record = BaseRecord::<(), str>::to(topic).payload("x").headers(headers);
    let sent = producer.send(record);
    sent.map_err(|(error, _)| error).expect("it is queued");
    producer.flush(PATIENT).expect("it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_others_are_read_when_they_are_committed_and_what_was_aborted_never() {
    let Some(server) = Server::start("transactions_of_others").await else {
        return;
    };
    let broker = new_broker();
    let topic = format!("millrace.conformance.{}", broker.name());
    let partition = Partition::open(server.options(&broker))
        .await
        .expect("it is open");
    let channel = partition.channel();
    append(&*channel, "1").await;
    let mut reader = channel.log().reader(channel.router().await.expect("a position"));
    let read = reader.next(10, 1 << 20).await.expect("a read");
    assert_eq!(ids(&read.records), ["1"]);
    let aborted = begin(&server, "others");
    write(&aborted, &topic, "aborted");
    aborted.abort_transaction(PATIENT).expect("it is aborted");
    let open = begin(&server, "others");
    write(&open, &topic, "open");
    append(&*channel, "2").await;
    // It may yet be aborted, and order counts: nobody reads past it.
    let held_up = tokio::time::timeout(Duration::from_secs(3), reader.next(10, 1 << 20)).await;
    let came = held_up.map_or_else(|_| Vec::new(), |read| read.expect("a read").records);
    assert_eq!(ids(&came), Vec::<&str>::new());
    open.commit_transaction(PATIENT).expect("it is committed");
    let mut came = Vec::new();
    while came.len() < 2 {
        came.extend(reader.next(10, 1 << 20).await.expect("a read").records);
    }
    assert_eq!(ids(&came), ["open", "2"]);
    // What was deleted and what stands at the end are no events and no riddle.
    let found = channel.find("open", None, 9).await.expect("a look");
    assert_eq!(found, [came[0].position]);
}
