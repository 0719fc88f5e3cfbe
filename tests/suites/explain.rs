//! Promise: a user who asks why a service was (not) called gets the answer. What does not exist is named, and
//! for each trigger the clause that decided. Each story is the whole text of an answer.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::story::{explain, tells, tells_in_a_row};
use millrace_tests::{Answer, Event, Mesh, Sink};
use serde_json::{Value, json};

const LONG_WAIT: &str = "{retry: 3, backoffDelay: PT1H}";

fn paid(id: &str) -> Event {
    Event::new(id, "order.paid")
}

#[tokio::test]
async fn what_does_not_exist_is_named() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("ship", &sink.url("/ship")))
        .trigger(&Trigger::new("away", &sink.url("/away")).on("other"));
    let mesh = Mesh::start(documents.text()).await?;
    let cases = [
        (
            "--broker shop/defualt --id 1",
            "error: there is no broker shop/defualt; there is shop/default, shop/other (unknown-broker); `millrace brokers` lists all",
        ),
        (
            "--id 1",
            "error: without --broker, default/default is asked: there is no broker default/default; there is shop/default, \
             shop/other (unknown-broker); `millrace brokers` lists all",
        ),
        (
            "--broker shop/default --id 1",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; it keeps no events (unknown-event)",
        ),
    ];
    for (args, story) in cases {
        tells(&mesh, args, story).await?;
    }
    mesh.send("shop/default", &[paid("1")]).await?;
    mesh.until_settled().await?;
    let cases = [
        (
            "--broker shop/default --id 2",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; \
             the events that are kept begin at TIME (unknown-event)",
        ),
        (
            "--broker shop/default --id 1 --source /other",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; \
             the events that are kept begin at TIME (unknown-event)",
        ),
        (
            "--broker shop/other --id 1",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; it keeps no events (unknown-event)",
        ),
        (
            "--broker shop/default --id 1 --trigger shop/shp",
            "error: there is no trigger of that name (unknown-trigger); `millrace triggers` lists all",
        ),
        (
            "--broker shop/default --id 1 --trigger shop/away",
            "error: that trigger reads another broker, shop/other: it gets no events of this one (unknown-trigger); `millrace triggers` lists all",
        ),
    ];
    for (args, story) in cases {
        tells(&mesh, args, story).await?;
    }
    let output = mesh
        .millrace(&["explain", "--broker", "shop/default", "--id", "2"])
        .await?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn the_clause_that_decided_is_told_for_each_trigger() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let trigger = |name: &str, filters: &str| Trigger::new(name, &sink.url("/x")).filters(filters);
    let documents = Documents::broker()
        .trigger(&trigger("absent", "[{exact: {region: eu}}]"))
        .trigger(&trigger(
            "all",
            "[{exact: {type: order.paid}}, {prefix: {source: /shop}}]",
        ))
        .trigger(&trigger(
            "any",
            "[{any: [{exact: {type: a}}, {suffix: {type: .b}}]}]",
        ))
        .trigger(&trigger("differs", "[{exact: {type: order.payed}}]"))
        .trigger(&trigger("not", "[{not: {exact: {type: order.paid}}}]"))
        .trigger(&Trigger::new("old", &sink.url("/x")).attributes("{subject: \"\"}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    tells(
        &mesh,
        "--broker shop/default --id 1",
        r#"
        Event 1 of /tests (order.paid), accepted TIME at position 0 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/absent no not-matched the event has no attribute region (filters[0].exact.region)
        shop/all no not-matched source is "/tests", which does not begin with "/shop" (filters[1].prefix.source)
        shop/any no not-matched type is "order.paid", not "a"; type is "order.paid", which does not end with ".b" (filters[0].any)
        shop/differs no not-matched type is "order.paid", not "order.payed" (filters[0].exact.type)
        shop/not no not-matched excluded: type is "order.paid" (filters[0].not.exact.type)
        shop/old no not-matched the event has no attribute subject (filter.attributes.subject)
        "#,
    )
    .await?;
    tells(
        &mesh,
        "--broker shop/default --id 1 --trigger shop/all",
        r#"
        Event 1 of /tests (order.paid), accepted TIME at position 0 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/all no not-matched source is "/tests", which does not begin with "/shop" (filters[1].prefix.source)

        The filter of shop/all
        CLAUSE VERDICT BECAUSE
        filters[0].exact.type held type is "order.paid"
        filters[1].prefix.source different source is "/tests", which does not begin with "/shop"
        "#,
    )
    .await
}

#[tokio::test]
async fn several_events_of_one_id_are_told_apart() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker();
    let mesh = Mesh::start(
        documents
            .trigger(&Trigger::new("ship", &sink.url("/ship")))
            .text(),
    )
    .await?;
    mesh.send("shop/default", &[paid("1"), paid("1").with("source", "/other")])
        .await?;
    mesh.until_settled().await?;
    let story = |source: &str, position: u64, rest: &str| {
        format!(
            "
            Event 1 of {source} (order.paid), accepted TIME at position {position} of shop/default

            TRIGGER MATCHED STATE WHY
            shop/ship yes delivered attempt 1: 200 at TIME

            The attempts of shop/ship
            AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
            TIME subscriber 1 200 N delivered
            {rest}"
        )
    };
    let other = "\nThere is another event of that id, of /tests, accepted TIME: --position 0";
    tells(&mesh, "--broker shop/default --id 1", &story("/other", 1, other)).await?;
    tells(
        &mesh,
        "--broker shop/default --id 1 --source /tests",
        &story("/tests", 0, ""),
    )
    .await?;
    let position = explain(&mesh, "--broker shop/default --id 1 --position 0").await?;
    assert!(position.starts_with("Event 1 of /tests "), "{position}");
    Ok(())
}

#[tokio::test]
async fn one_that_is_named_by_its_position_may_be_older_than_those_that_are_listed() -> anyhow::Result<()> {
    let mesh = Mesh::start(Documents::broker().text()).await?;
    let mut events = vec![paid("1"); 13];
    events.push(paid("2"));
    mesh.send("shop/default", &events).await?;
    let story = |position: u64, others: &mut dyn Iterator<Item = u64>| {
        let other = |position| {
            format!("There is another event of that id, of /tests, accepted TIME: --position {position}")
        };
        let others: Vec<String> = others.map(other).collect();
        format!(
            "
            Event 1 of /tests (order.paid), accepted TIME at position {position} of shop/default

            The broker has no triggers.

            {}",
            others.join("\n\n")
        )
    };
    let asked = "--broker shop/default --id 1";
    tells(&mesh, asked, &story(12, &mut (2..12).rev())).await?;
    // Of the newest that are found, and older than all of them.
    tells(
        &mesh,
        &format!("{asked} --position 2"),
        &story(2, &mut (3..13).rev()),
    )
    .await?;
    for position in [1, 0] {
        let story = story(position, &mut (3..13).rev());
        tells(&mesh, &format!("{asked} --position {position}"), &story).await?;
        tells(
            &mesh,
            &format!("{asked} --position {position} --source /tests"),
            &story,
        )
        .await?;
    }
    // That of another event is not taken for it, and one that nobody has is none.
    let error = "error: there are events of that id, but none at that position (unknown-event)";
    for position in [13, 14, u64::MAX] {
        tells(&mesh, &format!("{asked} --position {position}"), error).await?;
    }
    tells(
        &mesh,
        &format!("{asked} --position 0 --source /other"),
        "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; \
         the events that are kept begin at TIME (unknown-event)",
    )
    .await
}

#[tokio::test]
async fn programs_get_the_answer_as_json() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(503), Answer::ok()]);
    let ship = Trigger::new("ship", &sink.url("/ship")).delivery(LONG_WAIT);
    let mesh = Mesh::start(Documents::broker().trigger(&ship).text()).await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    tells_in_a_row(
        &mesh,
        "--broker shop/default --id 1",
        "shop/ship yes retrying 503 Service Unavailable; attempt 2 is due at TIME",
    )
    .await?;
    let args = [
        "explain",
        "--broker",
        "shop/default",
        "--id",
        "1",
        "--output",
        "json",
    ];
    let said: Value = serde_json::from_slice(&mesh.millrace(&args).await?.stdout)?;
    assert_eq!(said, mesh.admin().get("explain?broker=shop/default&id=1").await?);
    assert_eq!(said["event"], paid("1").json());
    let trigger = &said["triggers"][0];
    assert_eq!(
        (
            &trigger["state"],
            &trigger["matched"],
            &trigger["attempts"][0]["status"]
        ),
        (&json!("retrying"), &json!(true), &json!(503))
    );
    assert!(trigger["nextDue"].as_str().is_some_and(|due| due.ends_with('Z')));
    for query in [
        "",
        "?broker=shop/default",
        "?broker=shop&id=1",
        "?broker=shop/default&id=1&what=x",
    ] {
        let answer = mesh
            .admin()
            .ask(&http::Method::GET, &format!("/api/v1/explain{query}"))
            .await?;
        assert_eq!(
            (answer.status, answer.code()?),
            (400, "bad-query".to_owned()),
            "{query}"
        );
    }
    Ok(())
}
