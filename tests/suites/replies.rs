//! Promise: a reply is an event of the broker like any other; nothing goes round for ever; what is no reply
//! is no failure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Gate, Mesh, Sink};
use serde_json::json;

/// Triggers `first` for the type `question` and `second` for the type `answer`.
async fn two(sink: &Sink) -> anyhow::Result<Mesh> {
    let documents = Documents::broker()
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"))
        .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"));
    Mesh::start(documents.text()).await
}

#[tokio::test]
async fn a_reply_keeps_its_bytes_and_is_routed_like_any_event() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let long = Event::new("long", "answer").data("application/octet-stream", vec![9; 36_000]);
    let mut structured = Event::new("structured", "answer").structured();
    let structured_type = structured.headers.remove(0).1;
    sink.answer(
        "/first",
        [
            Answer::reply(&long),
            Answer::ok()
                .header("content-type", &structured_type)
                .body(structured.body),
        ],
    );
    let mesh = two(&sink).await?;
    for n in 0..2 {
        mesh.send("shop/default", &[Event::new(&n.to_string(), "question")])
            .await?;
        sink.wait_for("/second", n + 1).await?;
    }
    let received = sink.received("/second");
    assert_eq!(received[0].body, Bytes::from(vec![9; 36_000]));
    assert_eq!(received[1].event().id(), "structured");
    mesh.until_settled().await?;
    assert_eq!((sink.count("/first"), sink.count("/second")), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_loop_without_a_number_ends_after_255_hops() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/first", [Answer::reply(&Event::new("again", "question"))]);
    let mesh = two(&sink).await?;
    mesh.send("shop/default", &[Event::new("1", "question")]).await?;
    // Between two hops nothing may be owed for a moment. Its last one is parked.
    mesh.admin().until_parked(1).await?;
    mesh.until_settled().await?;
    let hops = sink.count("/first");
    assert!((254..=256).contains(&hops), "{hops}");
    Ok(())
}

/// An event in an answer of that status, in structured mode.
fn structured(status: u16, event: &Event) -> Answer {
    Answer::status(status)
        .header("content-type", "application/cloudevents+json")
        .body(event.json().to_string())
}

/// An event in an answer of that status, in binary mode.
fn binary(status: u16, event: &Event) -> Answer {
    let message = event.binary();
    let answer = Answer::status(status).body(message.body);
    message
        .headers
        .iter()
        .fold(answer, |answer, (name, value)| answer.header(name, value))
}

/// Answers one question after the other with these; gives the mesh once all is settled.
async fn answered(sink: &Sink, answers: Vec<Answer>) -> anyhow::Result<Mesh> {
    let questions: Vec<_> = (0..answers.len())
        .map(|nth| Event::new(&nth.to_string(), "question"))
        .collect();
    sink.answer("/first", answers);
    let mesh = two(sink).await?;
    mesh.send("shop/default", &questions).await?;
    mesh.until_settled().await?;
    assert_eq!(
        sink.count("/first"),
        questions.len(),
        "each question is delivered once"
    );
    let trigger = mesh.admin().trigger("shop/first").await?;
    assert_eq!(
        (
            &trigger["delivered"],
            &trigger["failedAttempts"],
            &trigger["parked"]
        ),
        (&json!(questions.len()), &json!(0), &json!(0))
    );
    Ok(mesh)
}

#[tokio::test]
async fn no_other_status_than_200_carries_a_reply() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let reply = Event::new("r", "answer");
    let answers = [201, 202, 203, 206].map(|status| [binary(status, &reply), structured(status, &reply)]);
    answered(&sink, answers.concat()).await?;
    assert_eq!(sink.count("/second"), 0);
    Ok(())
}

#[tokio::test]
async fn a_2xx_with_a_body_that_is_no_event_is_a_success_and_said_once() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let bodies = [
        ("text/plain", "thank you"),
        ("application/json", r#"{"ok": true}"#),
        ("text/html", "<p>"),
    ];
    let answer = |status, (content_type, body): (&str, &'static str)| {
        Answer::status(status)
            .header("content-type", content_type)
            .body(body)
    };
    let answers: Vec<_> = [200, 201, 202]
        .into_iter()
        .flat_map(|status| bodies.map(|body| answer(status, body)))
        .collect();
    let count = answers.len();
    let mut mesh = answered(&sink, answers).await?;
    assert_eq!(
        mesh.admin().metric("millrace_dispatch_odd_answers_total").await?,
        f64::from(u32::try_from(count)?)
    );
    let said = mesh.process().stderr();
    assert_eq!(said.matches("not a CloudEvent").count(), 1, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_batch_in_a_200_is_as_many_replies() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let batch = |events: &[Event]| {
        let message = Event::batch(events);
        message
            .headers
            .iter()
            .fold(Answer::ok().body(message.body), |answer, (name, value)| {
                answer.header(name, value)
            })
    };
    let replies: Vec<_> = (0..3).map(|n| Event::new(&format!("r{n}"), "answer")).collect();
    sink.answer("/first", [batch(&replies), batch(&replies[..1]), batch(&[])]);
    let mesh = two(&sink).await?;
    for n in 0..3 {
        mesh.send("shop/default", &[Event::new(&n.to_string(), "question")])
            .await?;
        sink.wait_for("/first", n + 1).await?;
    }
    mesh.until_settled().await?;
    let mut ids = sink.ids("/second");
    ids.sort();
    assert_eq!(ids, ["r0", "r0", "r1", "r2"]);
    assert_eq!(mesh.admin().metric("millrace_dispatch_replies_total").await?, 4.0);
    mesh.admin().until_parked(0).await?;
    let asked = sink.received("/first");
    assert!(
        asked
            .iter()
            .all(|request| request.header("accept-encoding") == Some("identity"))
    );
    Ok(())
}

/// `/ring` answers each event with the next.
fn ringing(sink: &Sink, delivery: &str) -> Documents {
    sink.decide("/ring", |_, nth| {
        Answer::reply(&Event::new(&format!("echo-{nth}"), "ring"))
    });
    Documents::broker_with(delivery).trigger(&Trigger::new("ring", &sink.url("/ring")))
}

#[tokio::test]
async fn a_reply_that_went_round_too_often_becomes_a_dead_letter_and_nobody_is_called_again()
-> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let delivery = format!(
        "{{retry: 5, backoffDelay: PT0.01S, deadLetterSink: {{uri: \"{}\"}}}}",
        sink.url("/dead")
    );
    let mesh = Mesh::start(ringing(&sink, &delivery).text()).await?;
    let first = Event::new("first", "ring").with("knativebrokerttl", "4");
    mesh.send("shop/default", &[first]).await?;
    mesh.until_settled().await?;
    // Stored with 3, 2 and 1; the reply that would have 0 is refused.
    assert_eq!(sink.ids("/ring"), ["first", "echo-0", "echo-1"]);
    let dead = sink.received("/dead");
    assert_eq!(dead.len(), 1);
    let letter = dead[0].event();
    assert_eq!(
        (
            letter.id(),
            letter.get("knativeerrorcode"),
            letter.get("knativeerrordest")
        ),
        ("echo-2", Some("-1"), Some(sink.url("/ring").as_str()))
    );
    let why = BASE64_STANDARD.decode(letter.get("knativeerrordata").unwrap_or_default())?;
    let why = String::from_utf8(why)?;
    assert!(why.contains("knativebrokerttl"), "{why}");
    mesh.admin().until_parked(0).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_reply_without_a_dead_letter_sink_is_parked_as_it_was() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(ringing(&sink, "{retry: 5}").text()).await?;
    let first = Event::new("first", "ring").with("knativebrokerttl", "2");
    mesh.send("shop/default", &[first]).await?;
    let parked = mesh.admin().until_parked(1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/ring"), ["first"]);
    assert_eq!(
        (&parked[0]["event"]["id"], &parked[0]["stage"]),
        (&json!("echo-0"), &json!("reply"))
    );
    let reason = parked[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("knativebrokerttl"), "{reason}");
    let id = parked[0]["id"].as_str().unwrap_or_default();
    let shown = mesh.admin().get(&format!("parked/{id}")).await?;
    assert_eq!(shown["event"]["data"], json!({"id": "echo-0"}));
    Ok(())
}

#[tokio::test]
async fn too_large_a_reply_becomes_a_dead_letter_and_nobody_is_called_again() -> anyhow::Result<()> {
    // The limit as it is, and lower, and higher; the reply is just above it.
    for (args, bytes) in [
        (vec![], (1 << 20) + 1),
        (vec!["--max-event-bytes", "2Ki"], 2049),
        (vec!["--max-event-bytes", "3Mi"], (3 << 20) + 1),
    ] {
        let sink = Sink::start().await?;
        let reply = Event::new("huge", "answer").data("text/plain", vec![b'.'; bytes]);
        sink.answer("/first", [Answer::reply(&reply)]);
        let delivery = format!("{{deadLetterSink: {{uri: \"{}\"}}}}", sink.url("/dead"));
        let documents = Documents::broker_with(&delivery)
            .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"))
            .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"));
        let mesh = Setup::new(documents.text())?.args(&args).start().await?;
        mesh.send("shop/default", &[Event::new("q", "question")]).await?;
        let dead = sink.wait_for("/dead", 1).await?;
        mesh.until_settled().await?;
        assert_eq!(
            (dead[0].event().id(), dead[0].body.len()),
            ("huge", bytes),
            "{args:?}"
        );
        assert_eq!((sink.count("/first"), sink.count("/second")), (1, 0), "{args:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_loop_counter_is_never_shown_to_a_subscriber() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let reply = Event::new("r", "answer").with("knativebrokerttl", "7");
    sink.answer("/first", [Answer::reply(&reply)]);
    sink.answer("/second", [Answer::status(400)]);
    let delivery = |format: &str| {
        format!(
            "{{retry: 0, format: {format}, deadLetterSink: {{uri: \"{}\"}}}}",
            sink.url("/dead")
        )
    };
    let documents = Documents::broker_with(&delivery("binary"))
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"))
        .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"))
        .trigger(&Trigger::new("json", &sink.url("/json")).delivery(&delivery("json")));
    let mesh = Mesh::start(documents.text()).await?;
    let question = Event::new("q", "question").with("knativebrokerttl", "100");
    mesh.send("shop/default", &[question]).await?;
    let mut all = sink.wait_for("/dead", 1).await?;
    all.extend(sink.wait_for("/json", 2).await?);
    mesh.until_settled().await?;
    all.extend(["/first", "/second"].iter().flat_map(|path| sink.received(path)));
    assert_eq!(all.len(), 5);
    for received in all {
        let body = String::from_utf8_lossy(&received.body);
        let shows = received.headers.contains_key("ce-knativebrokerttl") || body.contains("knativebrokerttl");
        assert!(!shows, "{}: {:?} {body}", received.path, received.headers);
    }
    Ok(())
}

/// `there` hands everything of `default` to `other`, `back` hands it back; `seen` sees each round.
fn circle(sink: &Sink, to_other: &str, to_default: &str) -> Documents {
    let metadata = |name: &str| format!("{{name: {name}, namespace: shop}}");
    let spec = |broker: &str, to: &str| format!("spec: {{broker: {broker}, subscriber: {to}}}");
    Documents::broker()
        .and_broker("other", "{}")
        .document("Trigger", &metadata("there"), &spec("default", to_other))
        .document("Trigger", &metadata("back"), &spec("other", to_default))
        .trigger(&Trigger::new("seen", &sink.url("/seen")))
}

/// Sends one event that may pass five brokers, and checks that it comes by three times and is then given up
/// on.
async fn goes_round_and_ends(mesh: &Mesh, sink: &Sink) -> anyhow::Result<()> {
    let event = Event::new("round", "x").with("knativebrokerttl", "6");
    mesh.send("shop/default", std::slice::from_ref(&event)).await?;
    let parked = mesh.admin().until_parked(1).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (&parked[0]["event"]["id"], &parked[0]["trigger"]),
        (&json!("round"), &json!("shop/there"))
    );
    let seen = sink.received("/seen");
    assert_eq!(seen.len(), 3, "default, other, default, other, default");
    let plain = event.without("knativebrokerttl").sorted();
    assert!(seen.iter().all(|seen| seen.event() == plain), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_circle_of_two_brokers_ends() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let to = |name: &str| {
        format!(
            "{{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {name}, namespace: shop}}}}"
        )
    };
    let mesh = Mesh::start(circle(&sink, &to("other"), &to("default")).text()).await?;
    goes_round_and_ends(&mesh, &sink).await
}

#[tokio::test]
async fn a_circle_by_the_urls_of_our_own_ingress_ends() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(Documents::broker().text()).await?;
    // The URLs are known only now.
    let to = |broker: &str| format!("{{uri: \"{}\"}}", mesh.url(broker));
    let documents = circle(&sink, &to("shop/other"), &to("shop/default"));
    mesh.reload(documents.text()).await?;
    goes_round_and_ends(&mesh, &sink).await
}

#[tokio::test]
async fn a_reply_finds_room_where_producers_are_turned_away() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (held, asked) = (Gate::closed(), Gate::closed());
    sink.answer("/stuck", [Answer::ok().after(&held)]);
    let reply = Answer::reply(&Event::new("r", "answer"));
    sink.answer("/first", [reply.after(&asked)]);
    let stuck = Trigger::new("stuck", &sink.url("/stuck"))
        .attributes("{type: filler}")
        .annotation("millrace.dev/parallelism", "1")
        .annotation("millrace.dev/max-deferred", "1");
    let documents = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "256Ki")])
        .trigger(&stuck)
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"))
        .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("q", "question")]).await?;
    sink.wait_for("/first", 1).await?;
    let filler = Event::new("f", "filler").data("text/plain", vec![b'.'; 16 << 10]);
    let mut refused = None;
    for _ in 0..100 {
        let answer = mesh.post("shop/default", &filler.binary()).await?;
        if answer.status != 202 {
            refused = Some(answer.code()?);
            break;
        }
    }
    assert_eq!(refused.as_deref(), Some("backlog-full"));
    asked.open();
    let heard = sink.wait_for("/second", 1).await?;
    assert_eq!((heard[0].event().id(), sink.count("/first")), ("r", 1));
    Ok(())
}
