//! What admission promises to its callers, without HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "the suites share their support and use different parts of it"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use millrace_access::Gate;
use millrace_broker::{Admission, AdmissionParts};
use millrace_channel::{AppendError, Class};
use millrace_event::{
    Clock, DataForm, Event, InnerSender, Intake, ObjectName, Origin, Refusal, SpecVersion, Timestamp,
};
use millrace_filter::{Compiled, Filter};
use millrace_model::event_policy::Pattern;
use millrace_model::{EventPolicy, Mesh};
use support::{Memory, admission, parts};

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
    let (admission, _mesh, _) = admission(&memory);
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
    let (admission, _mesh, _) = admission(&memory);
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
    let (admission, _mesh, _) = admission(&memory);
    admission
        .admit(&broker("shop/default"), Vec::new(), producer())
        .await
        .unwrap();
    assert_eq!(*memory.appends.lock(), 0);
}

#[tokio::test]
async fn a_circle_of_brokers_ends() {
    let memory = Memory::new();
    let (admission, _mesh, _) = admission(&memory);
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
    let (admission, mesh, _) = admission(&memory);
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

/// A gate that asks who calls. Each Broker takes 1 000 events, and then no more: the clock stands.
fn gate(name: &str) -> Arc<Gate> {
    gate_of(
        name,
        "authentication: {certificates: [{name: till.example, brokers: ['*']}]}\n",
    )
}

/// The same of a file that says this beside the limit.
fn gate_of(name: &str, text: &str) -> Arc<Gate> {
    let file = std::env::temp_dir().join(format!("millrace-{name}-{}.yaml", std::process::id()));
    let limits = "limits: {brokers: [{broker: '*', eventsPerSecond: 1, eventsAtOnce: 1000}]}\n";
    std::fs::write(&file, format!("{text}{limits}")).unwrap();
    let gate = Gate::load(&file, Clock::manual(Timestamp(1_900_000_000_000))).unwrap();
    std::fs::remove_file(&file).unwrap();
    Arc::new(gate)
}

#[tokio::test]
async fn a_limit_is_paid_for_what_is_stored_or_may_be() {
    let memory = Memory::new();
    let (parts, _mesh, _) = parts(&memory);
    let (logs, gate) = (parts.logs.clone(), Some(gate("stored")));
    let admission = Admission::new(AdmissionParts { gate, ..parts });
    let admit = async |name: &str, events: Vec<Event>| {
        let admitted = admission.admit(&broker(name), events, producer()).await;
        admitted.map_err(|refusal| refusal.code())
    };
    let whole = || vec![event(None); 1000];
    assert_eq!(admit("shop/unready", whole()).await, Err("broker-not-ready"));
    logs.insert(broker("shop/unready"), memory.clone());
    assert_eq!(admit("shop/unready", whole()).await, Ok(()));
    assert_eq!(admit("shop/unready", whole()).await, Err("broker-rate-limited"));

    assert_eq!(
        admit("shop/default", vec![event(None); 1001]).await,
        Err("too-large")
    );
    assert_eq!(
        admit("shop/default", vec![event(Some("1")); 1000]).await,
        Err("looping")
    );
    let full = AppendError::Full {
        code: "disk-full",
        reason: "full".into(),
        retry_after: Duration::ZERO,
    };
    let away = AppendError::Away {
        reason: "away".into(),
        retry_after: Duration::ZERO,
    };
    for error in [
        full.clone(),
        AppendError::TooLarge("no".into()),
        AppendError::Closed,
    ] {
        *memory.failing.lock() = Some(error.clone());
        let refused = admit("shop/default", whole()).await;
        assert_ne!(refused, Err("broker-rate-limited"), "before {error}");
    }
    // A log that told a fault before does not even begin.
    *memory.fault.lock() = Some("the servers do not answer".into());
    for error in [away.clone(), AppendError::Storage("no".into())] {
        *memory.failing.lock() = Some(error.clone());
        let refused = admit("shop/default", whole()).await;
        assert_ne!(refused, Err("broker-rate-limited"), "before {error}");
    }
    *memory.fault.lock() = None;
    *memory.failing.lock() = None;
    assert_eq!(admit("shop/default", whole()).await, Ok(()), "all was given back");
    assert_eq!(
        admit("shop/default", vec![event(None)]).await,
        Err("broker-rate-limited")
    );
}

#[tokio::test]
async fn what_may_have_been_stored_is_not_given_back() {
    let away = AppendError::Away {
        reason: "away".into(),
        retry_after: Duration::ZERO,
    };
    for (error, atomic) in [
        (away, true),
        (AppendError::Storage("no".into()), true),
        // Some of a batch may be there.
        (AppendError::TooLarge("no".into()), false),
    ] {
        let memory = Memory::new();
        let (parts, _mesh, _) = parts(&memory);
        let gate = Some(gate("unknown"));
        let admission = Admission::new(AdmissionParts { gate, ..parts });
        let admit = async |count| {
            let events = vec![event(None); count];
            let admitted = admission.admit(&broker("shop/default"), events, producer()).await;
            admitted.map_err(|refusal| refusal.code())
        };
        *memory.atomic.lock() = atomic;
        *memory.failing.lock() = Some(error.clone());
        assert_ne!(admit(1000).await, Ok(()));
        *memory.failing.lock() = None;
        assert_eq!(admit(1).await, Err("broker-rate-limited"), "{error}");
    }
}

/// A policy for `shop/default`.
fn policy(from: &[&str], filters: Vec<Filter>) -> (ObjectName, Arc<EventPolicy>) {
    let compiled = Compiled::new(&filters).unwrap();
    let policy = EventPolicy {
        name: broker("shop/policy"),
        uid: None,
        brokers: vec![broker("shop/default")],
        from: from.iter().map(|text| Pattern::of(text)).collect(),
        compiled: (!filters.is_empty()).then(|| Arc::new(compiled)),
        filters,
    };
    (policy.name.clone(), Arc::new(policy))
}

#[tokio::test]
async fn a_source_pays_for_what_filters_of_policies_refuse_and_not_for_what_they_need_not_see() {
    let memory = Memory::new();
    let (parts, mesh, _) = parts(&memory);
    let admission = Admission::new(AdmissionParts {
        gate: Some(gate("paid")),
        ..parts
    });
    let admit = async |count| {
        let events = vec![event(None); count];
        let admitted = admission.admit(&broker("shop/default"), events, producer()).await;
        admitted.map_err(|refusal| refusal.code())
    };
    let bind = |from: &[&str], filters| {
        mesh.send_modify(|mesh| Arc::make_mut(mesh).policies = [policy(from, filters)].into());
    };
    bind(&[], Vec::new());
    assert_eq!(admit(1000).await, Err("no-policy-allows"), "nobody may");
    bind(
        &["*"],
        vec![Filter::Exact([("type".to_owned(), "paid".to_owned())].into())],
    );
    assert_eq!(admit(1000).await, Err("no-policy-allows"), "the type is another");
    assert_eq!(admit(1).await, Err("broker-rate-limited"));
    assert!(memory.events().is_empty());
}

#[tokio::test]
async fn where_nobody_is_asked_who_they_are_limits_count_and_policies_decide_nothing() {
    let memory = Memory::new();
    let (parts, mesh, _) = parts(&memory);
    mesh.send_modify(|mesh| Arc::make_mut(mesh).policies = [policy(&[], Vec::new())].into());
    let gate = Some(gate_of("open", ""));
    let admission = Admission::new(AdmissionParts { gate, ..parts });
    let admit = async |count, origin| {
        let events = vec![event(None); count];
        let admitted = admission.admit(&broker("shop/default"), events, origin).await;
        admitted.map_err(|refusal| refusal.code())
    };
    assert_eq!(admit(1000, producer()).await, Ok(()));
    assert_eq!(admit(1, producer()).await, Err("broker-rate-limited"));
    assert_eq!(
        admit(1, mesh_origin()).await,
        Ok(()),
        "what the mesh sends on was let in before"
    );
}
