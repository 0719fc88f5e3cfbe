//! Clients that send or take nothing for too long, and more clients than are served at one time.

use std::time::Duration;

use millrace_serve::ServeOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LARGE, exchange, post, rest, start, until};

#[tokio::test]
async fn a_header_that_does_not_end_gets_408_and_silence_gets_nothing() {
    let options = ServeOptions {
        header_read_timeout: Duration::from_millis(50),
        ..ServeOptions::default()
    };
    let served = start(options);
    let answer = exchange(served.address, b"POST /echo HTTP/1.1\r\nhost: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(exchange(served.address, b"").await, "");
    // Also the second header of a connection, whose idle timeout is far away.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\nx").await;
    stream.write_all(b"POST").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_service_may_take_longer_than_the_header_timeout() {
    let options = ServeOptions {
        header_read_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_millis(20),
        ..ServeOptions::default()
    };
    let served = start(options);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    // Connections that say nothing show that the time has passed.
    for _ in 0..3 {
        assert_eq!(exchange(served.address, b"").await, "");
    }
    served.gate.add_permits(1);
    assert!(rest(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let options = ServeOptions {
        idle_timeout: Duration::from_millis(30),
        ..ServeOptions::default()
    };
    let served = start(options);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(post("/echo", "", "x").as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\nx").await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let served = start(ServeOptions {
        write_timeout: Duration::from_millis(30),
        ..ServeOptions::default()
    });
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // The large answer tells when it is dropped.
    served.arrived.acquire().await.unwrap().forget();
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    assert!(taken.len() < LARGE, "the whole answer came");
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_408() {
    let served = start(ServeOptions::default());
    let request = "POST /slow-body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab";
    let answer = exchange(served.address, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"body-timeout\""),
        "{answer}"
    );
}

#[tokio::test]
async fn beyond_the_limit_connections_wait_until_one_ends() {
    let served = start(ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    });
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    served.arrived.acquire().await.unwrap().forget();
    let request = post("/echo", "connection: close\r\n", "second");
    let second = tokio::spawn({
        let address = served.address;
        async move { exchange(address, request.as_bytes()).await }
    });
    served.gate.add_permits(1);
    until(&mut first, "waited").await;
    drop(first);
    assert!(second.await.unwrap().ends_with("second"));
}
