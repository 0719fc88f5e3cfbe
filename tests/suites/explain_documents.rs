//! Promise: without a running Millrace, `explain` tells whether documents would have a service called. A
//! Trigger can be tried on the events that a Broker keeps before it is applied.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, process, redacted};
use serde_json::{Value, json};

fn documents() -> Documents {
    let url = "http://127.0.0.1:1/";
    Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("away", url).on("other"))
        .trigger(&Trigger::new("bill", url).filters("[{exact: {type: order.paid}}, {prefix: {subject: a}}]"))
        .trigger(&Trigger::new("ship", url).attributes("{type: order.paid}"))
}

/// Runs `explain` on a file of these documents and an event on the standard input: exit code and what it
/// says.
async fn offline(documents: &str, event: &str, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let setup = Setup::new(documents)?;
    let all = [&["explain", "-f", "mesh.yaml", "--event", "-"], args].concat();
    let output = process::run(setup.folder(), &all, event).await?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    Ok((output.status.code(), redacted(&said)))
}

fn lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    lines.join("\n")
}

#[tokio::test]
async fn documents_tell_which_of_their_triggers_would_get_an_event() -> anyhow::Result<()> {
    let event = Event::new("1", "order.paid").json().to_string();
    let (documents, other) = (documents(), event.replace("order.paid", "order.sent"));
    let cases = [
        (
            &event,
            vec!["--broker", "shop/default"],
            r#"
            TRIGGER BROKER MATCHES WHY DECIDED BY
            shop/bill shop/default no the event has no attribute subject filters[1].prefix.subject
            shop/ship shop/default yes type is "order.paid" filter.attributes.type
            "#,
        ),
        (
            &other,
            vec!["--trigger", "shop/bill"],
            r#"
            TRIGGER BROKER MATCHES WHY DECIDED BY
            shop/bill shop/default no type is "order.sent", not "order.paid" filters[0].exact.type

            CLAUSE VERDICT BECAUSE
            filters[0].exact.type different type is "order.sent", not "order.paid"
            "#,
        ),
        (
            &event,
            vec!["--trigger", "shop/away"],
            "
            TRIGGER BROKER MATCHES WHY DECIDED BY
            shop/away shop/other yes it has no filter: everything passes
            ",
        ),
    ];
    for (event, args, expected) in cases {
        let said = offline(documents.text(), event, &args).await?;
        assert_eq!(said, (Some(0), lines(expected)), "{args:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_the_question_is_told() -> anyhow::Result<()> {
    let event = Event::new("1", "order.paid").json().to_string();
    let documents = documents();
    let cases: [(&str, &str, &[&str], i32, &str); 5] = [
        (documents.text(), "{}", &[], 1, "not a CloudEvent"),
        (
            documents.text(),
            &event,
            &["--broker", "shop/none"],
            1,
            "no Broker shop/none",
        ),
        (
            documents.text(),
            &event,
            &["--trigger", "shop/none"],
            1,
            "no Trigger shop/none",
        ),
        (
            documents.text(),
            &event,
            &["--trigger", "shop/away", "--broker", "shop/default"],
            1,
            "reads another Broker, shop/other",
        ),
        ("kind: Broker", &event, &[], 3, "apiVersion"),
    ];
    for (documents, event, args, code, words) in cases {
        let (exit, said) = offline(documents, event, args).await?;
        assert_eq!(exit, Some(code), "{said}");
        assert!(said.contains(words), "{words} in: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_trigger_is_tried_on_the_events_that_are_kept_before_it_is_applied() -> anyhow::Result<()> {
    let mesh = Mesh::start(Documents::broker().text()).await?;
    let events: Vec<Event> = (0..30)
        .map(|n| {
            Event::new(
                &n.to_string(),
                if n % 3 == 0 { "order.paid" } else { "order.sent" },
            )
        })
        .collect();
    mesh.send("shop/default", &events).await?;
    let file = mesh.setup().folder().join("new.yaml");
    let new = Documents::default()
        .trigger(&Trigger::new("new", "http://127.0.0.1:1/").attributes("{type: order.paid}"));
    fs::write(&file, new.text())?;
    let file = file.to_string_lossy().into_owned();

    let args = ["explain", "--trigger", &file, "--over", "1h", "--limit", "2"];
    let output = mesh.millrace(&args).await?;
    let expected = r#"
        shop/new would get 10 of the 30 events that shop/default keeps of that time.

        ACCEPTED POSITION ID SOURCE TYPE BECAUSE
        TIME 24 24 /tests order.paid type is "order.paid"
        TIME 27 27 /tests order.paid type is "order.paid"
        (the newest of them; --limit lists more)
        "#;
    assert_eq!(redacted(&String::from_utf8(output.stdout)?), lines(expected));

    let args = [&args[..], &["--output", "json"]].concat();
    let said: Value = serde_json::from_slice(&mesh.millrace(&args).await?.stdout)?;
    assert_eq!((&said["events"], &said["matched"]), (&json!(30), &json!(10)));
    assert_eq!(
        said["matches"][1]["event"],
        json!({"id": "27", "source": "/tests", "type": "order.paid"})
    );
    assert_eq!(
        mesh.admin().get("triggers").await?,
        json!([]),
        "nothing was applied"
    );

    let none = [
        "explain",
        "--trigger",
        &file,
        "--over",
        "1h",
        "--broker",
        "shop/none",
    ];
    assert_eq!(mesh.millrace(&none).await?.status.code(), Some(1));
    fs::write(&file, documents().text())?;
    assert_eq!(
        mesh.millrace(&args).await?.status.code(),
        Some(3),
        "more than one Trigger"
    );
    Ok(())
}

#[tokio::test]
async fn events_that_are_kept_are_read_in_pages_with_an_end() -> anyhow::Result<()> {
    let mesh = Mesh::start(Documents::broker().text()).await?;
    let events: Vec<Event> = (0..5).map(|n| Event::new(&n.to_string(), "a")).collect();
    mesh.send("shop/default", &events).await?;
    let ask = async |query: &str| {
        let path = format!("/api/v1/events?broker=shop/default{query}");
        let answer = mesh.admin().ask(&http::Method::GET, &path).await?;
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let lines = std::str::from_utf8(&answer.body)?.lines();
        anyhow::Ok(
            lines
                .map(serde_json::from_str)
                .collect::<Result<Vec<Value>, _>>()?,
        )
    };
    let all = ask("").await?;
    let ids: Vec<_> = all[..5].iter().map(|line| line["event"].clone()).collect();
    assert_eq!(ids, events.iter().map(Event::json).collect::<Vec<_>>());
    assert_eq!(
        all[5..],
        [json!({"end": true, "events": 5, "next": null, "error": null})]
    );
    let page = ask("&limit=2&from=1").await?;
    assert_eq!(
        (&page[0]["position"], &page[1]["position"]),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(
        page[2..],
        [json!({"end": true, "events": 2, "next": "3", "error": null})]
    );
    assert_eq!(ask("&seconds=0&from=5").await?.len(), 1);
    for query in ["?broker=shop/default&limit=0", "?broker=x", ""] {
        let answer = mesh
            .admin()
            .ask(&http::Method::GET, &format!("/api/v1/events{query}"))
            .await?;
        assert_eq!(
            (answer.status, answer.code()?),
            (400, "bad-query".to_owned()),
            "{query}"
        );
    }
    Ok(())
}
