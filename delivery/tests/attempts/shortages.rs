//! Limited things are shared, and a slot that has to wait for one has not made an attempt.

use millrace_delivery::{Connector, ConnectorOptions, Metrics, Share};
use millrace_model::Shortage;
use prometheus_client::registry::Registry;

use crate::server::{OK, Server, Step, answers, done, event, request};

fn connector(max_connections: usize) -> (Connector, Registry) {
    let mut registry = Registry::default();
    let options = ConnectorOptions {
        max_connections,
        ..ConnectorOptions::default()
    };
    let connector = Connector::new(options).with_metrics(Metrics::register(&mut registry));
    (connector, registry)
}

#[track_caller]
fn assert_metrics(registry: &Registry, lines: &[&str]) {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("encodes");
    for line in lines {
        assert!(text.lines().any(|shown| shown == *line), "{line} in {text}");
    }
}

async fn deliver(share: &Share, server: &Server) {
    let mut slot = share.slot();
    let outcome = slot.attempt(&server.url("/"), &request(&event())).await;
    assert_eq!(done(outcome).0, 202);
}

#[tokio::test]
async fn an_idle_connection_is_closed_for_who_waits() {
    let server = Server::start(vec![answers(&[OK]), answers(&[OK]), answers(&[OK])]).await;
    let (connector, registry) = connector(1);
    let (idle, other) = (connector.share(), connector.share());
    let mut kept = idle.slot();
    for _ in 0..2 {
        done(kept.attempt(&server.url("/"), &request(&event())).await);
        if server.accepted() == 1 {
            kept.rest();
            assert!(kept.is_open());
            deliver(&other, &server).await;
            assert!(!kept.is_open(), "the other one got it");
        }
    }
    assert_eq!(server.accepted(), 3);
    assert_metrics(
        &registry,
        &[
            "millrace_delivery_open_connections 1",
            "millrace_delivery_open_connections_limit 1",
            "millrace_delivery_waiting_for_connection 0",
        ],
    );
}

#[tokio::test]
async fn who_waits_has_made_no_attempt_and_gets_the_connection_of_one_that_ends() {
    let hangs = vec![Step::Request, Step::Hold];
    let mut server = Server::start(vec![hangs, answers(&[OK])]).await;
    let (connector, registry) = connector(1);
    let (mut hanging, share) = (connector.share().slot(), connector.share());
    let (uri, event) = (server.url("/"), event());
    let request = request(&event);
    let mut waits = share.slot();
    let attempt = hanging.attempt(&uri, &request);
    tokio::select! {
        // In this order: the first one has the only connection when the second one asks.
        biased;
        outcome = attempt => panic!("answered: {outcome:?}"),
        () = async {
            server.request().await;
            for _ in 0..2 {
                assert_eq!(waits.try_attempt(&uri, &request).await, Err(Shortage::Connections));
            }
        } => {}
    }
    waits.room(Shortage::Connections).await;
    let outcome = waits.try_attempt(&uri, &request).await.expect("there is room");
    assert_eq!(done(outcome).0, 202);
    assert_metrics(
        &registry,
        &[
            "millrace_delivery_shortages_total{of=\"connections\"} 1",
            "millrace_delivery_attempts_total{outcome=\"delivered\"} 1",
            "millrace_delivery_attempts_total{outcome=\"timed_out\"} 0",
        ],
    );
}

#[tokio::test]
async fn who_stands_in_line_and_goes_away_takes_nothing_with_it() {
    let server = Server::start(vec![answers(&[OK]), answers(&[OK])]).await;
    let (connector, registry) = connector(1);
    let (first, second) = (connector.share(), connector.share());
    let hanging = Server::start(vec![vec![Step::Request, Step::Hold]]).await;
    let (uri, event) = (hanging.url("/"), event());
    let request = request(&event);
    let mut slot = first.slot();
    let attempt = slot.try_attempt(&uri, &request);
    tokio::select! {
        biased;
        outcome = attempt => panic!("answered: {outcome:?}"),
        () = async {
            let mut gone = second.slot();
            while gone.try_attempt(&uri, &request).await.is_ok() {}
            drop(gone);
        } => {}
    }
    drop(slot);
    deliver(&second, &server).await;
    deliver(&first, &server).await;
    assert_metrics(&registry, &["millrace_delivery_waiting_for_connection 0"]);
}

#[tokio::test]
async fn a_slot_that_makes_one_attempt_after_another_gives_way_at_the_end_of_one() {
    let server = Server::start(vec![answers(&[OK, OK, OK]), answers(&[OK]), answers(&[OK])]).await;
    let (connector, _) = connector(1);
    let (mut busy, other) = (connector.share().slot(), connector.share());
    let (uri, event) = (server.url("/"), event());
    let request = request(&event);
    for _ in 0..2 {
        done(busy.attempt(&uri, &request).await);
        assert!(busy.is_open(), "nobody waits");
    }
    let mut waits = other.slot();
    assert_eq!(
        waits.try_attempt(&uri, &request).await,
        Err(Shortage::Connections)
    );
    assert!(busy.is_open(), "it is not taken from a slot that is at work");
    done(busy.attempt(&uri, &request).await);
    assert!(!busy.is_open(), "the other one gets it");
    waits.room(Shortage::Connections).await;
    assert_eq!(done(waits.attempt(&uri, &request).await).0, 202);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_slot_that_rests_gives_way_to_who_waits_already_and_leaves_the_line() {
    let server = Server::start(vec![answers(&[OK]), answers(&[OK]), answers(&[OK])]).await;
    let (connector, registry) = connector(1);
    let (mut first, other) = (connector.share().slot(), connector.share());
    let (uri, event) = (server.url("/"), event());
    let request = request(&event);
    done(first.attempt(&uri, &request).await);
    let mut second = other.slot();
    assert_eq!(
        second.try_attempt(&uri, &request).await,
        Err(Shortage::Connections)
    );
    first.rest();
    assert!(!first.is_open());
    done(second.attempt(&uri, &request).await);
    assert_eq!(
        first.try_attempt(&uri, &request).await,
        Err(Shortage::Connections)
    );
    // Whoever has nothing to attempt any more holds nobody up.
    first.rest();
    assert_metrics(&registry, &["millrace_delivery_waiting_for_connection 0"]);
    second.rest();
    assert!(second.is_open(), "nobody waits");
    assert_eq!(server.accepted(), 2);
}
