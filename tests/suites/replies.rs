//! Promise: a reply is an event of the broker like any other; nothing goes round for ever; what is no reply is no failure.

use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Mesh, Sink};

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
async fn an_answer_that_is_no_reply_is_a_success_all_the_same() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut reply = Event::new("no reply", "answer").binary();
    let as_202 = reply
        .headers
        .drain(..)
        .fold(Answer::status(202), |answer, (name, value)| {
            answer.header(&name, &value)
        });
    let answers = [
        Answer::ok()
            .header("content-type", "text/html")
            .body("<p>thanks</p>"),
        Answer::ok().header("content-type", "application/json").body("{}"),
        Answer::ok()
            .header("content-type", "application/cloudevents+json")
            .body("{broken"),
        Answer::ok().header("ce-id", "half an event"),
        as_202.body("only a 200 carries a reply"),
    ];
    let count = answers.len();
    sink.answer("/first", answers);
    let mesh = two(&sink).await?;
    let events: Vec<_> = (0..count)
        .map(|n| Event::new(&n.to_string(), "question"))
        .collect();
    mesh.send("shop/default", &events).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.count("/first"), sink.count("/second")),
        (count, 0),
        "nothing is repeated, nothing is a reply"
    );
    mesh.admin().until_parked(0).await?;
    assert!(mesh.admin().metric("millrace_dispatch_odd_answers_total").await? >= 3.0);
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_answers_itself_ends() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/first", [Answer::reply(&Event::new("again", "question"))]);
    let mesh = two(&sink).await?;
    mesh.send(
        "shop/default",
        &[Event::new("1", "question").with("knativebrokerttl", "5")],
    )
    .await?;
    mesh.until_settled().await?;
    // Stored with 4, then 3, 2, 1; the reply that would have 0 is refused for good, and that is written down.
    assert_eq!(sink.count("/first"), 4);
    mesh.admin().until_parked(1).await?;
    for received in sink.received("/first") {
        assert_eq!(received.header("ce-knativebrokerttl"), None);
    }
    Ok(())
}

#[tokio::test]
async fn a_loop_without_a_number_ends_after_255_hops() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/first", [Answer::reply(&Event::new("again", "question"))]);
    let mesh = two(&sink).await?;
    mesh.send("shop/default", &[Event::new("1", "question")]).await?;
    mesh.until_settled().await?;
    let hops = sink.count("/first");
    assert!((254..=256).contains(&hops), "{hops}");
    mesh.admin().until_parked(1).await?;
    Ok(())
}

#[tokio::test]
async fn a_circle_of_brokers_ends_too() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    // The documents name the ingress, so its port has to be known before.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = |broker: &str| format!("http://127.0.0.1:{port}/shop/{broker}");
    let documents = Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("there", &url("other")))
        .trigger(&Trigger::new("back", &url("default")).on("other"))
        .trigger(&Trigger::new("seen", &sink.url("/seen")));
    let mesh = Setup::new(documents.text())?
        .listen(&format!("127.0.0.1:{port}"))
        .start()
        .await?;
    mesh.send(
        "shop/default",
        &[Event::new("1", "x").with("knativebrokerttl", "9")],
    )
    .await?;
    mesh.until_settled().await?;
    let seen = sink.count("/seen");
    assert!(
        (4..=5).contains(&seen),
        "of nine hops every second is here: {seen}"
    );
    for received in sink.received("/seen") {
        assert_eq!(received.header("ce-knativebrokerttl"), None);
    }
    Ok(())
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_parked_and_the_subscriber_not_called_again() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let large = Event::new("large", "answer").data("text/plain", vec![b'a'; 8_192]);
    sink.answer("/first", [Answer::reply(&large)]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"));
    let mesh = Setup::new(documents.text())?
        .args(&["--max-event-bytes", "4096"])
        .start()
        .await?;
    mesh.send("shop/default", &[Event::new("1", "question")]).await?;
    mesh.until_settled().await?;
    mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/first"), 1);
    Ok(())
}
