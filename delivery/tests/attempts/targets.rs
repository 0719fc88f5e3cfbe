//! Each kind of target: a URL over HTTP, a Broker of the mesh through its intake.

use std::time::Duration;

use millrace_delivery::target::{batches, try_attempt};
use millrace_delivery::{Failure, Outcome, Request, Verdict};
use millrace_event::http::Outgoing;
use millrace_event::{Event, InnerSender, Intake, ObjectName, Origin, Refusal, hops};
use millrace_model::Target;
use parking_lot::Mutex;

use crate::server::{OK, Server, done, event, request, slot};

/// An intake that notes what it is offered and answers as it is told.
struct Scripted {
    answer: Result<(), Refusal>,
    offered: Mutex<Vec<(ObjectName, Vec<Event>, Origin)>>,
}

#[async_trait::async_trait]
impl Intake for Scripted {
    async fn admit(&self, broker: &ObjectName, events: Vec<Event>, origin: Origin) -> Result<(), Refusal> {
        self.offered.lock().push((broker.clone(), events, origin));
        self.answer.clone()
    }
}

fn answering(answer: Result<(), Refusal>) -> Scripted {
    Scripted {
        answer,
        offered: Mutex::default(),
    }
}

fn sender() -> InnerSender {
    InnerSender::trigger(&ObjectName::new("shop", "t"))
}

fn broker() -> ObjectName {
    "shop/default".parse().expect("a name")
}

/// A dead letter with this attribute beside its own.
fn dead_letter<'a>(event: &'a Event, extra: &'a [(&'a str, &'a str)]) -> Request<'a> {
    Request {
        outgoing: Outgoing { extra, ttl: None },
        ..request(event)
    }
}

async fn outcome(answer: Result<(), Refusal>) -> Outcome {
    let (target, event) = (Target::Broker(broker()), event());
    let made = try_attempt(&target, &request(&event), &answering(answer), &mut slot()).await;
    made.expect("nothing is short")
}

#[tokio::test]
async fn a_broker_gets_the_event_with_its_extra_attributes_and_its_hops() {
    let (target, intake) = (Target::Broker(broker()), answering(Ok(())));
    let counted = event().edit().attribute(hops::TTL, "7").build().expect("valid");
    for event in [event(), counted] {
        let extra = [("knativeerrorcode", "500"), ("knativeerrordest", "http://a/")];
        let made = try_attempt(&target, &dead_letter(&event, &extra), &intake, &mut slot()).await;
        assert_eq!(done(made.expect("nothing is short")), (202, false, String::new()));
    }
    for ((name, events, origin), left) in intake.offered.lock().iter().zip(["255", "7"]) {
        assert_eq!(
            (name, origin, events.len()),
            (&broker(), &Origin::Mesh(sender()), 1)
        );
        let text = |name| events[0].get(name).map(|value| value.text);
        assert_eq!(text(hops::TTL), Some(left));
        assert_eq!(text("knativeerrorcode"), Some("500"));
        assert_eq!(text("knativeerrordest"), Some("http://a/"));
        assert_eq!((events[0].id(), events[0].data()), ("A-1", event().data()));
    }
    assert_eq!(intake.offered.lock().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_again_or_final_as_it_is_for_every_sender() {
    let wait = Duration::from_secs(3);
    let full = Refusal::Full {
        code: "disk-full",
        reason: "no room".to_owned(),
        retry_after: wait,
    };
    let unavailable = Refusal::Unavailable {
        code: "shutting-down",
        reason: "it ends".to_owned(),
    };
    for (refusal, verdict, status, retry_after) in [
        (full, Verdict::Again, Some(503), Some(wait)),
        (unavailable, Verdict::Again, None, None),
        // It may come with the next change of the documents.
        (Refusal::UnknownBroker(broker()), Verdict::Again, None, None),
        (Refusal::TooLarge("2 MiB".to_owned()), Verdict::Final, None, None),
        (Refusal::Looping, Verdict::Final, None, None),
    ] {
        assert_eq!(
            outcome(Err(refusal.clone())).await,
            Outcome::Refused(refusal.clone())
        );
        let failure = Failure::from(refusal.clone());
        assert_eq!(
            (failure.verdict, failure.status, failure.retry_after),
            (verdict, status, retry_after),
            "{refusal}"
        );
        assert_eq!(failure.reason, refusal.to_string());
    }
}

#[tokio::test]
async fn an_event_that_cannot_carry_the_attributes_fails_for_good() {
    let (target, intake, event) = (Target::Broker(broker()), answering(Ok(())), event());
    let made = try_attempt(
        &target,
        &dead_letter(&event, &[("Bad", "1")]),
        &intake,
        &mut slot(),
    )
    .await;
    let Ok(Outcome::Failed(failure)) = made else {
        panic!("{made:?}");
    };
    assert_eq!((failure.verdict, failure.status), (Verdict::Final, None));
    assert!(intake.offered.lock().is_empty(), "nothing was offered");
}

#[tokio::test]
async fn a_url_gets_the_event_by_http_and_no_intake_is_asked() {
    let mut server = Server::once(OK).await;
    let (target, intake, event) = (Target::http(server.url("/")), answering(Ok(())), event());
    let extra = [("knativeerrorcode", "500")];
    let made = try_attempt(&target, &dead_letter(&event, &extra), &intake, &mut slot()).await;
    assert_eq!(done(made.expect("nothing is short")).0, 202);
    assert!(server.request().await.contains("ce-knativeerrorcode: 500\r\n"));
    assert!(intake.offered.lock().is_empty());
}

#[tokio::test]
async fn what_comes_from_outside_begins_to_count_its_hops_at_the_broker() {
    let (target, intake, event) = (Target::Broker(broker()), answering(Ok(())), event());
    let request = Request {
        origin: Origin::Producer(sender()),
        ..request(&event)
    };
    let made = try_attempt(&target, &request, &intake, &mut slot()).await;
    assert_eq!(done(made.expect("nothing is short")).0, 202);
    let offered = intake.offered.lock();
    let (_, events, origin) = &offered[0];
    assert_eq!((origin, &events[0]), (&Origin::Producer(sender()), &event));
}

#[tokio::test]
async fn a_broker_takes_batches_of_producers_and_a_url_takes_none() {
    let intake = answering(Ok(()));
    let url = Target::http("http://127.0.0.1:9/".parse().expect("a URL"));
    assert!(batches(&url, &intake, &sender()).is_none());
    let target = Target::Broker(broker());
    let sender = sender();
    let way = batches(&target, &intake, &sender).expect("a Broker takes batches");
    assert_eq!(way.offer(vec![event(), event()]).await, Ok(()));
    let offered = intake.offered.lock();
    let (name, events, origin) = &offered[0];
    assert_eq!(
        (name, origin, events.len()),
        (&broker(), &Origin::Producer(sender.clone()), 2)
    );
    // Whether it loops is counted from here on.
    assert_eq!(events[0].get(hops::TTL), None);
}
