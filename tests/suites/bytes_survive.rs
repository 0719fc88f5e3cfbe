//! Promise: what goes in comes out: data byte for byte, attributes known or not, the original text of `time`.

use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::raw::exchange;
use millrace_tests::{Event, Mesh, Sink, chance};

async fn watched() -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    Ok((Mesh::start(documents.text()).await?, sink))
}

#[tokio::test]
async fn every_attribute_of_a_binary_event_arrives_as_it_was_sent() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let event = Event::new(
        "every attribute".replace(' ', "-").as_str(),
        "com.example.order/paid;v=1",
    )
    .with("source", "https://example.com/a%252Fb?c=d#e")
    .with("subject", "a/b:c@d")
    .with("time", "2018-04-05T17:31:00.123456789+02:00")
    .with("dataschema", "https://example.com/schema")
    .with(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    .with("partitionkey", "k-1")
    .with("averyveryverylongextensionname", "1")
    .with("0digit", "first");
    mesh.send("shop/default", std::slice::from_ref(&event)).await?;
    let received = sink.wait_for("/all", 1).await?;
    assert_eq!(received[0].event(), event.sorted());
    Ok(())
}

#[tokio::test]
async fn data_arrives_byte_for_byte_whatever_its_type() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut chance = chance();
    let noise: Vec<u8> = (0..70_000).map(|_| chance.u8(..)).collect();
    let cases: [(&str, Bytes); 8] = [
        (
            "application/json",
            Bytes::from_static(b"{ \"a\" : 1.000, \"b\":[ ]\n}"),
        ),
        ("application/json", Bytes::from_static(b"not json at all")),
        (
            "application/vnd.example+json; charset=utf-8",
            Bytes::from_static(b"\"text\""),
        ),
        ("text/plain; charset=iso-8859-1", Bytes::from_static(b"caf\xE9")),
        ("application/xml", Bytes::from_static(b"<a>\r\n</a>")),
        ("application/x-thrift", Bytes::from_static(b"\x00\x01\x02\xFF")),
        ("application/octet-stream", Bytes::from(noise)),
        ("text/plain", Bytes::from_static(b" ")),
    ];
    for (n, (content_type, data)) in cases.iter().enumerate() {
        let event = Event::new(&n.to_string(), "x").data(content_type, data.clone());
        mesh.send("shop/default", &[event]).await?;
    }
    for received in sink.wait_for("/all", cases.len()).await? {
        let (content_type, data) = &cases[received.event().id().parse::<usize>()?];
        assert_eq!(received.header("content-type"), Some(*content_type));
        assert_eq!(&received.body, data, "{content_type}");
    }
    Ok(())
}

#[tokio::test]
async fn an_event_without_data_arrives_without_data() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let bare = Event::new("bare", "x").no_data();
    let mut typed = bare.clone().with("id", "typed");
    typed.content_type = Some("application/json".to_owned());
    mesh.send("shop/default", &[bare, typed]).await?;
    for received in sink.wait_for("/all", 2).await? {
        let expected = Some("application/json").filter(|_| received.event().id() == "typed");
        assert!(received.body.is_empty(), "{received:?}");
        assert_eq!(received.header("content-type"), expected);
    }
    Ok(())
}

#[tokio::test]
async fn structured_data_is_taken_out_by_the_rules_of_the_json_format() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let head = r#""specversion":"1.0","source":"/s","type":"t""#;
    // The members after the head; the body that has to arrive; its content type.
    let cases: [(&str, &[u8], Option<&str>); 7] = [
        (
            r#""data": { "a" :1.0 } "#,
            b"{ \"a\" :1.0 }",
            Some("application/json"),
        ),
        (r#""data":"text""#, b"\"text\"", Some("application/json")),
        (
            r#""datacontenttype":"text/plain","data":"te\u00e9xt""#,
            "te\u{e9}xt".as_bytes(),
            Some("text/plain"),
        ),
        (
            r#""datacontenttype":"application/json","data":null"#,
            b"null",
            Some("application/json"),
        ),
        (
            r#""datacontenttype":"image/png","data_base64":"AAH/""#,
            b"\x00\x01\xFF",
            Some("image/png"),
        ),
        (r#""data_base64":"AAH/""#, b"\x00\x01\xFF", None),
        (r#""ext":null"#, b"", None),
    ];
    let mut client = millrace_tests::Client::new(mesh.listen());
    for (n, (members, _, _)) in cases.iter().enumerate() {
        let mut message = Event::new("x", "x").structured();
        message.body = Bytes::from(format!("{{{head},\"id\":\"{n}\",{members}}}"));
        let answer = client.post("/shop/default", &message).await?;
        assert_eq!(answer.status, 202, "{members}: {answer:?}");
    }
    for received in sink.wait_for("/all", cases.len()).await? {
        let (members, body, content_type) = cases[received.event().id().parse::<usize>()?];
        assert_eq!(received.body, body, "{members}");
        assert_eq!(received.header("content-type"), content_type, "{members}");
    }
    Ok(())
}

#[tokio::test]
async fn header_values_keep_the_octets_that_they_came_with() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    // What came, and what is delivered: as it came, but where quotes or percent signs made it to be decoded.
    let cases = [
        ("plain", "plain"),
        ("a b", "a b"),
        ("100%", "100%25"),
        ("Euro%20%E2%82%AC", "Euro%20%E2%82%AC"),
        ("caf%c3%a9", "caf%C3%A9"),
    ];
    for (n, (sent, _)) in cases.iter().enumerate() {
        mesh.send(
            "shop/default",
            &[Event::new(&n.to_string(), "x").with("ext", sent)],
        )
        .await?;
    }
    for received in sink.wait_for("/all", cases.len()).await? {
        let event = received.event();
        let (sent, delivered) = cases[event.id().parse::<usize>()?];
        assert_eq!(event.get("ext"), Some(delivered), "{sent}");
    }
    Ok(())
}

/// Node's `http` writes ISO 8859-1, most others UTF-8; some readers refuse both, so every receiver gets
/// percent-encoding.
#[tokio::test]
async fn octets_beyond_ascii_in_a_header_are_read_as_they_were_meant_and_leave_encoded() -> anyhow::Result<()>
{
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("all", &sink.url("/all")))
        .trigger(&Trigger::new("cafe", &sink.url("/cafe")).attributes("{subject: café}"));
    let mesh = Mesh::start(documents.text()).await?;
    let cases: [(&[u8], &str); 6] = [
        (b"caf\xe9", "caf%C3%A9"),
        ("café".as_bytes(), "caf%C3%A9"),
        (b"caf%C3%A9", "caf%C3%A9"),
        (b"caf\xe9 au lait", "caf%C3%A9 au lait"),
        (b"100% caf\xe9", "100%25%20caf%C3%A9"),
        (b"\xa3 \xdf\xff", "%C2%A3 %C3%9F%C3%BF"),
    ];
    let request = |id: &str, subject: &[u8]| {
        let head = format!(
            "POST /shop/default HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nce-specversion: 1.0\r\nce-source: /s\r\n\
             ce-type: t\r\nce-id: {id}\r\nce-subject: ",
            mesh.listen()
        );
        [head.as_bytes(), subject, b"\r\n\r\n"].concat()
    };
    for (n, (subject, _)) in cases.iter().enumerate() {
        let answer = exchange(mesh.listen(), &request(&n.to_string(), subject)).await?;
        assert_eq!(answer.map(|answer| answer.status), Some(202), "{n}");
    }
    // No attribute may hold what ISO 8859-1 reads as a control character; octets spelled by percent signs
    // must be UTF-8.
    let refused: [(&[u8], &str); 2] = [
        (b"caf\x85", "bad-attribute-value"),
        (b"caf%E9", "bad-percent-encoding"),
    ];
    for (subject, code) in refused {
        let answer = exchange(mesh.listen(), &request("bad", subject)).await?;
        assert_eq!(
            answer.map(|answer| answer.code()).transpose()?.as_deref(),
            Some(code)
        );
    }
    for received in sink.wait_for("/all", cases.len()).await? {
        let (_, delivered) = cases[received.event().id().parse::<usize>()?];
        assert_eq!(received.header("ce-subject"), Some(delivered));
    }
    mesh.until_settled().await?;
    let mut heard = sink.ids("/cafe");
    heard.sort();
    assert_eq!(heard, ["0", "1", "2"], "filters see the text");
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_asks_for_json_gets_structured_events() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents =
        Documents::broker().trigger(&Trigger::new("json", &sink.url("/json")).delivery("{format: json}"));
    let mesh = Mesh::start(documents.text()).await?;
    let event = Event::new("1", "x")
        .with("ext", "v")
        .data("application/json", "{\"a\":1}");
    mesh.send("shop/default", std::slice::from_ref(&event)).await?;
    let received = sink.wait_for("/json", 1).await?;
    assert_eq!(
        received[0].header("content-type"),
        Some("application/cloudevents+json; charset=utf-8")
    );
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&received[0].body)?,
        event.json()
    );
    Ok(())
}

#[tokio::test]
async fn only_the_agreed_headers_are_passed_on() -> anyhow::Result<()> {
    let (mesh, sink) = watched().await?;
    let mut message = Event::new("1", "x").binary();
    let passed = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "a=b"),
        ("baggage", "c=d"),
        ("x-request-id", "r-1"),
        ("knative-history", "h"),
        ("x-b3-traceid", "1"),
    ];
    let kept = [
        ("authorization", "Bearer secret"),
        ("cookie", "secret"),
        ("retry-after", "5"),
        ("x-other", "1"),
    ];
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    message.headers.extend(passed.map(pair));
    message.headers.extend(kept.map(pair));
    assert_eq!(mesh.post("shop/default", &message).await?.status, 202);
    let received = sink.wait_for("/all", 1).await?;
    for (name, value) in passed {
        assert_eq!(received[0].header(name), Some(value), "{name}");
    }
    for (name, _) in kept {
        assert_eq!(received[0].header(name), None, "{name}");
    }
    assert_eq!(received[0].header("prefer"), Some("reply"));
    assert_eq!(received[0].header("kn-namespace"), Some("shop"));
    assert_eq!(
        received[0].header("ce-knativebrokerttl"),
        None,
        "never shown to subscribers"
    );
    Ok(())
}
