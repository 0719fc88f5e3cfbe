//! What an ApiServerSource makes of an API server that does what a real one does only rarely: every answer is
//! scripted.

use std::sync::Arc;
use std::time::Duration;

use millrace_event::{Clock, Event, ObjectName};
use millrace_filter::Compiled;
use millrace_model::source::ApiServer;
use millrace_model::source::api_server::{Namespaces, ObjectKind, ObjectMode, WatchedKind};
use millrace_model::{NamedFile, Source, SourceKind, SourceSpec, Target};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Broker, Process, Store};

/// Answers by what is asked for; of each, first to last, and the last one again and again.
#[derive(Default)]
struct Script {
    lists: Mutex<Vec<String>>,
    /// The versions at which the server says that it is.
    versions: Mutex<Vec<u64>>,
    watches: Mutex<Vec<Vec<String>>>,
    /// The token without which the server answers nothing.
    token: Mutex<Option<String>>,
}

/// An object of the version `version`.
fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"{name}","resourceVersion":"{version}"}}}}"#
    )
}

fn list(version: u64, next: &str, objects: &[(&str, u64)]) -> String {
    let objects: Vec<String> = objects
        .iter()
        .map(|(name, version)| object(name, *version))
        .collect();
    let items = objects.join(",");
    format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#)
}

fn seen(name: &str, version: u64) -> String {
    format!(r#"{{"type":"MODIFIED","object":{}}}"#, object(name, version))
}

const GONE: &str = r#"{"kind":"Status","code":410,"message":"too old"}"#;
const KINDS: &str =
    r#"{"resources":[{"name":"configmaps","kind":"ConfigMap","namespaced":true,"verbs":["list","watch"]}]}"#;

/// The first that is left; the last one stays.
fn turn<T: Clone>(script: &Mutex<Vec<T>>) -> Option<T> {
    let mut script = script.lock();
    if script.len() > 1 {
        Some(script.remove(0))
    } else {
        script.first().cloned()
    }
}

/// Serves the script; gives the folder with the kubeconfig.
async fn serve(script: &Arc<Script>) -> tempfile::TempDir {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let server = format!("http://{}", listener.local_addr().expect("bound"));
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{tokenFile: token}}}}],
          contexts: [{{name: c, context: {{cluster: k, user: u}}}}], clusters: [{{name: k, cluster: {{server: \"{server}\"}}}}]}}"
    );
    std::fs::write(folder.path().join("kubeconfig"), config).expect("a file");
    std::fs::write(folder.path().join("token"), "first\n").expect("a file");
    let script = script.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, script.clone()));
        }
    });
    folder
}

/// One request a connection.
async fn answer(mut stream: TcpStream, script: Arc<Script>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let token = script.token.lock().clone();
    if token.is_some_and(|token| !head.contains(&format!("authorization: Bearer {token}\r\n"))) {
        let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(answer.as_bytes()).await;
    }
    let body = if path == "/api/v1" {
        KINDS.to_owned()
    } else if path.contains("watch=true") {
        let lines = turn(&script.watches);
        let is_last = lines.is_none();
        let body: String = lines
            .unwrap_or_default()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        if is_last {
            std::future::pending::<()>().await;
        }
        return Ok(());
    } else if path.contains("limit=1&") || path.ends_with("limit=1") {
        list(turn(&script.versions).unwrap_or(u64::MAX), "", &[])
    } else {
        turn(&script.lists).unwrap_or_default()
    };
    let status = if body == GONE { "410 Gone" } else { "200 OK" };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await
}

/// Starts a source that watches what the kubeconfig in this folder leads to.
fn start(folder: &tempfile::TempDir, broker: &Arc<Broker>, store: &Arc<Store>) -> Process {
    let source = Source {
        name: ObjectName::new("shop", "watched"),
        sink_auth: None,
        sink: Ok(Target::Broker(ObjectName::new("shop", "default"))),
        overrides: Vec::new(),
        spec: SourceSpec::ApiServer(Box::new(ApiServer {
            kubeconfig: Some(NamedFile {
                path: folder.path().join("kubeconfig"),
                folder: folder.path().to_owned(),
            }),
            mode: ObjectMode::Reference,
            resources: vec![WatchedKind {
                object: ObjectKind {
                    api_version: "v1".to_owned(),
                    kind: "ConfigMap".to_owned(),
                },
                selector: String::new(),
            }],
            namespaces: Namespaces::Own,
            owner: None,
            filters: Vec::new(),
            compiled: Arc::new(Compiled::new(&[]).expect("no filter")),
            initial_list: false,
        })),
    };
    Process::start([source], broker, store, &Clock::System)
}

/// The ids so far; those that were found by comparing with a `~`.
fn told(broker: &Broker) -> Vec<String> {
    let mark = |event: &Event| {
        let is_reconstructed = event.get("millracereconstructed").is_some();
        format!("{}{}", if is_reconstructed { "~" } else { "" }, event.id())
    };
    broker.taken.lock().iter().map(mark).collect()
}

async fn until_told(broker: &Broker, expected: &[&str]) {
    until(
        || told(broker) == expected,
        || format!("{:?} instead of {expected:?}", told(broker)),
    )
    .await;
}

async fn until(is_so: impl Fn() -> bool, seen: impl Fn() -> String) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{}", seen());
}

#[tokio::test]
async fn a_410_in_the_middle_tells_the_difference_and_no_storm() {
    let script = Arc::new(Script::default());
    *script.lists.lock() = vec![
        list(10, "", &[("a", 1), ("b", 2)]),
        list(20, "", &[("a", 1), ("b", 12), ("c", 13)]),
    ];
    let expired = format!(r#"{{"type":"ERROR","object":{GONE}}}"#);
    *script.watches.lock() = vec![vec![seen("a", 11), expired], vec![seen("c", 21)]];
    // The object `a` is back at an earlier version, which is as good as another one.
    let (broker, store) = Default::default();
    let folder = serve(&script).await;
    let process = start(&folder, &broker, &store);
    until_told(
        &broker,
        &[
            "a.11.update",
            "~a.1.update",
            "~b.12.update",
            "~c.13.add",
            "c.21.update",
        ],
    )
    .await;
    process.stop().await;
}

#[tokio::test]
async fn a_server_that_was_set_back_to_a_backup_is_compared_and_not_waited_for() {
    let script = Arc::new(Script::default());
    *script.lists.lock() = vec![list(100, "", &[("a", 90), ("b", 95)]), list(50, "", &[("a", 40)])];
    *script.versions.lock() = vec![50];
    *script.watches.lock() = vec![Vec::new(), vec![seen("a", 51)]];
    let (broker, store) = Default::default();
    let folder = serve(&script).await;
    let process = start(&folder, &broker, &store);
    until_told(&broker, &["~a.40.update", "~b.95.delete", "a.51.update"]).await;
    process.stop().await;
}

#[tokio::test]
async fn a_list_that_expires_between_two_pages_is_begun_again() {
    let script = Arc::new(Script::default());
    *script.lists.lock() = vec![
        list(10, "more", &[("a", 1)]),
        GONE.to_owned(),
        list(11, "more", &[("a", 1)]),
        list(11, "", &[("b", 11)]),
    ];
    *script.watches.lock() = vec![vec![seen("b", 12)]];
    let (broker, store) = Default::default();
    let folder = serve(&script).await;
    let process = start(&folder, &broker, &store);
    until_told(&broker, &["b.12.update"]).await;
    process.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_passed_by() {
    let script = Arc::new(Script::default());
    *script.lists.lock() = vec![list(10, "", &[("a", 1)])];
    let nonsense = r#"{"type":"ADDED","object":{"metadata":{}}}"#.to_owned();
    *script.watches.lock() = vec![vec!["nonsense".to_owned(), nonsense, seen("a", 11)]];
    let (broker, store) = Default::default();
    let folder = serve(&script).await;
    let process = start(&folder, &broker, &store);
    until_told(&broker, &["a.11.update"]).await;
    until(
        || process.status_of(SourceKind::ApiServer, "watched").refused >= 2,
        || format!("{:?}", process.status_of(SourceKind::ApiServer, "watched")),
    )
    .await;
    process.stop().await;
}

#[tokio::test]
async fn a_token_in_a_file_that_is_renewed_is_read_again() {
    let script = Arc::new(Script::default());
    *script.lists.lock() = vec![list(10, "", &[("a", 1)])];
    *script.watches.lock() = vec![vec![seen("a", 11)]];
    *script.token.lock() = Some("second".to_owned());
    let (broker, store) = Default::default();
    let folder = serve(&script).await;
    let process = start(&folder, &broker, &store);
    let status = || format!("{:?}", process.status_of(SourceKind::ApiServer, "watched"));
    until(|| status().contains("does not accept the credentials"), status).await;
    std::fs::write(folder.path().join("token"), "second\n").expect("a file");
    until_told(&broker, &["a.11.update"]).await;
    process.stop().await;
}
