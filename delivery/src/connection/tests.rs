//! What a slot holds while it waits: never a connection that another owner could use.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use http::Uri;
use millrace_event::{DataForm, Event, InnerSender, ObjectName, Origin, SpecVersion};
use millrace_model::Format;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::connector::{Connector, ConnectorOptions};
use crate::lookups::Lookups;
use crate::permits::Shown;
use crate::resolve::Resolver;

/// One connection and one lookup at a time; names are looked up by `ask`.
fn connector(ask: impl Fn(&str) -> std::io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Connector {
    let mut connector = Connector::new(ConnectorOptions {
        max_connections: 1,
        ..ConnectorOptions::default()
    });
    let lookups = Lookups::new(1, Shown::default(), ask);
    Arc::make_mut(&mut connector.shared).resolver = Resolver::new(Duration::from_secs(60), lookups);
    connector
}

fn here() -> std::io::Result<Vec<IpAddr>> {
    Ok(vec![Ipv4Addr::LOCALHOST.into()])
}

fn event() -> Event {
    Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
        .data(DataForm::Bytes, b"x")
        .build()
        .expect("a valid event")
}

/// A request to a port where nothing listens (9).
async fn attempt(slot: &mut Connection, name: &str) -> Result<Outcome, Shortage> {
    let uri: Uri = format!("http://{name}.example:9/").parse().expect("a URL");
    let request = Request {
        event: &event(),
        origin: Origin::Mesh(InnerSender::trigger(&ObjectName::new("shop", "t"))),
        outgoing: millrace_event::http::Outgoing::default(),
        format: Format::Binary,
        namespace: "shop",
        wants_reply: false,
        timeout: Duration::from_secs(60),
        sender: None,
    };
    slot.try_attempt(&uri, &request).await
}

#[tokio::test]
async fn a_name_is_looked_up_once_however_long_the_connection_is_waited_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let connector = connector(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        here()
    });
    let other = connector.share();
    let held = other.owner.ask().expect("the only connection");
    let mut slot = connector.share().slot();
    assert_eq!(attempt(&mut slot, "a").await, Err(Shortage::Connections));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    tokio::time::resume();
    drop(held);
    slot.room(Shortage::Connections).await;
    assert!(matches!(attempt(&mut slot, "a").await, Ok(Outcome::Failed(_))));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_connection_is_held_while_a_lookup_is_waited_for() {
    let (release, released) = mpsc::channel::<()>();
    let (released, begun) = (Mutex::new(released), Arc::new(Notify::new()));
    let begins = Arc::clone(&begun);
    let connector = connector(move |name| {
        if name.starts_with("hangs") {
            begins.notify_one();
            let _ = released.lock().recv();
        }
        here()
    });
    let other = connector.share();
    let mut hangs = other.slot();
    let hanging = tokio::spawn(async move { attempt(&mut hangs, "hangs").await });
    begun.notified().await;
    // It has a connection, which it waited for or closed, and its next target is another one.
    for waited in [true, false] {
        let mut slot = connector.share().slot();
        let held = other.owner.ask().expect("the only connection");
        if waited {
            slot.means.in_line = slot.parked.owner().ask().err();
            drop(held);
            slot.room(Shortage::Connections).await;
        } else {
            slot.means.permit = Some(held);
        }
        assert!(slot.means.permit.is_some());
        assert_eq!(attempt(&mut slot, "a").await, Err(Shortage::Lookups));
        assert!(other.owner.ask().is_ok(), "somebody else gets it");
    }
    drop(release);
    assert!(matches!(hanging.await, Ok(Ok(Outcome::Failed(_)))));
}

#[tokio::test]
async fn the_future_of_an_attempt_is_small() {
    let connector = connector(|_| here());
    let mut slot = connector.slot();
    let uri: Uri = "http://a.example/".parse().expect("a URL");
    let event = event();
    let request = Request {
        event: &event,
        origin: Origin::Mesh(InnerSender::trigger(&ObjectName::new("shop", "t"))),
        outgoing: millrace_event::http::Outgoing::default(),
        format: Format::Binary,
        namespace: "shop",
        wants_reply: true,
        timeout: Duration::from_secs(60),
        sender: None,
    };
    // Each delivery under way has one in its task.
    let size = size_of_val(&slot.try_attempt(&uri, &request));
    assert!(size <= 2048, "{size} bytes");
}
