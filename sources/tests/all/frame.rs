//! What the frame around sources promises, whatever their kind; cron is the kind at hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use millrace_event::{Clock, Refusal};
use millrace_model::source::CatchUp;
use millrace_model::{NoTarget, Source, SourceState, Target};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::support::{Broker, Process, Script, Store, clock, pass, settle, source, spec};

const MINUTE: Duration = Duration::from_secs(60);

fn parts() -> (Arc<Broker>, Arc<Store>, Clock) {
    (Arc::default(), Arc::default(), clock("2026-06-01T10:00:30Z"))
}

fn minutely(name: &str) -> Source {
    source(name, spec("* * * * *", CatchUp::All))
}

/// A sink that keeps `id` and `team` of what it is sent, and answers with these statuses, then with 202.
async fn sink(statuses: &[u16]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let (kept, statuses) = (seen.clone(), statuses.to_vec());
    let answer = move |request: Request<Incoming>| {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or("-")
                .to_owned()
        };
        let mut seen = kept.lock();
        let status = statuses.get(seen.len()).copied().unwrap_or(202);
        seen.push(format!("{} {} {status}", header("ce-id"), header("ce-team")));
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        std::future::ready(Ok::<_, Infallible>(response))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(answer.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_url_gets_events_in_order_with_the_overrides_and_again_what_it_did_not_take() {
    let (address, seen) = sink(&[503, 202, 400]).await;
    let (broker, store, clock) = parts();
    let mut source = minutely("tick");
    source.sink = Ok(Target::http(
        format!("http://{address}/in").parse().expect("a URL"),
    ));
    source.overrides = vec![("team".to_owned(), "payments".to_owned())];
    let process = Process::start([source], &broker, &store, &clock);
    let ready = async {
        while process.status("tick").state != SourceState::Ready {
            settle().await;
        }
    };
    tokio::time::timeout(MINUTE, ready).await.expect("it gets ready");
    pass(&clock, 3 * MINUTE).await;
    let all = async {
        while seen.lock().len() < 4 {
            settle().await;
        }
    };
    tokio::time::timeout(MINUTE, all).await.expect("four requests");
    let expected = [
        "2026-06-01T10:01:00Z payments 503",
        "2026-06-01T10:01:00Z payments 202",
        "2026-06-01T10:02:00Z payments 400",
        "2026-06-01T10:03:00Z payments 202",
    ];
    assert_eq!(*seen.lock(), expected);
    assert!(broker.ids().is_empty());
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_down_or_fails_is_run_again_and_loses_nothing() {
    let (broker, store, clock) = parts();
    broker.refuse([Script::Panic]);
    let process = Process::start([minutely("tick")], &broker, &store, &clock);
    pass(&clock, MINUTE).await;
    let status = process.status("tick");
    assert_eq!(status.state, SourceState::NotReady);
    assert!(status.reason.is_some_and(|reason| reason.contains("broke down")));
    // Longer than the wait, and than a claim that was left behind.
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        (broker.ids(), process.status("tick").state),
        (vec!["2026-06-01T10:01:00Z".to_owned()], SourceState::Ready)
    );

    *store.failures.lock() = 3;
    pass(&clock, MINUTE).await;
    assert_eq!(process.status("tick").state, SourceState::NotReady);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        broker.ids().last().map(String::as_str),
        Some("2026-06-01T10:02:00Z")
    );
    assert_eq!(process.status("tick").state, SourceState::Ready);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_touches_only_what_it_changes() {
    let (broker, store, clock) = parts();
    broker.refuse([Script::Hang]);
    let process = Process::start(
        [minutely("same"), source("other", spec("@yearly", CatchUp::Last))],
        &broker,
        &store,
        &clock,
    );
    pass(&clock, MINUTE).await;
    assert_eq!(*broker.offers.lock(), 1, "one offer is under way");
    process.reload([minutely("same"), source("third", spec("@daily", CatchUp::Last))]);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        *broker.offers.lock(),
        1,
        "and stays so: the source was not started again"
    );
    assert_eq!(process.status("third").state, SourceState::Ready);
    let mut changed = minutely("same");
    changed.overrides = vec![("team".to_owned(), "payments".to_owned())];
    process.reload([changed]);
    tokio::time::sleep(MINUTE).await;
    let taken = broker.taken.lock().clone();
    let team = taken
        .first()
        .and_then(|event| event.get("team").map(|value| value.text.to_owned()));
    assert_eq!((taken.len(), team.as_deref()), (1, Some("payments")));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_edited_source_is_starting_until_it_reports_whatever_its_predecessor_says() {
    let (broker, store, clock) = parts();
    let process = Process::start([minutely("tick")], &broker, &store, &clock);
    pass(&clock, MINUTE).await;
    let now = || {
        let all = process.board.sources_of(&process.mesh.borrow());
        let (_, status) = all.into_values().next().expect("it is in the mesh");
        (status.state, status.events)
    };
    assert_eq!(now(), (SourceState::Ready, 1));
    // This one hangs on when it is to end.
    broker.refuse([Script::Hang]);
    pass(&clock, MINUTE).await;
    let mut changed = minutely("tick");
    changed.overrides = vec![("team".to_owned(), "payments".to_owned())];
    process.reload([changed]);
    assert_eq!(now().0, SourceState::Starting);
    assert_eq!(
        process.status("tick").state,
        SourceState::Ready,
        "its predecessor"
    );
    tokio::time::sleep(MINUTE).await;
    assert_eq!(now(), (SourceState::Ready, 2), "what was counted goes on");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_sink_says_so_and_does_not_run() {
    let (broker, store, clock) = parts();
    let mut source = minutely("tick");
    source.sink = Err(NoTarget::NotNamed);
    let process = Process::start([source], &broker, &store, &clock);
    pass(&clock, 2 * MINUTE).await;
    let status = process.status("tick");
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (SourceState::NotReady, Some("it has no `sink`"))
    );
    process.reload([minutely("tick")]);
    settle().await;
    assert_eq!(process.status("tick").state, SourceState::Ready);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_in_hand_and_not_for_ever() {
    let (broker, store, clock) = parts();
    broker.refuse([Script::Hang]);
    let process = Process::start([minutely("tick")], &broker, &store, &clock);
    pass(&clock, MINUTE).await;
    // The drain ends after 5 s; without it this would never return.
    process.stop().await;

    let full = Script::Refuse(Refusal::Full {
        code: "disk-full",
        reason: "no room".to_owned(),
        retry_after: Duration::from_secs(3600),
    });
    broker.refuse((0..10).map(|_| full.clone()));
    let process = Process::start([minutely("tick")], &broker, &store, &clock);
    tokio::time::sleep(MINUTE).await;
    process.stop().await;
    broker.refusals.lock().clear();
    let process = Process::start([minutely("tick")], &broker, &store, &clock);
    settle().await;
    assert_eq!(
        broker.ids(),
        ["2026-06-01T10:01:00Z"],
        "given back at the stop, so nobody waits for it"
    );
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone_leaves_neither_status_nor_series() {
    let (broker, store, clock) = parts();
    broker.refuse([Script::Refuse(Refusal::TooLarge("too large".to_owned()))]);
    let process = Process::start([minutely("tick"), minutely("other")], &broker, &store, &clock);
    pass(&clock, 2 * MINUTE).await;
    let metrics = process.metrics();
    for line in [
        "millrace_source_events_total{kind=\"CronSource\",namespace=\"shop\",source=\"tick\"}",
        "code=\"too-large\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    process.reload([]);
    settle().await;
    let metrics = process.metrics();
    assert!(!metrics.contains("CronSource"), "{metrics}");
    assert!(process.board.sources().is_empty());
    process.stop().await;
}
