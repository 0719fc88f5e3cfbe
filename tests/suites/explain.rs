//! Promise: whoever asks why a service was (not) called gets the answer: what each trigger made of the event, the clause that
//! decided, every attempt, where it ended, or what it waits for. Each story is the whole text of an answer.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, redacted, wait_until};
use serde_json::{Value, json};

const ONE_RETRY: &str = "{retry: 1, backoffDelay: PT0.01S}";
const NO_RETRY: &str = "{retry: 0}";
const LONG_WAIT: &str = "{retry: 3, backoffDelay: PT1H}";

/// What `millrace explain` answers, on whichever stream, without what differs between runs.
async fn explain(mesh: &Mesh, args: &str) -> anyhow::Result<String> {
    let args: Vec<&str> = std::iter::once("explain").chain(args.split(' ')).collect();
    let output = mesh.millrace(&args).await?;
    let said = [output.stdout, output.stderr].concat();
    Ok(redacted(&String::from_utf8(said)?))
}

/// Waits until the answer is that text: the mesh may be about to write something down.
async fn tells(mesh: &Mesh, args: &str, story: &str) -> anyhow::Result<()> {
    let lines: Vec<&str> = story.trim().lines().map(str::trim).collect();
    let story = lines.join("\n");
    wait_until(args, || async {
        let said = explain(mesh, args).await?;
        anyhow::ensure!(said == story, "\n{said}\n\ninstead of\n\n{story}\n");
        Ok(Some(()))
    })
    .await
}

/// Waits until the row of the one trigger says that.
async fn tells_in_a_row(mesh: &Mesh, args: &str, row: &str) -> anyhow::Result<()> {
    wait_until(args, || async {
        let said = explain(mesh, args).await?;
        anyhow::ensure!(
            said.lines().any(|line| line == row),
            "\n{said}\n\nwithout\n\n{row}\n"
        );
        Ok(Some(()))
    })
    .await
}

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
            "error: there is no broker of that name; there is shop/default, shop/other",
        ),
        (
            "--broker shop/default --id 1",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; it keeps no events",
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
             the events that are kept begin at TIME",
        ),
        (
            "--broker shop/default --id 1 --source /other",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; \
             the events that are kept begin at TIME",
        ),
        (
            "--broker shop/other --id 1",
            "error: this broker has no event of that id (and source): it never accepted one, or it is not kept any more; it keeps no events",
        ),
        (
            "--broker shop/default --id 1 --trigger shop/shp",
            "error: there is no trigger of that name",
        ),
        (
            "--broker shop/default --id 1 --trigger shop/away",
            "error: that trigger reads another broker, shop/other: it gets no events of this one",
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
async fn what_was_delivered_is_told_with_every_attempt() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/once", [Answer::status(202).body("thanks")]);
    sink.answer("/retried", [Answer::status(503).body("busy"), Answer::ok()]);
    let reply = Event::new("reply", "shipped");
    sink.answer("/replies", [Answer::reply(&reply)]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("once", &sink.url("/once")).attributes("{type: order.paid}"))
        .trigger(
            &Trigger::new("replies", &sink.url("/replies"))
                .attributes("{type: order.paid}")
                .delivery(ONE_RETRY),
        )
        .trigger(
            &Trigger::new("retried", &sink.url("/retried"))
                .attributes("{type: order.paid}")
                .delivery(ONE_RETRY),
        );
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    tells(
        &mesh,
        "--broker shop/default --id 1",
        "
        Event 1 of /tests (order.paid), accepted TIME at position 0 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/once yes delivered attempt 1: 202 at TIME
        shop/replies yes delivered attempt 1: 200 at TIME, and its reply is stored
        shop/retried yes delivered attempt 2: 200 at TIME

        The attempts of shop/once
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 202 N delivered thanks

        The attempts of shop/replies
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 200 N replied

        The attempts of shop/retried
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 503 N failed 503 Service Unavailable busy
        TIME subscriber 2 200 N delivered
        ",
    )
    .await?;
    tells(
        &mesh,
        "--broker shop/default --id reply --trigger shop/once",
        r#"
        Event reply of /tests (shipped), accepted TIME at position 1 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/once no not-matched type is "shipped", not "order.paid" (filter.attributes.type)

        The filter of shop/once
        CLAUSE VERDICT BECAUSE
        filter.attributes.type different type is "shipped", not "order.paid"
        "#,
    )
    .await
}

#[tokio::test]
async fn what_was_given_up_on_is_told_with_where_it_ended() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    for path in ["/exhausted", "/dropped", "/letters", "/sinkless"] {
        sink.answer(path, [Answer::status(500).body("no")]);
    }
    sink.answer("/final", [Answer::status(400).body("never")]);
    sink.answer("/redriven", [Answer::status(400), Answer::ok()]);
    sink.answer("/refusing", [Answer::status(500)]);
    let letters = |path: &str| format!("{{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}", sink.url(path));
    let waiting = format!(
        "{{retry: 3, backoffDelay: PT1H, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/refusing")
    );
    sink.answer("/slow-letters", [Answer::status(400)]);
    let trigger = |name: &str, delivery: &str| {
        Trigger::new(name, &sink.url(&format!("/{name}")))
            .attributes(&format!("{{type: {name}}}"))
            .delivery(delivery)
    };
    let documents = Documents::broker()
        .trigger(&trigger("dropped", NO_RETRY))
        .trigger(&trigger("exhausted", ONE_RETRY))
        .trigger(&trigger("final", ONE_RETRY))
        .trigger(&trigger("letters", &letters("/dead")))
        .trigger(&trigger("redriven", NO_RETRY))
        .trigger(&trigger("sinkless", &letters("/final")))
        .trigger(&trigger("slow-letters", &waiting));
    let mesh = Mesh::start(documents.text()).await?;
    let names = [
        "dropped",
        "exhausted",
        "final",
        "letters",
        "redriven",
        "sinkless",
        "slow-letters",
    ];
    for name in names {
        mesh.send("shop/default", &[Event::new(name, name)]).await?;
    }
    for parked in mesh.admin().until_parked(5).await? {
        let id = parked["id"].as_str().unwrap_or_default();
        match parked["trigger"].as_str() {
            Some("shop/dropped") => drop(mesh.millrace(&["parked", "drop", id]).await?),
            Some("shop/redriven") => drop(mesh.millrace(&["parked", "redrive", id]).await?),
            _ => {}
        }
    }
    let rows = [
        (
            "dropped",
            "dropped 500 Internal Server Error; it was parked, and dropped by command since",
        ),
        (
            "exhausted",
            "parked 500 Internal Server Error after 2 attempts; parked as PARKED since TIME",
        ),
        ("final", "parked 400 Bad Request; parked as PARKED since TIME"),
        (
            "letters",
            "dead-lettered given up on (500 Internal Server Error); the dead-letter sink took it: 200 at TIME",
        ),
        ("redriven", "delivered attempt 1: 200 at TIME"),
        (
            "sinkless",
            "parked the dead-letter sink failed too: 400 Bad Request; parked as PARKED since TIME",
        ),
        (
            "slow-letters",
            "dead-lettering given up on (500 Internal Server Error); at the dead-letter sink attempt 2 is due at TIME",
        ),
    ];
    for (name, row) in rows {
        let args = format!("--broker shop/default --id {name} --trigger shop/{name}");
        tells_in_a_row(&mesh, &args, &format!("shop/{name} yes {row}")).await?;
    }
    tells(
        &mesh,
        "--broker shop/default --id redriven --trigger shop/redriven",
        r#"
        Event redriven of /tests (redriven), accepted TIME at position 4 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/redriven yes delivered attempt 1: 200 at TIME

        The filter of shop/redriven
        CLAUSE VERDICT BECAUSE
        filter.attributes.type held type is "redriven"

        The attempts of shop/redriven
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 400 N parked 400 Bad Request
        TIME subscriber 1 200 N delivered
        "#,
    )
    .await
}

#[tokio::test]
async fn what_goes_round_for_ever_is_told_to_be_looping() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ring", [Answer::reply(&Event::new("again", "ring"))]);
    let documents = Documents::broker().trigger(&Trigger::new("ring", &sink.url("/ring")));
    let mesh = Mesh::start(documents.text()).await?;
    let first = Event::new("first", "ring").with("knativebrokerttl", "2");
    mesh.send("shop/default", &[first]).await?;
    mesh.admin().until_parked(1).await?;
    let why = "the event has passed through too many brokers (knativebrokerttl is used up)";
    tells(
        &mesh,
        "--broker shop/default --id first",
        &format!(
            "
            Event first of /tests (ring), accepted TIME at position 0 of shop/default

            TRIGGER MATCHED STATE WHY
            shop/ring yes looping delivered, but the reply was refused: {why}; the reply is parked as PARKED since TIME

            The attempts of shop/ring
            AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
            TIME subscriber 1 200 N looping the reply was refused: {why}
            "
        ),
    )
    .await
}

#[tokio::test]
async fn what_still_waits_is_told_with_what_it_waits_for() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/slow", [Answer::ok().after(&gate)]);
    sink.answer("/failing", [Answer::status(503)]);
    sink.answer("/full", [Answer::status(400)]);
    let unready = "spec: {broker: default, filter: {attributes: {type: unready}}, \
                   subscriber: {ref: {apiVersion: v1, kind: Service, name: nowhere}}}";
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("failing", &sink.url("/failing"))
                .attributes("{type: failing}")
                .delivery(LONG_WAIT),
        )
        .trigger(
            &Trigger::new("full", &sink.url("/full"))
                .attributes("{type: full}")
                .delivery(NO_RETRY)
                .annotation("millrace.dev/max-parked", "1"),
        )
        .trigger(
            &Trigger::new("slow", &sink.url("/slow"))
                .attributes("{type: slow}")
                .annotation("millrace.dev/parallelism", "1"),
        )
        .document("Trigger", "{name: unready, namespace: shop}", unready);
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send(
        "shop/default",
        &[
            Event::new("f", "failing"),
            Event::new("u", "unready"),
            Event::new("p", "full"),
        ],
    )
    .await?;
    mesh.admin().until_parked(1).await?;
    mesh.send("shop/default", &[Event::new("q", "full")]).await?;
    let slow: Vec<Event> = (0..1_500).map(|n| Event::new(&format!("s{n}"), "slow")).collect();
    mesh.send("shop/default", &slow).await?;
    let cases = [
        (
            "f",
            "failing",
            "retrying 503 Service Unavailable; attempt 2 is due at TIME",
        ),
        ("s0", "slow", "in-hand attempt 1 is under way"),
        ("s1", "slow", "in-hand queued, or its first attempt is under way"),
        (
            "s1499",
            "slow",
            "behind the trigger has N positions to read before it",
        ),
    ];
    for (id, trigger, row) in cases {
        let args = format!("--broker shop/default --id {id} --trigger shop/{trigger}");
        tells_in_a_row(&mesh, &args, &format!("shop/{trigger} yes {row}")).await?;
    }
    // What these two wait for is said first, and then how far they have come.
    for (id, trigger, begins) in [
        ("u", "unready", "shop/unready yes not-ready "),
        (
            "q",
            "full",
            "shop/full yes blocked 1 events are parked, as many as allowed; ",
        ),
    ] {
        let args = format!("--broker shop/default --id {id} --trigger shop/{trigger}");
        wait_until(begins, || async {
            let said = explain(&mesh, &args).await?;
            anyhow::ensure!(said.lines().any(|line| line.starts_with(begins)), "{said}");
            Ok(Some(()))
        })
        .await?;
    }
    gate.open();
    Ok(())
}

#[tokio::test]
async fn what_changed_around_the_event_is_told() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/gone", [Answer::status(503)]);
    let ship = Trigger::new("ship", &sink.url("/ship"));
    let gone = Trigger::new("gone", &sink.url("/gone")).delivery(LONG_WAIT);
    let before = Documents::broker().trigger(&ship).trigger(&gone);
    let mesh = Mesh::start(before.text()).await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    sink.wait_for("/gone", 1).await?;
    sink.wait_for("/ship", 1).await?;
    let after = Documents::broker()
        .trigger(&ship.clone().attributes("{type: other}"))
        .trigger(&Trigger::new("late", &sink.url("/late")));
    mesh.reload(after.text()).await?;
    let rows = [
        (
            "late",
            "shop/late yes admitted-later the trigger was admitted after this event: it begins at position 1, the event is at 0",
        ),
        (
            "ship",
            "shop/ship no delivered attempt 1: 200 at TIME; its filter does not match this event any more, but did when it was read",
        ),
        (
            "gone",
            "shop/gone ? orphaned its trigger is in no document since TIME; what it is owed is kept for the grace period; \
             503 Service Unavailable; attempt 2 is due at TIME",
        ),
    ];
    for (name, row) in rows {
        let args = format!("--broker shop/default --id 1 --trigger shop/{name}");
        tells_in_a_row(&mesh, &args, row).await?;
    }
    Ok(())
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
async fn without_the_history_the_rows_tell_what_they_know_also_after_a_restart() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/parked", [Answer::status(400).body("never")]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("parked", &sink.url("/parked")))
        .trigger(&Trigger::new("ship", &sink.url("/ship")));
    let setup = Setup::new(documents.text())?.args(&["--history-bytes", "0"]);
    let mut mesh = setup.start().await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    mesh.admin().until_parked(1).await?;
    mesh.until_settled().await?;
    let story = "
        Event 1 of /tests (order.paid), accepted TIME at position 0 of shop/default

        TRIGGER MATCHED STATE WHY
        shop/parked yes parked 400 Bad Request; parked as PARKED since TIME
        shop/ship yes settled the trigger has settled it; its attempts are not in the history any more

        The attempts of shop/parked
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 400 N failed 400 Bad Request never
        ";
    tells(&mesh, "--broker shop/default --id 1", story).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    tells(&mesh, "--broker shop/default --id 1", story).await
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
