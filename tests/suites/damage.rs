//! Promise: damaged files are said by name and place, cost only what they held, and never start something
//! that would silently be wrong.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, Sink, wait_until};

/// A small log in segments of 256 KiB, of which the subscriber at `/all` has taken nothing but what it holds
/// in its hands.
fn documents(sink: &Sink) -> Documents {
    let trigger = Trigger::new("all", &sink.url("/all"))
        .delivery(STUBBORN)
        .annotation("millrace.dev/parallelism", "1")
        .annotation("millrace.dev/max-deferred", "1");
    Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "2Mi")]).trigger(&trigger)
}

/// A mesh with events `0..count` of 8 KiB stored, whose subscriber is away.
async fn filled(count: usize) -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    sink.down();
    let mesh = Mesh::start(documents(&sink).text()).await?;
    let events: Vec<_> = (0..count).map(event).collect();
    mesh.send("shop/default", &events).await?;
    Ok((mesh, sink))
}

fn event(id: usize) -> Event {
    Event::new(&id.to_string(), "x").data("application/octet-stream", vec![b'.'; 8 << 10])
}

fn broker_folder(mesh: &Mesh) -> PathBuf {
    mesh.setup().data_folder().join("brokers/shop/default")
}

/// The segments of the log, oldest first.
fn segments(mesh: &Mesh) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(broker_folder(mesh).join("log"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    Ok(files)
}

/// Changes one byte in the middle of a file.
fn flip_in_the_middle(file: &Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty file")? ^= 0x55;
    Ok(fs::write(file, bytes)?)
}

fn name(file: &Path) -> String {
    file.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The events that came, and checks that none of them was changed.
fn came(sink: &Sink) -> BTreeSet<usize> {
    let received = sink.received("/all");
    for received in &received {
        let id = received.event().id().parse().unwrap_or(usize::MAX);
        assert_eq!(received.event(), event(id).sorted(), "what comes is whole");
    }
    received
        .iter()
        .filter_map(|received| received.event().id().parse().ok())
        .collect()
}

/// Starts on a log with a flipped byte in one of its segments; everything but one event comes.
async fn one_flipped_byte_costs_one_event(mut mesh: Mesh, sink: Sink, segment: &Path) -> anyhow::Result<()> {
    const EVENTS: usize = 100;
    flip_in_the_middle(segment)?;
    mesh.restart().await?;
    sink.up().await?;
    mesh.send("shop/default", &[event(EVENTS)]).await?;
    mesh.until_settled().await?;
    let came = came(&sink);
    assert_eq!(came.len(), EVENTS, "all but one, and the new one");
    assert!(came.contains(&EVENTS), "the new one");
    let said = mesh.process().stderr();
    let line = said
        .lines()
        .find(|line| line.contains("corrupt") && line.contains(&name(segment)));
    let line = line.with_context(|| format!("no line says where it is corrupt: {said}"))?;
    let lost = (0..EVENTS)
        .find(|id| !came.contains(id))
        .context("none is lost")?;
    assert!(line.contains(&lost.to_string()), "position {lost} in {line}");
    let admin = mesh.admin();
    assert!(admin.metric("millrace_channel_corrupt_frames_total").await? >= 1.0);
    assert!(admin.metric("millrace_channel_lost_events_total").await? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn a_flipped_byte_in_a_sealed_segment_costs_one_event_and_is_said() -> anyhow::Result<()> {
    let (mut mesh, sink) = filled(100).await?;
    assert!(mesh.stop().await?.success());
    let segments = segments(&mesh)?;
    assert!(segments.len() >= 3, "{segments:?}");
    one_flipped_byte_costs_one_event(mesh, sink, &segments[1]).await
}

#[tokio::test]
async fn a_flipped_byte_in_the_last_segment_costs_one_event_and_is_said() -> anyhow::Result<()> {
    let (mut mesh, sink) = filled(100).await?;
    assert!(mesh.stop().await?.success());
    let segments = segments(&mesh)?;
    let last = segments.last().context("no segment")?.clone();
    one_flipped_byte_costs_one_event(mesh, sink, &last).await
}

#[tokio::test]
async fn a_flipped_byte_after_a_crash_costs_one_event_and_is_said() -> anyhow::Result<()> {
    let (mut mesh, sink) = filled(100).await?;
    mesh.kill().await?;
    let segments = segments(&mesh)?;
    let last = segments.last().context("no segment")?.clone();
    one_flipped_byte_costs_one_event(mesh, sink, &last).await
}

/// Two segments, in which one Trigger reads on, cannot be opened: a link to itself is in their place.
#[tokio::test]
async fn segments_that_cannot_be_read_hold_up_only_the_triggers_that_read_them() -> anyhow::Result<()> {
    const EVENTS: usize = 900;
    const BEFORE: usize = 450;
    let large = |id: usize| Event::new(&id.to_string(), "x").data("text/plain", vec![b'.'; 16 << 10]);
    let sink = Sink::start().await?;
    sink.down();
    // Segments of 2 MiB. A Trigger has at most 4 MiB of events in its queue, and reads on behind them.
    let stuck = |name: &str| {
        Trigger::new(name, &sink.url(&format!("/{name}")))
            .delivery(STUBBORN)
            .annotation("millrace.dev/parallelism", "1")
            .annotation("millrace.dev/max-deferred", "1")
    };
    let early =
        Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "16Mi")]).trigger(&stuck("early"));
    let mut mesh = Mesh::start(early.text()).await?;
    let first: Vec<_> = (0..BEFORE).map(large).collect();
    mesh.send("shop/default", &first).await?;
    mesh.reload(early.trigger(&stuck("late")).text()).await?;
    let rest: Vec<_> = (BEFORE..EVENTS).map(large).collect();
    mesh.send("shop/default", &rest).await?;
    // Else the newest events are in memory.
    assert!(mesh.stop().await?.success());
    mesh.restart().await?;
    let aside: Vec<_> = segments(&mesh)?[1..3]
        .iter()
        .map(|segment| (segment.clone(), segment.with_extension("aside")))
        .collect();
    for (segment, aside) in &aside {
        fs::rename(segment, aside)?;
        symlink(segment, segment)?;
    }
    sink.up().await?;
    sink.wait_for("/late", EVENTS - BEFORE).await?;
    let process = mesh.process();
    wait_until("the log to be unreadable", || async {
        Ok(process.stderr().contains("the log cannot be read").then_some(()))
    })
    .await?;
    for (segment, aside) in &aside {
        fs::rename(aside, segment)?;
    }
    sink.wait_for("/early", EVENTS).await?;
    mesh.until_settled().await?;
    let expected: BTreeSet<_> = (0..EVENTS).map(|id| id.to_string()).collect();
    assert_eq!(sink.ids("/early").into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_costs_nothing() -> anyhow::Result<()> {
    let (mut mesh, sink) = filled(20).await?;
    mesh.kill().await?;
    let last = segments(&mesh)?.pop().context("no segment")?;
    let mut bytes = fs::read(&last)?;
    let whole = bytes.len();
    // The beginning of one more append, as a crash leaves it: a frame like the last one, but only half of it.
    let half = bytes[whole - (8 << 10)..whole - (4 << 10)].to_vec();
    bytes.extend(half);
    fs::write(&last, bytes)?;
    mesh.restart().await?;
    let said = mesh.process().stderr();
    assert!(said.contains("torn tail"), "{said}");
    assert!(!said.contains("corrupt"), "{said}");
    sink.up().await?;
    mesh.send("shop/default", &[event(20)]).await?;
    mesh.until_settled().await?;
    assert_eq!(came(&sink), (0..=20).collect());
    assert_eq!(
        mesh.admin()
            .metric("millrace_channel_corrupt_frames_total")
            .await?,
        0.0
    );
    Ok(())
}

/// Starts on a state database that was spoilt: refused in words; with leave everything begins at the oldest
/// event.
async fn a_spoilt_state_is_refused_and_rebuilt(
    what: &str,
    spoil: impl Fn(&Path) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("one", &sink.url("/one")))
        .trigger(&Trigger::new("two", &sink.url("/two")));
    let mut mesh = Mesh::start(documents.text()).await?;
    let events: Vec<_> = (0..10).map(event).collect();
    mesh.send("shop/default", &events).await?;
    mesh.until_settled().await?;
    assert!(mesh.stop().await?.success());
    let file = broker_folder(&mesh).join("state.db");
    spoil(&file)?;

    let (status, said) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(1), "{what}: {said}");
    for word in ["--rebuild-state", "state.db"] {
        assert!(said.contains(word), "{what}: no {word} in: {said}");
    }
    assert_eq!((sink.count("/one"), sink.count("/two")), (10, 10), "{what}");

    for path in ["/one", "/two"] {
        sink.take(path);
    }
    mesh.restart_with(&["--rebuild-state"]).await?;
    mesh.send("shop/default", &[event(10)]).await?;
    mesh.until_settled().await?;
    let all: BTreeSet<String> = (0..=10).map(|id| id.to_string()).collect();
    for path in ["/one", "/two"] {
        let came: BTreeSet<String> = sink.ids(path).into_iter().collect();
        assert_eq!(came, all, "{what}: {path} begins at the oldest event");
    }
    // What is rebuilt stays: with the flag still given, nothing comes a second time.
    assert!(mesh.stop().await?.success());
    for path in ["/one", "/two"] {
        sink.take(path);
    }
    mesh.restart().await?;
    mesh.send("shop/default", &[event(11)]).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/one"), sink.ids("/two")),
        (vec!["11".into()], vec!["11".into()])
    );
    Ok(())
}

#[tokio::test]
async fn a_truncated_state_database_is_refused_in_words_and_can_be_rebuilt() -> anyhow::Result<()> {
    let truncate = |file: &Path| fs::OpenOptions::new().write(true).open(file)?.set_len(5000);
    a_spoilt_state_is_refused_and_rebuilt("truncated", truncate).await
}

#[tokio::test]
async fn garbage_for_a_state_database_is_refused_in_words_and_can_be_rebuilt() -> anyhow::Result<()> {
    let garbage = |file: &Path| fs::write(file, "this is no database".repeat(1000));
    a_spoilt_state_is_refused_and_rebuilt("garbage", garbage).await
}

#[tokio::test]
async fn a_state_database_with_a_broken_page_is_refused_in_words_and_can_be_rebuilt() -> anyhow::Result<()> {
    let zeroes = |file: &Path| {
        let mut bytes = fs::read(file)?;
        let length = bytes.len();
        bytes[4096..length].fill(0);
        fs::write(file, bytes)
    };
    a_spoilt_state_is_refused_and_rebuilt("broken pages", zeroes).await
}

#[tokio::test]
async fn a_missing_or_empty_state_database_is_refused_in_words_and_can_be_rebuilt() -> anyhow::Result<()> {
    a_spoilt_state_is_refused_and_rebuilt("empty", |file| fs::write(file, "")).await?;
    a_spoilt_state_is_refused_and_rebuilt("missing", |file| fs::remove_file(file)).await
}

#[tokio::test]
async fn a_second_process_on_one_data_folder_ends_with_4_and_disturbs_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[event(0)]).await?;
    let (status, said) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    mesh.send("shop/default", &[event(1)]).await?;
    mesh.until_settled().await?;
    assert_eq!(came(&sink), BTreeSet::from([0, 1]));
    Ok(())
}

#[tokio::test]
async fn a_data_folder_of_an_unknown_format_is_refused_and_left_as_it_is() -> anyhow::Result<()> {
    for format in ["millrace data 99\n", "", "something else entirely"] {
        let setup = Setup::new(Documents::broker().text())?;
        fs::create_dir_all(setup.data_folder())?;
        let file = setup.data_folder().join("FORMAT");
        fs::write(&file, format)?;
        let (status, said) = setup.fail().await?;
        assert_eq!(status.code(), Some(1), "{format:?}: {said}");
        assert!(said.contains("format"), "{format:?}: {said}");
        assert_eq!(fs::read_to_string(&file)?, format);
        assert!(!setup.data_folder().join("brokers").exists());
    }
    Ok(())
}
