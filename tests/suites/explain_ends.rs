//! Promise: for an event that a trigger has settled, `explain` tells where it ended, with every attempt as
//! far as the history goes: delivered, dead-lettered, parked, dropped, looping.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::story::{tells, tells_in_a_row};
use millrace_tests::{Answer, Event, Mesh, Sink};

const ONE_RETRY: &str = "{retry: 1, backoffDelay: PT0.01S}";
const NO_RETRY: &str = "{retry: 0}";

fn paid(id: &str) -> Event {
    Event::new(id, "order.paid")
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
    let why = "looping: the event has passed through too many brokers (knativebrokerttl is used up)";
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
        shop/ship yes settled the trigger has read past it and owes nothing of it: it was settled so long ago that its attempts are not in the history any more, or the filter did not let it pass then

        The attempts of shop/parked
        AT STAGE ATTEMPT STATUS MILLIS OUTCOME REASON ANSWER
        TIME subscriber 1 400 N failed 400 Bad Request never
        ";
    tells(&mesh, "--broker shop/default --id 1", story).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    tells(&mesh, "--broker shop/default --id 1", story).await
}
