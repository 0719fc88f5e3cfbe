//! The one place that knows every kind of [`Target`]: what an event has to go through to get there.
//!
//! An event for a URL goes by HTTP, over the slot's [`Connection`]. One for a Broker of this mesh goes
//! through its intake, without a connection. One for a topic of Kafka becomes a record, over the connections
//! of the cluster's client (`kafka`).

use bytes::Bytes;
use millrace_event::{Event, InnerSender, Intake, ObjectName, Origin, Refusal, hops};
use millrace_model::{Shortage, Target};

use crate::{Connection, Failure, Outcome, Request, To, Verdict};

/// A target that takes many events at the price of one, all or none.
pub struct Batches<'a> {
    intake: &'a dyn Intake,
    broker: &'a ObjectName,
    sender: &'a InnerSender,
}

/// Makes one attempt. A slot rests while its target needs no connection.
///
/// # Errors
/// Something of our own was short, so this was no attempt: the target received nothing.
/// [`Connection::room`] waits until another try makes sense.
pub async fn try_attempt(
    target: &Target,
    request: &Request<'_>,
    intake: &dyn Intake,
    connection: &mut Connection,
) -> Result<Outcome, Shortage> {
    match target {
        Target::Http { uri, authorities } => {
            let authorities = authorities.as_ref();
            connection.try_attempt(To { uri, authorities }, request).await
        }
        Target::Broker(broker) => {
            connection.rest();
            // Boxed: a delivery to a URL has room for this future in its task too.
            Ok(Box::pin(hand_over(broker, request, intake)).await)
        }
        #[cfg(feature = "kafka")]
        Target::Kafka(sink) => Box::pin(connection.try_write(sink, request)).await,
        #[cfg(not(feature = "kafka"))]
        Target::Kafka(_) => {
            connection.rest();
            let why = crate::WITHOUT_KAFKA.to_owned();
            Ok(Outcome::Failed(Failure::without_answer(Verdict::Again, why)))
        }
    }
}

/// The way in for whole batches. `None`: the target takes events one by one.
pub fn batches<'a>(
    target: &'a Target,
    intake: &'a dyn Intake,
    sender: &'a InnerSender,
) -> Option<Batches<'a>> {
    match target {
        Target::Http { .. } | Target::Kafka(_) => None,
        Target::Broker(broker) => Some(Batches {
            intake,
            broker,
            sender,
        }),
    }
}

/// A delivery to a Broker of this mesh. What it takes counts as a 202.
async fn hand_over(broker: &ObjectName, request: &Request<'_>, intake: &dyn Intake) -> Outcome {
    let edition = match &request.origin {
        Origin::Mesh(_) => hops::onward(request.event, request.event),
        Origin::Producer(_) => request.event.edit(),
    };
    let extra = request.outgoing.extra.iter();
    let edition = extra.fold(edition, |edition, (name, value)| edition.attribute(name, value));
    let event = match edition.build() {
        Ok(event) => event,
        Err(invalid) => return Outcome::Failed(Failure::without_answer(Verdict::Final, invalid.to_string())),
    };
    match intake.admit(broker, vec![event], request.origin.clone()).await {
        Ok(()) => Outcome::Done {
            status: Some(202),
            odd_body: false,
            body: Bytes::new(),
        },
        Err(refusal) => Outcome::Refused(refusal),
    }
}

// === impl Batches ===

impl Batches<'_> {
    /// Offers events that come from outside of the mesh.
    ///
    /// # Errors
    /// As those of [`Intake::admit`].
    pub async fn offer(&self, events: Vec<Event>) -> Result<(), Refusal> {
        let origin = Origin::Producer(self.sender.clone());
        self.intake.admit(self.broker, events, origin).await
    }
}
