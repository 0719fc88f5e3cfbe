//! Promise: what a delivery shows reaches its target and nobody else: no other server, no output of Millrace,
//! no file of its data folder, and no core dump.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use millrace_tests::canaries::Canaries;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::process::Process;
use millrace_tests::proofs::{DEAD_LETTER, SUBSCRIBER};
use millrace_tests::{Answer, Event, Mesh, Received, Sink, tls, wait_until};

/// Paths that are asked in another way: they need parameters, or never end.
const ASKED: [&str; 3] = ["/events", "/explain", "/tail"];

/// What a delivery shows, and what else a document names.
fn shown_to_targets() -> anyhow::Result<Canaries> {
    let word = |name: &str| format!("canary-{name}-{:016x}", fastrand::u64(..));
    let octets: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    let signing = format!("whsec_{}", BASE64_STANDARD.encode(octets));
    let identity = tls::self_signed(&["client"], false)?;
    let mut secrets = BTreeMap::new();
    for name in ["token", "password", "dead", "broken", "hook", "client", "access"] {
        secrets.insert(name, word(name));
    }
    secrets.insert("signing", signing);
    secrets.insert("key", identity.key().to_owned());
    secrets.insert("certificate", identity.certificate);
    Ok(Canaries::of(secrets))
}

/// Repeats the request's headers in the answer's body, as the error pages of some servers do.
fn repeating(status: u16) -> impl FnMut(&Received, usize) -> Answer + Send + 'static {
    move |received, _| {
        let lines: Vec<String> = received
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        // The second one is cut in the middle, as only the beginning of a body is kept.
        let text = format!("{}\n{:900}\n{}", lines.join("\n"), "", lines.join("\n"));
        Answer::status(status).body(text)
    }
}

/// The same in an answer that claims to be an event and is none, which is kept as it came.
fn replying() -> impl FnMut(&Received, usize) -> Answer + Send + 'static {
    let mut repeat = repeating(200);
    move |received, nth| {
        let shown = received.header("authorization").unwrap_or_default().to_owned();
        repeat(received, nth)
            .header("content-type", "application/cloudevents+json")
            .header("ce-type", &shown)
    }
}

/// Triggers that show each kind of secret, to subscribers that fail in many ways.
fn documents(canaries: &Canaries, sink: &Sink, other: &Sink, folder: &Path) -> anyhow::Result<String> {
    let file = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        fs::write(&path, canaries.get(name))?;
        Ok(format!("{{file: {}}}", path.display()))
    };
    let key = |name: &str| format!("{{secretKeyRef: {{name: canaries, key: {name}}}}}");
    let (token, signing) = (format!("{{bearer: {}}}", file("token")?), key("signing"));
    let basic = format!("{{basic: {{username: shop, password: {}}}}}", key("password"));
    let signed = format!(
        "{{bearer: {}, standardWebhooks: {{secrets: [{signing}]}}}}",
        key("token")
    );
    let certified = format!(
        "{{clientCertificate: {{certificate: {}, key: {}}}}}",
        file("certificate")?,
        file("key")?
    );
    let letters = format!(
        "{{retry: 1, backoffDelay: PT0.01S, deadLetterSink: {{uri: '{}'}}}}",
        sink.url("/dead")
    );
    let once = "{retry: 1, backoffDelay: PT0.01S}";
    sink.decide("/refuses", repeating(400));
    sink.decide("/fails", repeating(500));
    sink.decide("/takes", repeating(202));
    sink.decide("/replies", replying());
    sink.decide("/dead", repeating(404));
    let access = format!(
        r#"{{"access_token": "{}", "expires_in": 600}}"#,
        canaries.get("access")
    );
    sink.decide("/token", move |_, _| {
        Answer::status(200)
            .header("content-type", "application/json")
            .body(access.clone())
    });
    let oauth2 = format!(
        "{{oauth2: {{tokenUrl: '{}', clientId: shop, clientSecret: {}}}}}",
        sink.url("/token"),
        key("client")
    );
    let away = other.url("/elsewhere");
    sink.decide("/moved", move |_, _| {
        Answer::status(307).header("location", &away)
    });
    let plain = format!("https://{}/plain", sink.address());
    let trigger = |name: &str, url: &str, auth: &str| {
        Trigger::new(name, url)
            .annotation(SUBSCRIBER, auth)
            .delivery(once)
    };
    let documents = Documents::broker()
        .trigger(&trigger("refuses", &sink.url("/refuses"), &token))
        .trigger(&trigger("fails", &sink.url("/fails"), &basic))
        .trigger(&trigger("takes", &sink.url("/takes"), &signed))
        .trigger(&trigger("replies", &sink.url("/replies"), &basic))
        .trigger(&trigger("oauth2", &sink.url("/refuses"), &oauth2))
        .trigger(&trigger("moved", &sink.url("/moved"), &basic))
        .trigger(&trigger("plain", &plain, &certified))
        .trigger(&trigger(
            "broken",
            &sink.url("/broken"),
            &format!("{{bearer: {}}}", key("broken")),
        ))
        .trigger(&trigger(
            "gone",
            &sink.url("/gone"),
            "{bearer: {file: /run/secrets/none}}",
        ));
    let dead = Trigger::new("dead", &sink.url("/refuses"))
        .delivery(&letters)
        .annotation(SUBSCRIBER, &basic)
        .annotation(DEAD_LETTER, &format!("{{bearer: {}}}", key("dead")));
    let documents = documents
        .trigger(&dead)
        .github("hook", canaries.get("hook"), "default");
    // A line break cannot stand in a header: this token is refused, and must not be repeated.
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: canaries, namespace: shop}}\n\
         stringData: {{token: {}, client: {}, password: {}, dead: {}, broken: \"{}\\nx\", signing: {}}}\n",
        canaries.get("token"),
        canaries.get("client"),
        canaries.get("password"),
        canaries.get("dead"),
        canaries.get("broken"),
        canaries.get("signing")
    );
    Ok(format!("{}{secret}", documents.text()))
}

/// Asks everything that can be asked.
async fn ask_everything(mesh: &Mesh, canaries: &mut Canaries) -> anyhow::Result<()> {
    let admin = mesh.admin();
    let index = admin.ask(&Method::GET, "/").await?;
    let index = String::from_utf8_lossy(&index.body).into_owned();
    let mut paths: Vec<String> = index
        .split_whitespace()
        .filter(|word| {
            word.starts_with('/')
                && !word.contains(['{', '?'])
                && !ASKED.iter().any(|path| word.ends_with(path))
        })
        .map(str::to_owned)
        .collect();
    paths.push("/api/v1/explain?broker=shop/default&id=1".to_owned());
    paths.push("/api/v1/events?broker=shop/default".to_owned());
    for trigger in admin.get("triggers").await?.as_array().into_iter().flatten() {
        paths.push(format!(
            "/api/v1/triggers/{}",
            trigger["name"].as_str().unwrap_or_default()
        ));
    }
    for path in paths {
        let answer = admin.ask(&Method::GET, &path).await?;
        canaries.note(format!("GET {path}"), answer.body.to_vec());
    }
    let parked = admin.get("parked").await?;
    let ids: Vec<String> = parked
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| row["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    let file = mesh.setup().file().to_string_lossy().into_owned();
    let address = format!("http://{}", admin.address());
    let mut commands = vec![
        vec!["parked", "list", "--admin", &address],
        vec![
            "explain",
            "--broker",
            "shop/default",
            "--id",
            "1",
            "--admin",
            &address,
        ],
        vec![
            "explain",
            "--broker",
            "shop/default",
            "--id",
            "1",
            "--output",
            "json",
            "--admin",
            &address,
        ],
        vec!["check", "-f", &file, "--secret-dir", "/nowhere"],
        vec!["check", "-f", &file, "--output", "json"],
        vec!["check", "--kubernetes", "-f", &file],
    ];
    for id in &ids {
        let answer = admin.ask(&Method::GET, &format!("/api/v1/parked/{id}")).await?;
        canaries.note(format!("the parked event {id}"), answer.body.to_vec());
        commands.push(vec![
            "parked", "show", id, "--output", "json", "--admin", &address,
        ]);
    }
    for command in commands {
        let output = mesh.millrace(&command).await?;
        let what = format!("millrace {}", command.join(" "));
        canaries.note(&*what, output.stdout);
        canaries.note(what, output.stderr);
    }
    Ok(())
}

/// How large core files of a process may be, as the kernel says it.
fn core_limit(process: &str) -> anyhow::Result<String> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let mut lines = limits.lines();
    let core = lines.find(|line| line.starts_with("Max core file size"));
    Ok(core.context("no limit of core files")?.to_owned())
}

#[tokio::test]
async fn no_output_has_what_a_delivery_shows() -> anyhow::Result<()> {
    let mut canaries = shown_to_targets()?;
    let (sink, other, folder) = (Sink::start().await?, Sink::start().await?, tempfile::tempdir()?);
    let text = documents(&canaries, &sink, &other, folder.path())?;
    let setup = Setup::new(&text)?
        .secret_dir(folder.path())
        .environment("MILLRACE_LOG", "trace");
    let mut mesh = setup.start().await?;
    let tail = {
        let (admin, place) = (
            format!("http://{}", mesh.admin().address()),
            mesh.setup().folder(),
        );
        let mut tail = Process::start(
            &["tail", "--output", "json", "--admin", &admin],
            place,
            &place.join("tail"),
        )?;
        tail.first_line().await?;
        tail
    };
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    // All but `takes` fail, each in its way.
    mesh.admin().until_parked(9).await?;
    sink.wait_for("/takes", 1).await?;
    wait_until("the tail to have seen it all", || async {
        Ok((tail.stdout().len() > 10).then_some(()))
    })
    .await?;

    // The targets did get what they are to be shown.
    let shown = |path: &str| -> String {
        let received = sink.received(path);
        received
            .iter()
            .filter_map(|one| one.header("authorization").map(str::to_owned))
            .collect()
    };
    assert!(shown("/refuses").contains(canaries.get("token")));
    assert!(shown("/refuses").contains(canaries.get("access")));
    assert!(shown("/takes").contains(canaries.get("token")));
    assert!(shown("/dead").contains(canaries.get("dead")));
    assert!(!shown("/dead").contains(canaries.get("password")) && shown("/fails").starts_with("Basic "));
    // And nobody else got anything.
    assert_eq!(
        other.received("/elsewhere").len(),
        0,
        "a redirect is not followed"
    );
    assert_eq!(
        sink.count("/broken") + sink.count("/gone"),
        0,
        "nothing is sent unproven"
    );

    // A dead letter has the beginning of the answer that led to it.
    for letter in sink.received("/dead") {
        let data = letter.event().get("knativeerrordata").map(str::to_owned);
        let data = BASE64_STANDARD.decode(data.unwrap_or_default())?;
        assert!(
            String::from_utf8_lossy(&data).contains("authorization: "),
            "the answer repeats what was shown"
        );
        canaries.note("a dead letter", data);
    }
    ask_everything(&mesh, &mut canaries).await?;
    canaries.note("tail", tail.stdout().join("\n"));
    let core = core_limit(&mesh.running().id().to_string())?;
    assert_eq!(
        core.split_whitespace().filter(|word| *word == "0").count(),
        2,
        "{core}"
    );
    mesh.stop().await?;
    let data: PathBuf = mesh.setup().data_folder().to_path_buf();
    canaries.note_files(&data)?;
    for name in ["stdout", "stderr", "tail"] {
        let said = fs::read(mesh.setup().folder().join(name)).unwrap_or_default();
        canaries.note(name, said);
    }
    canaries.assert_nowhere();
    Ok(())
}

#[tokio::test]
async fn cores_are_dumped_where_the_operator_says_so() -> anyhow::Result<()> {
    let setup = Setup::new(Documents::broker().text())?.args(&["--allow-core-dumps"]);
    let mesh = setup.start().await?;
    let process = mesh.running().id().to_string();
    assert_eq!(core_limit(&process)?, core_limit("self")?, "it is left as it was");
    Ok(())
}
