//! Topics of Kafka as targets: an event becomes a record, and is delivered when Kafka has acknowledged it.
//!
//! The files follow an attempt: how a client gets into a cluster ([`access`]), which servers it may connect
//! to ([`servers`]), and the clients themselves (`writers`); `look` asks a cluster for the topic of a sink.
//!
//! # Guarantees
//! - Done means that all replicas in sync have the record (`acks=all`).
//! - An attempt that ends otherwise may have written the record all the same, as one at a URL may.
//! - Nothing is sent to a server that the guard refuses.

pub mod access;
pub(crate) mod look;
pub mod servers;
pub(crate) mod writers;

use bytes::Bytes;
use millrace_event::http::Outgoing;
use millrace_event::{hops, kafka};
use millrace_kafka::writer::Headers;
use millrace_kafka::{NotWritten, Place, Prospect, Record, Writer};
use millrace_model::{Format, KafkaSink, Shortage};
use tokio::time::{Instant, timeout};

use self::writers::NotMade;
use crate::connector::Shared;
use crate::metrics::Class;
use crate::{Failure, Outcome, Request, Verdict};

/// Why a record is not there.
enum Undelivered {
    NotMade(NotMade),
    NotWritten(NotWritten),
}

/// Makes one attempt.
///
/// # Errors
/// The client's queue is full, so this was no attempt: Kafka received nothing.
pub(crate) async fn attempt(
    sink: &KafkaSink,
    request: &Request<'_>,
    shared: &Shared,
) -> Result<Outcome, Shortage> {
    let began = Instant::now();
    let left = match hops::beyond(request.event) {
        Ok(left) => left.to_string(),
        Err(looping) => {
            shared.metrics.attempt(Class::Rejected, began.elapsed());
            return Ok(Outcome::Refused(looping));
        }
    };
    let (outcome, class) = match timeout(request.timeout, write(sink, request, &left, shared)).await {
        Ok(Ok(place)) => (done(place), Class::Delivered),
        Ok(Err(Undelivered::NotWritten(NotWritten::QueueFull))) => return Err(Shortage::KafkaQueue),
        Ok(Err(why)) => why.told(sink),
        Err(_) => Undelivered::NotWritten(NotWritten::NotInTime(None)).told(sink),
    };
    shared.metrics.attempt(class, began.elapsed());
    Ok(outcome)
}

async fn write(
    sink: &KafkaSink,
    request: &Request<'_>,
    ttl: &str,
    shared: &Shared,
) -> Result<String, Undelivered> {
    let made = shared.writers.of(sink, request.timeout, &shared.options);
    let (seat, writer) = made.await.map_err(Undelivered::NotMade)?;
    let mut written = put(sink, request, ttl, &writer).await;
    if matches!(written, Err(NotWritten::UnknownTopic)) && look::is_there(sink, &writer, shared).await {
        // It was made since the client asked last.
        written = put(sink, request, ttl, &writer).await;
    }
    match written {
        Ok(place) => Ok(format!("{}[{}]@{}", sink.topic, place.partition, place.offset)),
        Err(why) => {
            if matches!(why, NotWritten::Broken(_)) {
                tracing::warn!(sink = %sink.name, %why, "the client of a KafkaSink is replaced");
                seat.replace(&writer);
            }
            Err(Undelivered::NotWritten(why))
        }
    }
}

async fn put(
    sink: &KafkaSink,
    request: &Request<'_>,
    ttl: &str,
    writer: &Writer,
) -> Result<Place, NotWritten> {
    let outgoing = Outgoing {
        ttl: Some(ttl),
        ..request.outgoing
    };
    let mut headers = Headers::default();
    let mut add = |name: &str, value: &str| headers.add(name, value);
    let value = match sink.format {
        Format::Binary => kafka::write_binary(request.event, &outgoing, &mut add),
        Format::Json => kafka::write_structured(request.event, &outgoing, &mut add),
    };
    let record = Record {
        topic: &sink.topic,
        key: kafka::key(request.event),
        value: value.as_deref(),
        headers,
    };
    writer.write(record)?.await
}

/// Kafka's answer is where the record is.
fn done(place: String) -> Outcome {
    Outcome::Done {
        status: None,
        odd_body: false,
        body: Bytes::from(place),
    }
}

// === impl Undelivered ===

impl Undelivered {
    /// The outcome, with the reason in words for people, and what it is counted as.
    fn told(&self, sink: &KafkaSink) -> (Outcome, Class) {
        let (verdict, class) = match self {
            Self::NotMade(NotMade::Refused(_)) => (Verdict::Final, Class::NotAllowed),
            Self::NotMade(NotMade::NoCredentials(_)) => (Verdict::Again, Class::NoCredentials),
            Self::NotMade(NotMade::Unreachable(_)) => (Verdict::Again, Class::Unreachable),
            Self::NotWritten(NotWritten::NotInTime(_)) => (Verdict::Again, Class::TimedOut),
            Self::NotWritten(why) => match why.prospect() {
                Prospect::Never => (Verdict::Final, Class::Rejected),
                Prospect::Again | Prospect::Room => (Verdict::Again, Class::Failed),
            },
        };
        let (why, is_about_event) = match self {
            Self::NotMade(why) => (why.to_string(), false),
            Self::NotWritten(why) => (why.to_string(), why.is_about_record()),
        };
        let failure = Failure {
            is_about_event,
            ..Failure::without_answer(verdict, format!("topic {}: {why}", sink.topic))
        };
        (Outcome::Failed(failure), class)
    }
}
