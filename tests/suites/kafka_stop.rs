//! Promise: at a stop a KafkaSource lets deliveries under way end and commits them. If the sink has answered
//! everything that it got, no record is sent twice. What the sink has not taken is not committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::documents::Documents;
use millrace_tests::kafka::scene::{ids, records};
use millrace_tests::kafka::{Kafka, group, source};
use millrace_tests::{Answer, Mesh, Sink, wait_until, within};
use rdkafka::producer::{FutureProducer, FutureRecord};

const PATH: &str = "/ship";
const PARTITIONS: i32 = 2;
/// Records of a partition that Millrace may be behind: few enough that it goes on reading, and more than one
/// answer.
const BEHIND: usize = 100;
/// Records of a partition after which it is asked whether that is so.
const STEP: usize = 20;

/// A Broker, since `run` wants one, and a source that reads this topic straight into the sink.
fn documents(kafka: &Kafka, topic: &str, ordering: &str, sink: &Sink) -> String {
    let (sink, ordering) = (
        format!("{{uri: '{}'}}", sink.url(PATH)),
        format!("ordering: {ordering}"),
    );
    Documents::broker().text().to_owned() + &source(&kafka.bootstrap(), topic, &sink, &ordering)
}

/// Writes to all partitions, a little faster than the sink takes it, until it is told to stop; gives how many
/// records each got.
async fn load(kafka: &Kafka, topic: &str, sink: &Sink, is_over: &AtomicBool) -> anyhow::Result<usize> {
    let producer: FutureProducer = kafka.client().set("linger.ms", "0").create()?;
    let mut written = 0;
    while !is_over.load(Ordering::Relaxed) {
        for partition in 0..PARTITIONS {
            let record = FutureRecord::<(), str>::to(topic)
                .partition(partition)
                .payload("load");
            let sent = producer.send_result(record).map_err(|(error, _)| error)?;
            let taken = within("Kafka to take a record", sent).await?;
            taken.map_err(|(error, _)| error)?;
        }
        written += 1;
        if written % STEP == 0 {
            wait_until("the sink to come after", || async {
                let taken = sink.count(PATH) / usize::try_from(PARTITIONS)?;
                let is_near = taken + BEHIND > written || is_over.load(Ordering::Relaxed);
                Ok(is_near.then_some(()))
            })
            .await?;
        }
    }
    Ok(written)
}

/// How often each record came to the sink.
fn told(sink: &Sink) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for id in sink.ids(PATH) {
        *told.entry(id).or_default() += 1;
    }
    told
}

/// What is committed is what the sink has got.
async fn is_committed(kafka: &Kafka, topic: &str, sink: &Sink) -> anyhow::Result<()> {
    let told = told(sink);
    for partition in 0..PARTITIONS {
        let prefix = format!("partition:{partition}/");
        let got = told.keys().filter(|id| id.starts_with(&prefix)).count();
        let group = group(topic);
        let committed = kafka.committed(&group, topic, partition).await?;
        ensure!(
            committed == Some(i64::try_from(got)?),
            "{topic}[{partition}]: {got} were told, {committed:?} is committed"
        );
    }
    Ok(())
}

async fn stops(kafka: &Kafka, ordering: &str, answer: Duration) -> anyhow::Result<()> {
    let (sink, topic) = (Sink::start().await?, format!("stopped-{ordering}"));
    kafka.create_topic(&topic, PARTITIONS).await?;
    sink.decide(PATH, move |_, _| Answer::ok().slow(answer));
    let mut mesh = Mesh::start(&documents(kafka, &topic, ordering, &sink)).await?;
    let is_over = AtomicBool::new(false);
    let (written, stopped) = tokio::join!(load(kafka, &topic, &sink, &is_over), async {
        let stopped = async {
            for _ in 0..4 {
                sink.wait_for(PATH, sink.count(PATH) + 2 * BEHIND).await?;
                ensure!(mesh.stop().await?.success(), "no clean end");
                is_committed(kafka, &topic, &sink).await?;
                mesh.restart().await?;
            }
            anyhow::Ok(())
        };
        let stopped = stopped.await;
        is_over.store(true, Ordering::Relaxed);
        stopped
    });
    stopped?;
    let all = written? * usize::try_from(PARTITIONS)?;
    sink.wait_for(PATH, all).await?;
    ensure!(mesh.stop().await?.success(), "no clean end");
    let told = told(&sink);
    ensure!(told.len() == all, "{} of {all} were told", told.len());
    let twice: Vec<_> = told.iter().filter(|(_, count)| **count > 1).take(5).collect();
    ensure!(twice.is_empty(), "told more than once: {twice:?}");
    is_committed(kafka, &topic, &sink).await
}

#[tokio::test]
async fn after_a_stop_under_load_no_record_that_was_taken_is_told_again() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (ordered, unordered) = tokio::join!(
        stops(&kafka, "ordered", Duration::from_millis(5)),
        stops(&kafka, "unordered", Duration::from_millis(50)),
    );
    ordered.context("ordered")?;
    unordered.context("unordered")
}

/// While the sink takes nothing, the source ends, and reads more while it drains.
async fn ends_with_a_sink_that_is_down(kafka: &Kafka, ordering: &str) -> anyhow::Result<()> {
    const EARLY: i64 = 30;
    const LATE: i64 = 3;
    let (sink, topic) = (Sink::start().await?, format!("refused-{ordering}"));
    kafka.create_topic(&topic, PARTITIONS).await?;
    sink.decide(PATH, |_, _| Answer::status(503));
    let mut mesh = Mesh::start(&documents(kafka, &topic, ordering, &sink)).await?;
    // The second partition has nothing in hand when the source is told to stop.
    kafka
        .produce(&topic, &records(usize::try_from(EARLY)?, 0))
        .await?;
    sink.wait_for(PATH, 1).await?;
    let admin = mesh.admin();
    let (ended, late) = tokio::join!(mesh.stop(), async {
        // It ends within 5 s, and reads for a part of that.
        wait_until("the end to begin", || async {
            let ready = admin.ask(&Method::GET, "/readyz").await;
            let is_ready = ready.is_ok_and(|answer| answer.status == 200);
            Ok((!is_ready).then_some(()))
        })
        .await?;
        for partition in 0..PARTITIONS {
            kafka
                .produce(&topic, &records(usize::try_from(LATE)?, partition))
                .await?;
        }
        anyhow::Ok(())
    });
    late?;
    ensure!(ended?.success(), "no clean end");
    for partition in 0..PARTITIONS {
        let committed = kafka.committed(&group(&topic), &topic, partition).await?;
        ensure!(
            committed.unwrap_or(0) == 0,
            "{topic}[{partition}]: {committed:?} is committed, and the sink has taken nothing"
        );
    }
    sink.take(PATH);
    sink.decide(PATH, |_, _| Answer::ok());
    mesh.restart().await?;
    let wanted: BTreeSet<String> = ids(0, 0..EARLY + LATE).chain(ids(1, 0..LATE)).collect();
    sink.until_all(PATH, &wanted).await?;
    ensure!(mesh.stop().await?.success(), "no clean end");
    is_committed(kafka, &topic, &sink).await
}

#[tokio::test]
async fn after_a_stop_what_the_sink_refused_is_told_again() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (ordered, unordered) = tokio::join!(
        ends_with_a_sink_that_is_down(&kafka, "ordered"),
        ends_with_a_sink_that_is_down(&kafka, "unordered"),
    );
    ordered.context("ordered")?;
    unordered.context("unordered")
}
