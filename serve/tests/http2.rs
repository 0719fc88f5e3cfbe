//! What a listener promises its HTTP/2 clients, who may have several requests in hand on one connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use millrace_serve::{
    ClientCertificates, Drained, Listener, ListenerMetrics, ServeOptions, Tls, TlsFiles, serve,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Drained>,
    /// Requests to `/wait` are answered as permits are added.
    gate: Arc<Semaphore>,
    /// Gets a permit when a request to `/wait` has arrived, and one when it is dropped unanswered.
    arrived: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
    folder: TempDir,
}

/// Gives a permit when it is dropped.
struct OnDrop(Arc<Semaphore>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

fn start(options: ServeOptions) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
        client_authorities: None,
        clients: ClientCertificates::Optional,
    };
    std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let tls = Arc::new(Tls::load(files).unwrap());
    let listener = Listener::bind_all(None, Some(("127.0.0.1:0".parse().unwrap(), tls))).unwrap();
    let address = listener.secured().unwrap();
    let shutdown = CancellationToken::new();
    let [gate, arrived, dropped] = std::array::from_fn(|_| Arc::new(Semaphore::new(0)));
    let service = service_fn({
        let (gate, arrived, dropped) = (gate.clone(), arrived.clone(), dropped.clone());
        move |request: Request<Incoming>| {
            let (gate, arrived, dropped) = (gate.clone(), arrived.clone(), dropped.clone());
            async move {
                let body = match request.uri().path() {
                    "/wait" => {
                        let on_drop = OnDrop(dropped);
                        arrived.add_permits(1);
                        gate.acquire().await.unwrap().forget();
                        std::mem::drop(on_drop);
                        Bytes::from_static(b"waited")
                    }
                    "/panic" => panic!("asked to"),
                    _ => Bytes::from(vec![0; 100_000]),
                };
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            }
        }
    });
    let metrics = ListenerMetrics::default();
    let task = tokio::spawn(serve(listener, options, metrics, service, shutdown.clone()));
    Served {
        address,
        shutdown,
        task,
        gate,
        arrived,
        dropped,
        folder,
    }
}

/// A client, and its connection, which ends when the server closes it.
async fn client(served: &Served, window: u32) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(served.folder.path().join("tls.crt")).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let (client, connection) = if window == u32::MAX {
        handshake(stream).await.unwrap()
    } else {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(window)
            .handshake(stream)
            .await
            .unwrap()
    };
    (client.ready().await.unwrap(), tokio::spawn(connection))
}

async fn get(client: &mut SendRequest<Bytes>, path: &str) -> Result<StatusCode, h2::Error> {
    let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
    let (answer, _) = client.send_request(request, true)?;
    Ok(answer.await?.status())
}

/// Begins a request whose answer is not waited for.
fn begin(client: &mut SendRequest<Bytes>, path: &str) -> h2::client::ResponseFuture {
    let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
    client.send_request(request, true).unwrap().0
}

#[tokio::test]
async fn requests_run_beside_each_other_and_a_panic_is_one_requests_own() {
    let served = start(ServeOptions::default());
    let (mut client, _connection) = client(&served, u32::MAX).await;
    let waiting = begin(&mut client, "/wait");
    served.arrived.acquire().await.unwrap().forget();
    assert!(get(&mut client, "/panic").await.is_err());
    assert_eq!(get(&mut client, "/").await.unwrap(), StatusCode::OK);
    served.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_cancelled_request_drops_its_service() {
    let served = start(ServeOptions::default());
    let (mut client, _connection) = client(&served, u32::MAX).await;
    let waiting = begin(&mut client, "/wait");
    served.arrived.acquire().await.unwrap().forget();
    drop(waiting);
    served.dropped.acquire().await.unwrap().forget();
    assert_eq!(get(&mut client, "/").await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn beyond_one_request_a_connection_all_share_a_bound() {
    let served = start(ServeOptions {
        max_connections: 2,
        ..ServeOptions::default()
    });
    let (mut one, _first) = client(&served, u32::MAX).await;
    let (mut other, _second) = client(&served, u32::MAX).await;
    // One of its own, and both that all may have beyond.
    let waiting: Vec<_> = (0..3).map(|_| begin(&mut one, "/wait")).collect();
    served.arrived.acquire_many(3).await.unwrap().forget();
    assert_eq!(get(&mut one, "/").await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        get(&mut other, "/").await.unwrap(),
        StatusCode::OK,
        "the first of another"
    );
    served.gate.add_permits(3);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(get(&mut one, "/").await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn who_keeps_a_window_shut_loses_the_connection() {
    let served = start(ServeOptions {
        write_timeout: Duration::from_millis(200),
        ..ServeOptions::default()
    });
    let (mut shut, connection) = client(&served, 0).await;
    let answer = begin(&mut shut, "/large").await.unwrap();
    assert!(connection.await.unwrap().is_err(), "cut off, not ended");
    drop(answer);
    let (mut open, _connection) = client(&served, u32::MAX).await;
    assert_eq!(get(&mut open, "/").await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let served = start(ServeOptions::default());
    let (mut client, _connection) = client(&served, u32::MAX).await;
    let mut request = Request::get("https://localhost/");
    for nth in 0..257 {
        request = request.header(format!("x-{nth}"), "y");
    }
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let status = answer.await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_hand() {
    let served = start(ServeOptions::default());
    let (mut client, connection) = client(&served, u32::MAX).await;
    let waiting = begin(&mut client, "/wait");
    served.arrived.acquire().await.unwrap().forget();
    served.shutdown.cancel();
    served.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
    drop(client);
    let _ = connection.await.unwrap();
    let drained = served.task.await.unwrap();
    assert_eq!((drained.finished, drained.aborted), (1, 0));
}
