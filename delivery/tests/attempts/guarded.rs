//! The guard at work: a refused target is not connected to, and says so for good.

use millrace_delivery::egress::Egress;
use millrace_delivery::guard::Guard;
use millrace_delivery::{Connector, ConnectorOptions, Verdict};
use tokio::net::TcpListener;

use crate::server::{OK, Server, answers, done, event, failure, request, slot};

fn guarded(guard: Guard) -> Connector {
    Connector::new(ConnectorOptions {
        guard,
        ..ConnectorOptions::default()
    })
}

#[tokio::test]
async fn metadata_addresses_are_refused_for_good() {
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
    ] {
        let failure = failure(slot().attempt(&url.parse().expect(url), &request(&event())).await);
        assert_eq!((failure.verdict, failure.status), (Verdict::Final, None), "{url}");
        assert!(failure.reason.contains("refused"), "{}", failure.reason);
    }
}

#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    let server = Server::start(vec![answers(&[OK])]).await;
    let connector = guarded(Guard {
        refuse_loopback: true,
        refuse: vec![],
        ..Guard::default()
    });
    // The old ways to write 127.0.0.1, which only the resolver understands.
    for host in ["localhost", "127.1", "2130706433", "0x7f000001"] {
        let uri = format!("http://{host}:{}/", server.address.port())
            .parse()
            .expect("a URL");
        let failure = failure(connector.slot().attempt(&uri, &request(&event())).await);
        let by_the_guard = failure.verdict == Verdict::Final && failure.reason.contains("loopback");
        // Not every resolver knows every way; then there is nothing to judge.
        assert!(
            by_the_guard || failure.reason.starts_with("name not found"),
            "{host}: {}",
            failure.reason
        );
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn the_own_admin_listener_is_refused_and_its_neighbours_are_not() {
    let admin = Server::start(vec![answers(&[OK])]).await;
    let subscriber = Server::start(vec![answers(&[OK])]).await;
    let connector = guarded(Guard {
        refuse_loopback: false,
        refuse: vec![admin.address],
        ..Guard::default()
    });
    let failure = failure(
        connector
            .slot()
            .attempt(&admin.url("/api/v1/parked"), &request(&event()))
            .await,
    );
    assert_eq!(failure.verdict, Verdict::Final);
    assert!(failure.reason.contains("admin listener"), "{}", failure.reason);
    assert_eq!(admin.accepted(), 0);
    connector
        .slot()
        .attempt(&subscriber.url("/"), &request(&event()))
        .await;
    assert_eq!(subscriber.accepted(), 1);
}

#[tokio::test]
async fn an_admin_listener_on_all_addresses_is_refused_on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port();
    let everywhere = format!("0.0.0.0:{port}").parse().expect("an address");
    let connector = guarded(Guard {
        refuse_loopback: false,
        refuse: vec![everywhere],
        ..Guard::default()
    });
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let uri = format!("http://{host}:{port}/").parse().expect("a URL");
        let failure = failure(connector.slot().attempt(&uri, &request(&event())).await);
        assert_eq!(failure.verdict, Verdict::Final, "{host}: {}", failure.reason);
    }
}

#[tokio::test]
async fn what_the_operator_denies_is_refused_for_good_by_name_and_by_address() {
    let server = Server::start(vec![answers(&[OK, OK]), answers(&[OK])]).await;
    let rules = |text: &str| vec![text.parse().expect(text)];
    for (allow, deny, host, is_refused) in [
        (vec![], rules("127.0.0.0/8"), "127.0.0.1", true),
        (vec![], rules("localhost"), "localhost", true),
        (rules("public"), vec![], "127.0.0.1", true),
        (rules("127.0.0.1"), vec![], "127.0.0.1", false),
        (rules("*"), vec![], "169.254.169.254", true),
    ] {
        let connector = guarded(Guard {
            egress: Egress { allow, deny },
            ..Guard::default()
        });
        let uri = format!("http://{host}:{}/", server.address.port())
            .parse()
            .expect("a URL");
        let outcome = connector.slot().attempt(&uri, &request(&event())).await;
        if is_refused {
            let failure = failure(outcome);
            let by_the_guard = failure.verdict == Verdict::Final && failure.reason.contains("refused");
            assert!(by_the_guard, "{host}: {}", failure.reason);
        } else {
            assert_eq!(done(outcome).0, 202, "{host}");
        }
    }
    assert_eq!(server.accepted(), 1);
}
