//! Whether events can be written to the topic of a sink, as the cluster says.

use std::sync::Arc;
use std::time::Duration;

use millrace_kafka::{Cause, Writer};
use millrace_model::KafkaSink;
use rdkafka::types::RDKafkaErrorCode;

use super::servers::Servers;
use super::writers::unreachable;
use crate::connector::Shared;

/// How long the cluster may take to answer.
const ANSWER: Duration = Duration::from_secs(8);
/// The timeout of a Trigger that says nothing of it: its attempts use the client that is asked.
const USUAL: Duration = Duration::from_secs(300);

/// What is wrong with a client.
struct Trouble {
    why: String,
    /// The client does not get over it by itself.
    is_for_good: bool,
}

/// Asks with the client that writes, and judges the servers that the cluster names now.
///
/// # Errors
/// A sentence that says why the topic cannot be written to.
pub(crate) async fn look(sink: &KafkaSink, shared: &Shared) -> Result<(), String> {
    let made = shared.writers.of(sink, USUAL, &shared.options).await;
    let (seat, writer) = made.map_err(|why| why.to_string())?;
    let servers = Servers::new(shared.options.guard.clone());
    let (asked, topic) = (writer.clone(), sink.topic.clone());
    let looked = tokio::task::spawn_blocking(move || ask(&asked, &servers, &topic));
    match looked.await {
        Ok(Ok(standing)) => standing,
        Ok(Err(trouble)) => {
            if trouble.is_for_good {
                // The next one has secrets as they are then, and asks only servers that are judged anew.
                seat.replace(&writer);
            }
            Err(trouble.why)
        }
        Err(error) => Err(format!("the look broke down: {error}")),
    }
}

/// Whether the topic is there by now: librdkafka would believe for up to 10 s that it is not.
pub(crate) async fn is_there(sink: &KafkaSink, writer: &Arc<Writer>, shared: &Shared) -> bool {
    let servers = Servers::new(shared.options.guard.clone());
    let (asked, topic) = (writer.clone(), sink.topic.clone());
    let looked = tokio::task::spawn_blocking(move || ask(&asked, &servers, &topic));
    matches!(looked.await, Ok(Ok(Ok(()))))
}

/// The outer error is about the client, the inner one about the topic. Blocks.
fn ask(writer: &Arc<Writer>, servers: &Servers, topic: &str) -> Result<Result<(), String>, Trouble> {
    let metadata = writer.metadata(topic, ANSWER).map_err(|error| Trouble {
        why: unreachable(&error, writer.log()),
        is_for_good: is_turned_away(writer),
    })?;
    servers.all_of(&metadata).map_err(|unfit| Trouble {
        why: unfit.to_string(),
        is_for_good: true,
    })?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let Some(found) = found else {
        return Ok(Err(format!("topic {topic}: the brokers say nothing of it")));
    };
    let why = match found.error().map(RDKafkaErrorCode::from) {
        None if found.partitions().is_empty() => "it has no partitions".to_owned(),
        None => return Ok(Ok(())),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "there is no such topic".to_owned()
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "the login may not ask about the topic".to_owned()
        }
        Some(code) => code.to_string(),
    };
    Ok(Err(format!("topic {topic}: {why}")))
}

/// Whether the servers do not let this client in. One that merely cannot reach them connects again by itself,
/// and what waits in its queue is written then.
fn is_turned_away(writer: &Writer) -> bool {
    let cause = writer.log().fault().and_then(|fault| fault.cause);
    matches!(
        cause,
        Some(Cause::MechanismNotSupported | Cause::LoginRefused | Cause::EncryptionFailed)
    )
}
