//! Promise: what the documentation tells people to type works, line by line, and prints what the page shows.

use std::path::Path;

use millrace_tests::{Answer, Page, Sink, Terminal, process};

const WHY: &str = "docs/guides/why-was-my-service-not-called.md";
const SECRETS: &str = "docs/operations/secrets.md";
const ACCESS: &str = "docs/guides/access.md";

/// The pages whose blocks are typed by a test of this suite.
const TYPED: &[&str] = &["README.md", WHY, SECRETS, ACCESS];

/// Every block that is not typed, with its page and reason.
const NOT_TYPED: &[(&str, &str)] = &[
    ("README.md", "builds everything, and serves until Ctrl-C"),
    ("README.md", "builds everything"),
    (
        "docs/guides/kafka-bridge.md",
        "needs a Kafka; the suite `examples` runs the mesh",
    ),
    (
        "docs/guides/kafka.md",
        "needs a Kafka; the suites of the Kafka source use the document",
    ),
    ("docs/operations/performance.md", "measures for half an hour"),
];

#[tokio::test]
async fn the_first_page_brings_an_event_to_its_service_and_explains_it() -> anyhow::Result<()> {
    let page = Page::read("README.md")?;
    let sink = Sink::start().await?;
    let mut terminal = Terminal::new()?;
    let documents = page
        .documents()?
        .replace("127.0.0.1:9001", &sink.address().to_string())
        .replace("127.0.0.1:9009", &sink.address().to_string());
    terminal.write("mesh.yaml", &documents)?;
    for block in page.blocks().iter().filter(|block| block.not_run.is_none()) {
        terminal.types(block).await?;
    }
    let received = sink.wait_for("/ship", 1).await?;
    assert_eq!(received[0].event().json()["data"]["order"], 7);
    Ok(())
}

/// The documents that the guide speaks of, and a Trigger that is not applied yet.
fn documents(sink: &Sink) -> String {
    let (ship, bill) = (sink.url("/"), sink.url("/bill"));
    let trigger = |name: &str, ty: &str, uri: &str| {
        format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n\
             \x20 broker: default\n  filters: [{{exact: {{type: {ty}}}}}]\n  subscriber: {{uri: \"{uri}\"}}\n\
             \x20 delivery: {{retry: 1, backoffDelay: PT0.1S}}\n"
        )
    };
    let broker =
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default, namespace: shop}\n";
    [
        broker.to_owned(),
        trigger("ship", "order.paid", &ship),
        trigger("bill", "order.payed", &bill),
    ]
    .concat()
}

const SEND: &str = "millrace send --broker shop/default --source /shop --type order.paid --id";

#[tokio::test]
async fn the_guide_to_a_service_that_was_not_called_shows_what_is_told() -> anyhow::Result<()> {
    let page = Page::read(WHY)?;
    let [explain, before, over, tail] = &page.blocks()[..] else {
        anyhow::bail!("the guide has other blocks than this suite knows: {page:?}");
    };
    let sink = Sink::start().await?;
    let busy = || Answer::status(503).body("no capacity");
    sink.answer("/", [busy(), busy(), busy(), Answer::status(202)]);
    let mut terminal = Terminal::new()?;
    let documents = documents(&sink);
    terminal.write("mesh.yaml", &documents)?;
    let new = documents.rsplit("---\n").next().unwrap_or_default();
    terminal.write(
        "new.yaml",
        &new.replace("bill", "new").replace("order.payed", "order.paid"),
    )?;
    terminal.write(
        "event.json",
        r#"{"specversion":"1.0","id":"4711","source":"/shop","type":"order.paid"}"#,
    )?;
    terminal.serves("millrace run -f mesh.yaml").await?;

    terminal.run(&format!("{SEND} 4711")).await?;
    terminal
        .until("millrace parked list", "503 Service Unavailable")
        .await?;
    terminal.types(explain).await?;
    terminal.types(before).await?;
    for _ in 0..2 {
        terminal
            .run("millrace send --broker shop/default --type other")
            .await?;
    }
    terminal.types(over).await?;
    terminal
        .follows(tail, async |terminal| {
            terminal.run(&format!("{SEND} 4712")).await.map(drop)
        })
        .await
}

#[tokio::test]
async fn folders_and_prefixes_are_opened_as_the_page_says() -> anyhow::Result<()> {
    let page = Page::read(SECRETS)?;
    let mut terminal = Terminal::new()?;
    let broker = "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: default}}\n";
    terminal.write("mesh.yaml", broker)?;
    for block in &page.blocks() {
        terminal.types(block).await?;
    }
    Ok(())
}

#[test]
fn every_block_is_typed_or_says_why_it_is_not() -> anyhow::Result<()> {
    let mut not_typed = Vec::new();
    for page in Page::all()? {
        for block in page.blocks() {
            assert!(!block.steps.is_empty(), "{}: an empty block", page.name);
            match block.not_run {
                Some(reason) => not_typed.push((page.name.clone(), reason)),
                None => assert!(
                    TYPED.contains(&page.name.as_str()),
                    "{}: no test types {:?}",
                    page.name,
                    block.steps
                ),
            }
        }
    }
    let expected: Vec<_> = NOT_TYPED
        .iter()
        .map(|(page, reason)| ((*page).to_owned(), (*reason).to_owned()))
        .collect();
    assert_eq!(not_typed, expected);
    Ok(())
}

#[tokio::test]
async fn the_guide_to_who_may_call_lets_in_whom_it_names() -> anyhow::Result<()> {
    let page = Page::read(ACCESS)?;
    let sink = Sink::start().await?;
    let mut terminal = Terminal::new()?;
    terminal.write("mesh.yaml", &documents(&sink))?;
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/event-policies/mesh.yaml");
    terminal.write("policies.yaml", &std::fs::read_to_string(policies)?)?;
    for block in page.blocks().iter().filter(|block| block.not_run.is_none()) {
        terminal.types(block).await?;
    }
    // By a token (twice), by HTTP Basic, and by a client certificate.
    sink.wait_for("/", 4).await?;
    Ok(())
}

#[tokio::test]
async fn the_example_of_an_access_file_is_valid() -> anyhow::Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/access.yaml");
    let checked = process::run(
        Path::new("."),
        &["access".as_ref(), "check".as_ref(), example.as_os_str()],
        "",
    )
    .await?;
    assert!(checked.status.success(), "{checked:?}");
    Ok(())
}
