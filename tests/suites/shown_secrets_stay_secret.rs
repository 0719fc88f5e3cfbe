//! Promise: what callers show, in whatever way, good or bad, is in no output of Millrace and in no file of
//! its data folder, nor in those of its commands.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use millrace_tests::access::{self, Access, with};
use millrace_tests::canaries::Canaries;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Client, Sink, process};

#[tokio::test]
async fn no_output_has_what_a_caller_shows() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let gone = access.token("gone", &["--broker", "*"]).await?;
    access.entries.clear();
    let producer = access.token("producer", &["--broker", "*"]).await?;
    let operator = access.token("operator", &["--admin-role", "operate"]).await?;
    let claims = format!("{{\"iss\":\"https://nobody.example\",\"sub\":\"{gone}\"}}");
    let [head, claims] = [r#"{"alg":"RS256","kid":"k"}"#, &claims].map(|part| BASE64_STANDARD.encode(part));
    let signature = format!("c2lnbmF0dXJl{:016x}", fastrand::u64(..));
    let jwt = [
        head.trim_end_matches('='),
        claims.trim_end_matches('='),
        &signature,
    ]
    .join(".");
    let mut canaries = Canaries::of(BTreeMap::from([
        ("gone", gone),
        ("producer", producer),
        ("operator", operator),
        ("signature", signature),
    ]));
    let folder = access.folder().to_path_buf();
    for name in ["gone", "producer", "operator"] {
        fs::write(folder.join(name), canaries.get(name))?;
    }
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let file = access.file().to_string_lossy().into_owned();
    let setup = Setup::new(documents.text())?.args(&["--access", &file]);
    let mut mesh = setup.environment("MILLRACE_LOG", "trace").start().await?;

    // Each way to show something, good and bad.
    let basic = |secret: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("shop:{secret}")));
    let shown = [
        (202, format!("Bearer {}", canaries.get("producer"))),
        (202, basic(canaries.get("producer"))),
        (403, format!("Bearer {}", canaries.get("operator"))),
        (401, format!("Bearer {}", canaries.get("gone"))),
        (401, basic(canaries.get("gone"))),
        (401, format!("Bearer {jwt}")),
        (401, basic(&jwt)),
        (401, format!("Token {}", canaries.get("producer"))),
        (401, canaries.get("producer").to_owned()),
    ];
    for (nth, (status, authorization)) in shown.iter().enumerate() {
        let message = with(&nth.to_string(), authorization);
        let answer = Client::new(mesh.listen()).post("/shop/default", &message).await?;
        assert_eq!(answer.status, *status, "{nth}");
        canaries.note(format!("answer {nth}"), answer.body.to_vec());
        canaries.note(format!("headers {nth}"), format!("{:?}", answer.headers));
    }
    sink.wait_for("/all", 2).await?;
    for received in sink.received("/all") {
        canaries.note("a delivery", format!("{received:?}"));
    }
    let operator = canaries.get("operator").to_owned();
    for path in [
        "/",
        "/metrics",
        "/api/v1/brokers",
        "/api/v1/triggers",
        "/api/v1/events?broker=shop/default",
        "/api/v1/explain?broker=shop/default&id=0",
        "/api/v1/parked",
    ] {
        let answer = access::ask(&mesh, &operator, &Method::GET, path).await?;
        assert_eq!(answer.status, 200, "{path}");
        canaries.note(format!("GET {path}"), answer.body.to_vec());
    }
    let [admin, url] = [mesh.admin().address(), mesh.listen()].map(|at| format!("http://{at}"));
    for name in ["operator", "producer", "gone"] {
        let token = folder.join(name).to_string_lossy().into_owned();
        for args in [
            vec!["triggers", "--admin", &admin],
            vec!["parked", "list", "--admin", &admin],
            vec!["send", "--url", &url, "--broker", "shop/default", "--type", "t"],
            vec!["context", "add", "here", "--admin", &admin, "--url", &url],
            vec!["context", "list"],
        ] {
            let in_file = [args.clone(), vec!["--token-file", &token]].concat();
            for (args, variable) in [(in_file, String::new()), (args, canaries.get(name).to_owned())] {
                let mut command = Command::new(process::binary()?);
                command.args(&args).env("XDG_CONFIG_HOME", folder.join("config"));
                command.env("MILLRACE_LOG", "trace");
                if !variable.is_empty() {
                    command.env("MILLRACE_TOKEN", &variable);
                }
                let output = command.output()?;
                let what = format!("{name}: millrace {}", args.join(" "));
                canaries.note(&*what, output.stdout);
                canaries.note(what, output.stderr);
            }
        }
    }
    mesh.stop().await?;
    let data: PathBuf = mesh.setup().data_folder().to_path_buf();
    canaries.note_files(&data)?;
    canaries.note_files(&folder.join("config"))?;
    canaries.note("the access file", fs::read(access.file())?);
    for name in ["stdout", "stderr"] {
        let said = fs::read(mesh.setup().folder().join(name)).unwrap_or_default();
        canaries.note(name, said);
    }
    canaries.assert_nowhere();
    Ok(())
}
