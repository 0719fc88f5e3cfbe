//! Records of a topic: a bare consumer that throws them away, and a KafkaSource until they are durable, in
//! turns.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use crate::against::{self, Binary};
use crate::contender::MeshFolder;
use crate::documents;
use crate::kafka_broker::KafkaBroker;
use crate::measure::median_of;
use crate::options::Options;
use crate::process;
use crate::report::{Report, Should, Target};

const TOPIC: &str = "bench";
/// How often the topic is read before the clock runs: Kafka compiles its own code while it works at first, on
/// the same cores.
const WARM_UP: usize = 12;
/// How many times the usual number of rounds: each is short, and other load on the machine moves it by a
/// third.
const TIMES: usize = 4;
/// How often it is asked how many events are stored. The answers cost processor time that is measured: every
/// 20 ms they were 3 % of it.
const ASK: Duration = Duration::from_millis(50);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// A Kafka whose topic is full, and which has compiled its own code.
fn warm(options: &Options) -> anyhow::Result<KafkaBroker> {
    let kafka = KafkaBroker::start(&options.data)?;
    produce(&kafka, options.records)?;
    // Else the system writes the topic, and what a build has left, to the disk while the source does.
    rustix::fs::sync();
    for round in 0..WARM_UP {
        consume(&kafka, options.records, &format!("warm-up-{round}"))?;
    }
    Ok(kafka)
}

/// The binary that was built and another one, in turns.
pub(crate) fn against(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kafka = warm(options)?;
    let (built, other) = against::turns(options, |binary, round| {
        let (rate, micros) = store(&kafka, options, binary, round)?;
        report.say(&format!(
            "  round {}, {binary:?}: {rate:.0} records/s, {micros:.1} us of CPU a record",
            round + 1
        ));
        Ok((rate, micros))
    })?;
    let targets = against::targets(&built, &other, |run| run.1, |run| run.0);
    let title = format!("Kafka, two binaries, {} rounds in turns", built.len());
    report.add(&title, &[], &targets);
    Ok(())
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kafka = warm(options)?;
    let (mut bare, mut source, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds * TIMES {
        bare.push(consume(&kafka, options.records, &format!("bare-{round}"))?);
        let (rate, micros) = store(&kafka, options, Binary::Built, round)?;
        source.push(rate);
        cpu.push(micros);
        report.say(&format!(
            "  round {}: bare {:.0} records/s, source {rate:.0} records/s",
            round + 1,
            bare[round]
        ));
    }
    // Other load on the machine changes from minute to minute: each run is compared with its neighbour in
    // time.
    let ratios = source
        .iter()
        .zip(&bare)
        .map(|(source, bare)| source / bare)
        .collect();
    let (ratio, bare, source, cpu) = (
        median_of(ratios),
        median_of(bare),
        median_of(source),
        median_of(cpu),
    );
    let targets = [
        Target {
            name: "bare rdkafka consumer, records/s",
            is: bare,
            should: Should::Be,
        },
        Target {
            name: "KafkaSource until durable, records/s",
            is: source,
            should: Should::Be,
        },
        Target {
            name: "KafkaSource, CPU us/record",
            is: cpu,
            should: Should::Be,
        },
        Target {
            name: "KafkaSource to bare consumer",
            is: ratio,
            should: Should::AtLeast(0.5),
        },
    ];
    let title = format!("Kafka: {} CloudEvents of 1 KiB in 4 partitions", options.records);
    report.add(&title, &[], &targets);
    Ok(())
}

fn client(kafka: &KafkaBroker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.address);
    config
}

/// Fills the topic with CloudEvents in binary mode.
fn produce(kafka: &KafkaBroker, count: u64) -> anyhow::Result<()> {
    let producer: BaseProducer = client(kafka).set("linger.ms", "50").create()?;
    let data = vec![b'x'; 1024];
    for n in 0..count {
        let (key, id) = (n.to_string(), format!("{n:016}"));
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_source", "/bench"),
            ("ce_type", "bench.t0"),
        ];
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value.as_bytes()),
            })
        });
        let mut record = BaseRecord::to(TOPIC).key(&key).payload(&data).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    Ok(producer.flush(DEADLINE)?)
}

/// Records a second that a consumer gets that does nothing with them, from the first one on.
fn consume(kafka: &KafkaBroker, count: u64, group: &str) -> anyhow::Result<f64> {
    let consumer: BaseConsumer = client(kafka)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    let (mut seen, mut first) = (0_u64, None);
    let until = Instant::now() + DEADLINE;
    while seen < count {
        if Instant::now() > until {
            bail!("the bare consumer got {seen} of {count} records");
        }
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message?;
            seen += 1;
            first.get_or_insert_with(Instant::now);
        }
    }
    let first = first.context("there are no records")?;
    Ok(count as f64 / first.elapsed().as_secs_f64())
}

/// Records a second that a KafkaSource makes durable, from the first ones on, and the CPU time of each in
/// microseconds.
fn store(kafka: &KafkaBroker, options: &Options, binary: Binary, round: usize) -> anyhow::Result<(f64, f64)> {
    let source = format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: KafkaSource\nmetadata: {{name: bench, namespace: bench}}\n\
         spec: {{bootstrapServers: [\"{}\"], topics: [{TOPIC}], consumerGroup: {binary:?}-{round}, initialOffset: earliest, \
         sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}}}\n",
        kafka.address
    );
    let place = MeshFolder::new(&options.data, &(documents::broker() + &source))?;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let contender = binary.start(options, &place, nowhere)?;
    let admin = contender.admin().context("millrace has an admin listener")?;
    let mut first = None;
    let until = Instant::now() + DEADLINE;
    loop {
        let stored = stored(admin)?;
        if stored >= options.records {
            break;
        }
        if stored > 0 {
            first.get_or_insert((Instant::now(), stored));
        }
        if Instant::now() > until {
            bail!("the source has stored {stored} of {} records", options.records);
        }
        std::thread::sleep(ASK);
    }
    let (began, before) = first.context("all records were stored between two looks")?;
    let rate = (options.records - before) as f64 / began.elapsed().as_secs_f64();
    let cpu = process::cpu(contender.pid())?;
    Ok((rate, cpu.as_secs_f64() * 1e6 / options.records as f64))
}

/// How many events the sink of the source has taken, by the admin API.
fn stored(admin: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(
        format!("GET /api/v1/sources HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let start = answer.find('[').context("no list of sources")?;
    let end = answer.rfind(']').context("no list of sources")?;
    let sources: Value = serde_json::from_str(&answer[start..=end])?;
    Ok(sources[0]["events"].as_u64().unwrap_or(0))
}
