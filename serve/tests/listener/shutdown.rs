//! Shutdown: requests in hand are finished while there is time.

use std::time::Duration;

use millrace_serve::{Drained, ServeOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Served, post, rest, start, until};

/// A connection whose request is in hand, and stays so until the gate opens.
async fn busy(served: &Served) -> TcpStream {
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    busy
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_finishes_requests_in_hand() {
    let served = start(ServeOptions::default());
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut idle, "\r\n\r\nx").await;
    let mut busy = busy(&served).await;
    served.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(
        TcpStream::connect(served.address).await.is_err(),
        "nobody listens any more"
    );
    served.gate.add_permits(1);
    let answer = rest(&mut busy).await;
    assert!(
        answer.ends_with("waited") && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(served.task.await.unwrap().aborted, 0);
}

#[tokio::test]
async fn requests_that_do_not_finish_are_cut_off_and_counted() {
    let served = start(ServeOptions {
        drain_timeout: Duration::from_millis(20),
        ..ServeOptions::default()
    });
    let _busy = busy(&served).await;
    served.shutdown.cancel();
    assert_eq!(
        served.task.await.unwrap(),
        Drained {
            finished: 0,
            aborted: 1
        }
    );
}
