//! What admission promises to its callers, without HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "the suites share their support and use different parts of it"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::{AppendError, Class};
use millrace_event::{DataForm, Event, InnerSender, Intake, ObjectName, Origin, Refusal, SpecVersion};
use millrace_model::Mesh;
use parking_lot::Mutex;
use support::{Memory, admission};

fn event(ttl: Option<&str>) -> Event {
    let builder = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .data(DataForm::Bytes, b"data");
    match ttl {
        Some(ttl) => builder.attribute("knativebrokerttl", ttl),
        None => builder,
    }
    .build()
    .unwrap()
}

fn sender() -> InnerSender {
    InnerSender::trigger(&broker("shop/t"))
}

fn producer() -> Origin {
    Origin::Producer(sender())
}

fn mesh_origin() -> Origin {
    Origin::Mesh(sender())
}

fn broker(name: &str) -> ObjectName {
    name.parse().unwrap()
}

#[tokio::test]
async fn an_event_is_stored_as_it_came_and_in_the_class_of_its_origin() {
    let memory = Memory::new();
    let (admission, _mesh, _) = admission(&memory, None);
    let sent = event(None);
    admission
        .admit(&broker("shop/default"), vec![sent.clone()], producer())
        .await
        .unwrap();
    admission
        .admit(&broker("shop/default"), vec![sent.clone()], mesh_origin())
        .await
        .unwrap();
    let appended = memory.appended.lock();
    let classes: Vec<_> = appended.iter().map(|(_, class)| *class).collect();
    assert_eq!(classes, [Class::Producer, Class::Reserve]);
    assert!(
        appended
            .iter()
            .all(|(stored, _)| stored.stored().as_ptr() == sent.stored().as_ptr())
    );
}

#[tokio::test]
async fn a_batch_is_one_append_or_none() {
    let memory = Memory::new();
    let (admission, _mesh, _) = admission(&memory, None);
    let batch = vec![event(None), event(Some("9")), event(None)];
    admission
        .admit(&broker("shop/default"), batch, producer())
        .await
        .unwrap();
    assert_eq!((*memory.appends.lock(), memory.events().len()), (1, 3));
    let batch = vec![event(None), event(Some("1")), event(None)];
    let refused = admission.admit(&broker("shop/default"), batch, producer()).await;
    assert_eq!(refused, Err(Refusal::Looping));
    assert_eq!(memory.events().len(), 3);
}

#[tokio::test]
async fn an_empty_batch_is_taken_without_an_append() {
    let memory = Memory::new();
    let (admission, _mesh, _) = admission(&memory, None);
    admission
        .admit(&broker("shop/default"), Vec::new(), producer())
        .await
        .unwrap();
    assert_eq!(*memory.appends.lock(), 0);
}

#[tokio::test]
async fn a_circle_of_brokers_ends() {
    let memory = Memory::new();
    let (admission, _mesh, _) = admission(&memory, None);
    let mut round = event(Some("255"));
    let mut rounds = 0;
    while admission
        .admit(&broker("shop/default"), vec![round.clone()], mesh_origin())
        .await
        .is_ok()
    {
        rounds += 1;
        round = memory.events().pop().unwrap();
    }
    assert_eq!(rounds, 254);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_by_its_reason() {
    let memory = Memory::new();
    let (admission, mesh, _) = admission(&memory, None);
    let admit = async |name: &str, events: Vec<Event>| {
        admission
            .admit(&broker(name), events, producer())
            .await
            .unwrap_err()
    };
    assert_eq!(
        admit("shop/none", vec![event(None)]).await,
        Refusal::UnknownBroker(broker("shop/none"))
    );
    assert_eq!(
        admit("shop/unready", vec![event(None)]).await.code(),
        "broker-not-ready"
    );
    assert_eq!(
        admit("shop/default", vec![event(None); 1001]).await.code(),
        "too-large"
    );
    for (error, code) in [
        (AppendError::Storage("no".into()), "storage-failed"),
        (AppendError::Closed, "shutting-down"),
        (
            AppendError::Full {
                code: "disk-full",
                reason: "full".into(),
                retry_after: Duration::ZERO,
            },
            "disk-full",
        ),
    ] {
        *memory.failing.lock() = Some(error);
        let refusal = admit("shop/default", vec![event(None)]).await;
        assert_eq!((refusal.code(), refusal.is_temporary()), (code, true));
    }
    mesh.send_replace(Arc::new(Mesh::default()));
    assert_eq!(
        admit("shop/default", vec![event(None)]).await.code(),
        "unknown-broker"
    );
}

#[tokio::test]
async fn the_observer_sees_what_was_stored_and_nothing_else() {
    let memory = Memory::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let (seen, memory) = (seen.clone(), memory.clone());
        move |broker: &ObjectName, events: &[Event]| {
            assert_eq!(memory.events().len(), 1, "stored before it is seen");
            seen.lock().push((broker.to_string(), events.len()));
        }
    };
    let (admission, _mesh, _) = admission(&memory, Some(Arc::new(observer)));
    admission
        .admit(&broker("shop/default"), vec![event(None)], producer())
        .await
        .unwrap();
    *memory.failing.lock() = Some(AppendError::Closed);
    let _ = admission
        .admit(&broker("shop/default"), vec![event(None)], producer())
        .await;
    assert_eq!(*seen.lock(), [("shop/default".to_owned(), 1)]);
}
