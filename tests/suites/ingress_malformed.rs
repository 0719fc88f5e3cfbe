//! Promise: whatever bytes come in, the ingress answers with a client error or closes; it never stores half
//! an event, never fails itself, and goes on serving others.

use std::fmt::Write as _;

use fastrand::Rng;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Event, Mesh, Sink, chance, raw};

/// How many requests are made.
const REQUESTS: usize = 200;

/// A good request to be spoilt: its header lines and its body.
struct Request {
    line: String,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
}

#[tokio::test]
async fn two_hundred_malformed_requests_are_refused_and_nothing_is_stored() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(documents.text()).await?;
    let mut chance = chance();
    for n in 0..REQUESTS {
        let (what, bytes) = malformed(&mut chance, n);
        let answer = raw::exchange(mesh.listen(), &bytes).await;
        let shown = || {
            format!(
                "{n}: {what}: {:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(600)])
            )
        };
        match answer {
            // Closed without a word: what came was not HTTP at all.
            Ok(None) => {}
            Ok(Some(answer)) => assert!((400..500).contains(&answer.status), "{}: {answer:?}", shown()),
            Err(error) => panic!("{}: {error:#}", shown()),
        }
    }
    mesh.send("shop/default", &[Event::new("after all that", "x")])
        .await?;
    sink.wait_for("/all", 1).await?;
    assert_eq!(sink.ids("/all").len(), 1, "nothing malformed was stored");
    Ok(())
}

/// A request with at least one fault that makes it invalid, whatever else chance does to it.
fn malformed(chance: &mut Rng, n: usize) -> (&'static str, Vec<u8>) {
    let mut request = Request::good();
    let what = match n % 16 {
        0 => request.without("ce-id"),
        1 => request.without("ce-specversion"),
        2 => request.header("ce-specversion2", "%ZZ%C0%AF"),
        3 => request.header("ce-source", "/again"),
        4 => request.replaced("ce-specversion", &chance_text(chance)),
        5 => request.header("ce-time", &chance_text(chance)),
        6 => request.header(&format!("ce-{}_", chance_word(chance)), "1"),
        7 => request.raw_header(chance_header(chance)),
        8 => request.structured(&truncated(chance)),
        9 => request.structured(&nested(chance)),
        10 => request.structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{"y":1}}"#),
        11 => request.structured(&format!(r#"[{{"id":"{}"}}]"#, chance_word(chance))),
        12 => request.line(&format!(
            "POST /shop/default HTTP/{}.{}",
            chance.u8(2..9),
            chance.u8(2..9)
        )),
        13 => request.line(&format!(
            "{} /shop/default HTTP/1.1",
            chance_word(chance).to_uppercase() + "X"
        )),
        14 => request.header("content-length", "12 34"),
        _ => return ("chance bytes", chance_bytes(chance)),
    };
    (what, request.bytes())
}

impl Request {
    fn good() -> Self {
        let message = Event::new("malformed", "x").binary();
        let mut request = Self {
            line: "POST /shop/default HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: message.body.to_vec(),
        };
        request.header("host", "127.0.0.1");
        for (name, value) in &message.headers {
            request.header(name, value);
        }
        request
    }

    fn line(&mut self, line: &str) -> &'static str {
        line.clone_into(&mut self.line);
        "request line"
    }

    fn header(&mut self, name: &str, value: &str) -> &'static str {
        self.headers.push(format!("{name}: {value}").into_bytes());
        "header"
    }

    fn raw_header(&mut self, header: Vec<u8>) -> &'static str {
        self.headers.push(header);
        "raw header"
    }

    fn without(&mut self, name: &str) -> &'static str {
        self.headers
            .retain(|header| !header.starts_with(format!("{name}:").as_bytes()));
        "without"
    }

    fn replaced(&mut self, name: &str, value: &str) -> &'static str {
        self.without(name);
        self.header(name, value);
        "replaced"
    }

    fn structured(&mut self, body: &str) -> &'static str {
        self.headers.truncate(1);
        self.header("content-type", "application/cloudevents+json");
        self.body = body.as_bytes().to_vec();
        "structured"
    }

    fn bytes(mut self) -> Vec<u8> {
        let has_length = self
            .headers
            .iter()
            .any(|header| header.starts_with(b"content-length"));
        if !has_length {
            self.headers
                .push(format!("content-length: {}", self.body.len()).into_bytes());
        }
        let mut bytes = self.line.into_bytes();
        for header in self.headers {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&header);
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn chance_word(chance: &mut Rng) -> String {
    (0..chance.usize(1..12)).map(|_| chance.lowercase()).collect()
}

/// Printable ASCII that is no version and no time.
fn chance_text(chance: &mut Rng) -> String {
    (0..chance.usize(1..40))
        .map(|_| char::from(chance.u8(b'!'..=b'~')))
        .filter(|c| *c != '%')
        .collect::<String>()
        + "!"
}

/// A header that is none: no colon, a name with spaces, a bare control character.
fn chance_header(chance: &mut Rng) -> Vec<u8> {
    let word = chance_word(chance);
    match chance.u8(0..4) {
        0 => word.into_bytes(),
        1 => format!("{word} {word}: x").into_bytes(),
        2 => format!(": {word}").into_bytes(),
        _ => [format!("x-{word}: ").as_bytes(), &[chance.u8(1..9)]].concat(),
    }
}

fn chance_bytes(chance: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..chance.usize(1..300)).map(|_| chance.u8(..)).collect();
    // An end of a header, so that the server does not wait for more.
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

/// A good event in JSON, cut somewhere.
fn truncated(chance: &mut Rng) -> String {
    let whole = Event::new("cut", "x").json().to_string();
    let cut = chance.usize(..whole.len() - 1);
    whole[..cut].to_owned()
}

/// Deeper than any honest event.
fn nested(chance: &mut Rng) -> String {
    let depth = chance.usize(300..3_000);
    let mut text = String::from(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"#);
    let _ = write!(text, "{}{}}}", "[".repeat(depth), "]".repeat(depth));
    text
}
