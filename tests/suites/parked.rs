//! Promise: what is given up on is kept, listed and shown with its history until somebody redrives or drops
//! it, and a trigger that has parked as much as it may reads no further.

use std::net::TcpListener;
use std::process::Output;

use anyhow::Context as _;
use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Mesh, Sink, process, wait_until};
use serde_json::{Value, json};

const ONE_RETRY: &str = "{retry: 1, backoffDelay: PT0.01S}";

/// `shop/ship` at `/ship`, which answers as told, with one retry and no dead-letter sink.
async fn shipping(sink: &Sink, answers: Vec<Answer>) -> anyhow::Result<Mesh> {
    sink.answer("/ship", answers);
    Mesh::start(documents(sink).text()).await
}

fn documents(sink: &Sink) -> Documents {
    Documents::broker().trigger(&Trigger::new("ship", &sink.url("/ship")).delivery(ONE_RETRY))
}

fn failing(times: usize) -> Vec<Answer> {
    let mut answers = vec![Answer::status(500).body("busy"); times];
    answers.push(Answer::ok());
    answers
}

fn id(row: &Value) -> anyhow::Result<&str> {
    row["id"].as_str().with_context(|| format!("no id in {row}"))
}

/// What a client command says as JSON; it must have succeeded.
async fn command(mesh: &Mesh, args: &[&str]) -> anyhow::Result<Value> {
    let args = [args, &["--output", "json"]].concat();
    let output = mesh.millrace(&args).await?;
    anyhow::ensure!(output.status.success(), "{args:?}: {output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[tokio::test]
async fn a_parked_event_is_listed_and_shown_with_its_history() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = shipping(&sink, failing(2)).await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    let parked = mesh.admin().until_parked(1).await?;
    let row = &parked[0];
    assert_eq!(
        row["event"],
        json!({"id": "1", "source": "/tests", "type": "order.paid"})
    );
    assert_eq!(
        (&row["trigger"], &row["attempts"]),
        (&json!("shop/ship"), &json!(2))
    );
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("500"), "{reason}");
    let since = row["since"].as_str().unwrap_or_default();
    assert!(since.contains('T') && since.ends_with('Z'), "{since}");

    assert_eq!(
        command(&mesh, &["parked", "list"]).await?,
        Value::Array(parked.clone())
    );
    assert_eq!(
        command(&mesh, &["parked", "list", "--trigger", "shop/ship"]).await?,
        Value::Array(parked.clone())
    );
    assert_eq!(
        command(&mesh, &["parked", "list", "--trigger", "shop/other"]).await?,
        json!([])
    );
    let table = mesh.millrace(&["parked", "list"]).await?;
    let table = String::from_utf8(table.stdout)?;
    for cell in [id(row)?, "shop/ship", "order.paid"] {
        assert!(table.contains(cell), "{cell} in {table}");
    }

    let shown = command(&mesh, &["parked", "show", id(row)?]).await?;
    assert_eq!(shown, mesh.admin().get(&format!("parked/{}", id(row)?)).await?);
    assert_eq!(shown["event"], Event::new("1", "order.paid").json());
    let failures = shown["failures"].as_array().context("no failures")?;
    for (nth, failure) in failures.iter().enumerate() {
        assert_eq!(
            (
                &failure["attempt"],
                &failure["status"],
                &failure["body"],
                &failure["target"]
            ),
            (
                &json!(nth + 1),
                &json!(500),
                &json!("busy"),
                &json!(sink.url("/ship"))
            )
        );
    }
    assert_eq!(failures.len(), 2);
    Ok(())
}

#[tokio::test]
async fn redrive_delivers_the_same_event_from_the_first_attempt_and_keeps_its_history() -> anyhow::Result<()>
{
    let sink = Sink::start().await?;
    let mesh = shipping(&sink, failing(4)).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let first = mesh.admin().until_parked(1).await?;
    let done = command(&mesh, &["parked", "redrive", id(&first[0])?]).await?;
    assert_eq!(done, json!({"redriven": [id(&first[0])?], "failed": []}));
    sink.wait_for("/ship", 4).await?;

    // It fails twice more: the policy begins again, the history does not.
    let again = wait_until("it to be parked again", || async {
        let parked = mesh.admin().get("parked").await?;
        let row = parked[0].clone();
        Ok(Some(row).filter(|row| row.is_object() && row["id"] != first[0]["id"]))
    })
    .await?;
    assert_eq!(again["attempts"], 2);
    let shown = mesh.admin().get(&format!("parked/{}", id(&again)?)).await?;
    let attempts: Vec<_> = shown["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|failure| failure["attempt"].as_u64())
        .collect();
    assert_eq!(attempts, [Some(1), Some(2), Some(1), Some(2)]);

    let path = format!("/api/v1/parked/{}/redrive", id(&again)?);
    assert_eq!(mesh.admin().ask(&Method::POST, &path).await?.status, 202);
    sink.wait_for("/ship", 5).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/ship"), ["1"; 5]);
    assert_eq!(mesh.admin().get("parked").await?, json!([]));
    assert_eq!(mesh.admin().trigger("shop/ship").await?["parked"], 0);

    let gone = mesh.admin().ask(&Method::POST, &path).await?;
    assert_eq!(
        (gone.status, gone.code()?.as_str()),
        (404, "unknown-parked-event")
    );
    let (code, words) = said(&mesh.millrace(&["parked", "redrive", id(&again)?]).await?);
    assert_eq!(code, Some(1));
    assert!(words.contains("no parked event"), "{words}");
    Ok(())
}

#[tokio::test]
async fn dropped_events_are_gone_one_by_one_and_all_at_once() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = shipping(&sink, vec![Answer::status(400)]).await?;
    let events: Vec<_> = (0..4).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    let parked = mesh.admin().until_parked(4).await?;
    let path = format!("/api/v1/parked/{}", id(&parked[0])?);
    let dropped = mesh.admin().ask(&Method::DELETE, &path).await?;
    assert_eq!((dropped.status, dropped.body.len()), (204, 0));
    assert_eq!(mesh.admin().ask(&Method::DELETE, &path).await?.status, 404);
    assert_eq!(mesh.admin().ask(&Method::GET, &path).await?.status, 404);
    command(&mesh, &["parked", "drop", id(&parked[1])?]).await?;
    assert_eq!(mesh.admin().until_parked(2).await?, parked[2..]);
    command(&mesh, &["parked", "drop", "--all"]).await?;
    mesh.admin().until_parked(0).await?;
    mesh.admin()
        .until_trigger("shop/ship", "nothing parked", |trigger| trigger["parked"] == 0)
        .await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/ship"), 4, "nothing is attempted again");
    Ok(())
}

#[tokio::test]
async fn parked_events_survive_a_restart_and_outlive_their_trigger() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(400).body("no")]);
    let setup = Setup::new(documents(&sink).text())?.args(&["--orphan-grace", "10ms"]);
    let mut mesh = setup.start().await?;
    let events: Vec<_> = (0..2).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    let parked = mesh.admin().until_parked(2).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    assert_eq!(mesh.admin().until_parked(2).await?, parked);

    mesh.reload(Documents::broker().text()).await?;
    wait_until("the trigger's place to be given up", || async {
        let triggers = mesh.admin().get("triggers").await?;
        Ok(Some(()).filter(|()| triggers == json!([])))
    })
    .await?;
    assert_eq!(mesh.admin().until_parked(2).await?, parked);
    let path = format!("/api/v1/parked/{}", id(&parked[0])?);
    let shown = mesh.admin().ask(&Method::GET, &path).await?.json()?;
    assert_eq!(shown["event"]["id"], "0");
    let refused = mesh
        .admin()
        .ask(&Method::POST, &format!("{path}/redrive"))
        .await?;
    assert_eq!((refused.status, refused.code()?.as_str()), (409, "trigger-gone"));
    let (code, words) = said(&mesh.millrace(&["parked", "redrive", id(&parked[0])?]).await?);
    assert_eq!(code, Some(1));
    assert!(words.contains("shop/ship"), "{words}");

    // The same name later is another trigger: what the first one parked is not its own.
    mesh.reload(documents(&sink).text()).await?;
    let refused = mesh
        .admin()
        .ask(&Method::POST, &format!("{path}/redrive"))
        .await?;
    assert_eq!(refused.status, 409);
    assert_eq!(mesh.admin().ask(&Method::DELETE, &path).await?.status, 204);
    mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/ship"), 2);
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_has_parked_all_it_may_reads_no_further_and_says_so() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(400)]);
    let ship = Trigger::new("ship", &sink.url("/ship"))
        .annotation("millrace.dev/max-parked", "3")
        .annotation("millrace.dev/parallelism", "1");
    let documents = Documents::broker()
        .trigger(&ship)
        .trigger(&Trigger::new("other", &sink.url("/other")));
    let mesh = Mesh::start(documents.text()).await?;
    let events: Vec<_> = (0..10).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    let blocked = |trigger: &Value| trigger["state"] == "blocked" && trigger["parked"] == 3;
    let admin = mesh.admin();
    let trigger = admin.until_trigger("shop/ship", "blocked", blocked).await?;
    assert!(
        trigger["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("parked")),
        "{trigger}"
    );
    let parked = admin.until_parked(3).await?;
    sink.wait_for("/other", 10).await?;
    assert_eq!(sink.ids("/ship"), ["0", "1", "2"]);
    let shown = command(&mesh, &["triggers"]).await?;
    let states: Vec<_> = shown
        .as_array()
        .into_iter()
        .flatten()
        .map(|trigger| trigger["state"].as_str())
        .collect();
    assert_eq!(states, [Some("live"), Some("blocked")]);

    command(&mesh, &["parked", "drop", id(&parked[0])?]).await?;
    sink.wait_for("/ship", 4).await?;
    admin.until_trigger("shop/ship", "blocked again", blocked).await?;
    admin.until_parked(3).await?;
    assert_eq!(
        sink.ids("/ship"),
        ["0", "1", "2", "3"],
        "one was dropped: one was read"
    );

    sink.answer("/ship", [Answer::ok()]);
    command(&mesh, &["parked", "redrive", "--all"]).await?;
    mesh.until_settled().await?;
    let mut ids = sink.ids("/ship").split_off(4);
    ids.sort();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    Ok(())
}

#[tokio::test]
async fn triggers_shows_the_backlog_and_the_last_failure() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(503)]);
    let trigger = Trigger::new("ship", &sink.url("/ship"))
        .delivery("{retry: 1000000, backoffDelay: PT0.05S, backoffMax: PT0.05S}")
        .annotation("millrace.dev/max-deferred", "1");
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    // More than a lane queues, so that it falls behind.
    for batch in 0..3 {
        let events: Vec<_> = (0..1000)
            .map(|n| Event::new(&format!("{batch}-{n}"), "x"))
            .collect();
        assert_eq!(
            mesh.post("shop/default", &Event::batch(&events)).await?.status,
            202
        );
    }
    let shows = |trigger: &Value| {
        trigger["backlog"].as_u64() > Some(0)
            && trigger["lastFailure"]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("503"))
    };
    mesh.admin()
        .until_trigger("shop/ship", "backlog and failure", shows)
        .await?;
    let shown = command(&mesh, &["triggers", "shop/ship"]).await?;
    assert!(shows(&shown), "{shown}");
    assert_eq!(shown["backlogIsUpperBound"], true);
    assert_eq!(shown["settings"]["maxDeferred"], 1);
    let table = mesh.millrace(&["triggers"]).await?;
    let table = String::from_utf8(table.stdout)?;
    assert!(table.contains("<=") && table.contains("shop/ship"), "{table}");
    Ok(())
}

#[tokio::test]
async fn a_client_command_says_by_its_exit_code_that_nothing_is_there() -> anyhow::Result<()> {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let admin = format!("http://{address}");
    let folder = tempfile::tempdir()?;
    for args in [
        vec!["triggers"],
        vec!["parked", "list"],
        vec!["parked", "show", "0000000000000001"],
        vec!["parked", "redrive", "--all"],
        vec!["parked", "drop", "0000000000000001"],
    ] {
        let args = [args, vec!["--admin", &admin]].concat();
        let (code, words) = said(&process::run(folder.path(), &args, "").await?);
        assert_eq!(code, Some(5), "{args:?}: {words}");
        assert!(words.contains(&address.to_string()), "{args:?}: {words}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_page_of_a_browser_could_send_changes_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = shipping(&sink, vec![Answer::status(400)]).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let parked = mesh.admin().until_parked(1).await?;
    let path = format!("/api/v1/parked/{}", id(&parked[0])?);
    let bare = Event::new("1", "x").binary();
    let mut client = millrace_tests::Client::new(mesh.admin().address());
    for (method, path) in [
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/redrive")),
    ] {
        let answer = client.send(&method, &path, &bare).await?;
        assert_eq!(answer.status, 403, "{method} {path}: {:?}", answer.body);
    }
    mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/ship"), 1);
    Ok(())
}
