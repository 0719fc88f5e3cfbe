//! Filters without a mesh, on one core: the index over many beside a plain loop over all, and expressions
//! alone.
//!
//! Every event passes exactly one of the filters. Time is processor time of the one thread, and the best of
//! several short rounds counts: what else runs on a shared machine only ever makes a round slower.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use millrace_event::{DataForm, Event, SpecVersion};
use millrace_filter::{Compiled, Filter, Index};
use rustix::time::{ClockId, clock_gettime};

use crate::options::Options;
use crate::report::{Report, Should, Target};

/// A name for people, and the filters of trigger `n`.
type Kind = (&'static str, fn(usize) -> Vec<Filter>);

/// What the filters ask.
const KINDS: [Kind; 4] = [
    ("exact type", |n| vec![exact_type(n)]),
    ("exact type, source prefix", |n| vec![exact_type(n), prefix()]),
    ("the same, 10 % with cesql", |n| {
        let cesql =
            (n % 10 == 0).then(|| Filter::Cesql("subject LIKE 'order-%' AND EXISTS region".to_owned()));
        [exact_type(n), prefix()].into_iter().chain(cesql).collect()
    }),
    ("the same, 1 % with jsonpath", |n| {
        let path = (n % 100 == 0).then(|| Filter::JsonPath("$.order[?@.total > 100]".to_owned()));
        [exact_type(n), prefix()].into_iter().chain(path).collect()
    }),
];
const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];
/// Expressions as people write them; `#` becomes the number of the trigger.
const EXPRESSIONS: [&str; 4] = [
    "type = 'com.example.shop.order.#'",
    "source LIKE '/shop/eu/%' AND type = 'com.example.shop.order.#'",
    "(subject LIKE 'order-%' OR EXISTS region) AND source IN ('/shop/#', '/shop/us')",
    "LENGTH(subject) > # AND region = 'eu'",
];
const BARE: usize = 1_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let least = Duration::from_millis(if options.rounds > 1 { 300 } else { 100 });
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for (name, filters) in KINDS {
        for size in SIZES {
            let compiled: Vec<Arc<Compiled>> = (0..size)
                .map(|n| Compiled::new(&filters(n)).map(Arc::new))
                .collect::<Result<_, _>>()?;
            let events = (0..1_000)
                .map(|n| event(n * 7_919 % size))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let indexed = with_index(&compiled, &events, least)?;
            let plain = one_by_one(&compiled, &events, least);
            rows.push((format!("{size} x {name}"), vec![indexed, plain, indexed / plain]));
            targets.extend(target(name, size).map(|(name, bound)| Target {
                name,
                is: indexed,
                should: Should::AtLeast(bound),
            }));
        }
    }
    let columns = "index events/s   loop events/s   ratio";
    report.add_rows(
        "filters: the index and a plain loop over all",
        columns,
        &rows,
        &targets,
    );
    expressions(least, report)?;
    paths(least, report)
}

fn target(kind: &str, size: usize) -> Option<(&'static str, f64)> {
    match (kind, size) {
        ("exact type, source prefix", 10_000) => {
            Some(("events/s, 10 000 of exact type and source prefix", 1e6))
        }
        ("the same, 10 % with cesql", 10_000) => Some(("events/s, 10 % of them with cesql", 5e5)),
        _ => None,
    }
}

/// Expressions that are all of their filters: what one evaluation takes.
fn expressions(least: Duration, report: &mut Report) -> anyhow::Result<()> {
    let events = (0..100).map(event).collect::<anyhow::Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for text in EXPRESSIONS {
        let compiled = bare(|_| text)?;
        let each = 1e9 / one_by_one(&compiled, &events, least) / BARE as f64;
        rows.push((text.to_owned(), vec![each]));
    }
    let mixed = bare(|n| EXPRESSIONS[n % EXPRESSIONS.len()])?;
    let each = 1e9 / one_by_one(&mixed, &events, least) / BARE as f64;
    rows.push(("all of them in turns".to_owned(), vec![each]));
    let target = Target {
        name: "ns for an evaluation, all of them in turns",
        is: each,
        should: Should::AtMost(150.0),
    };
    report.add_rows("filters: 1 000 bare expressions", "ns each", &rows, &[target]);
    Ok(())
}

/// Triggers with paths into the data: the time for one event, whose data is parsed anew each time.
fn paths(least: Duration, report: &mut Report) -> anyhow::Result<()> {
    let item = r#"{"b":1,"name":"x"}"#;
    let of_size = |bytes: usize, item: &str| {
        let items = vec![item; bytes / (item.len() + 1)].join(",");
        with_data(0, &format!("[{items}]"))
    };
    let events = [
        ("half a KiB", event(0)?),
        ("240 kB", of_size(240_000, item)?),
        ("1 MiB, the densest", of_size(1 << 20, "0")?),
    ];
    let mut rows = Vec::new();
    let mut one_of_240_kb = f64::NAN;
    for (name, filters) in path_kinds() {
        let mut index = Index::default();
        for (key, filters) in (0..).zip(filters) {
            index.insert(key, Arc::new(Compiled::new(&filters)?));
        }
        let mut keys = Vec::new();
        let each = events.iter().map(|(_, event)| {
            let rate = best_of_large(std::slice::from_ref(event), least, |event| {
                keys.clear();
                index.matching(black_box(event), &mut keys);
                black_box(&keys);
            });
            1e6 / rate
        });
        let each: Vec<f64> = each.collect();
        if name == ONE_PATH {
            one_of_240_kb = each[1];
        }
        rows.push((name.to_owned(), each));
    }
    let thirty = rows.iter().find(|(name, _)| name == THIRTY_PATHS);
    let targets = [
        Target {
            name: "30 Triggers with one path each cost at most so many times one, 240 kB",
            is: thirty.map_or(f64::NAN, |(_, each)| each[1] / one_of_240_kb),
            should: Should::AtMost(3.0),
        },
        Target {
            name: "µs for one Trigger with 999 paths, 240 kB",
            is: rows.last().map_or(f64::NAN, |(_, each)| each[1]),
            should: Should::AtMost(50_000.0),
        },
    ];
    let columns: Vec<&str> = events.iter().map(|(size, _)| *size).collect();
    report.add_rows(
        "filters: paths into the data, µs an event",
        &columns.join("   "),
        &rows,
        &targets,
    );
    Ok(())
}

const ONE_PATH: &str = "1 Trigger with $..name0";
const THIRTY_PATHS: &str = "30 Triggers with $..nameN";

/// Names, and the filters of each trigger.
fn path_kinds() -> Vec<(&'static str, Vec<Vec<Filter>>)> {
    let path = |text: String| Filter::JsonPath(text);
    let of_each = |count: usize, text: &dyn Fn(usize) -> String| -> Vec<Vec<Filter>> {
        (0..count).map(|n| vec![path(text(n))]).collect()
    };
    let condition = |n: usize| format!("$..[?@.b == {}]", n + 7);
    let hostile = Filter::Any((0..999).map(|n| path(condition(n))).collect());
    vec![
        ("1 Trigger with $.name", of_each(1, &|_| "$.name".to_owned())),
        (ONE_PATH, of_each(1, &|n| format!("$..name{n}"))),
        (THIRTY_PATHS, of_each(30, &|n| format!("$..name{n}"))),
        ("1 Trigger with $..[?@.b == 7]", of_each(1, &condition)),
        ("30 Triggers with $..[?@.b == N]", of_each(30, &condition)),
        ("1 Trigger with 999 of them", vec![vec![hostile]]),
    ]
}

fn bare(text: impl Fn(usize) -> &'static str) -> anyhow::Result<Vec<Arc<Compiled>>> {
    let filter = |n: usize| Filter::Cesql(text(n).replace('#', &n.to_string()));
    let compiled = (0..BARE).map(|n| Compiled::new(&[filter(n)]).map(Arc::new));
    Ok(compiled.collect::<Result<_, _>>()?)
}

/// Events a second through an index of them all.
fn with_index(filters: &[Arc<Compiled>], events: &[Event], least: Duration) -> anyhow::Result<f64> {
    let mut index = Index::default();
    for (key, filter) in (0..).zip(filters) {
        index.insert(key, filter.clone());
    }
    let mut keys = Vec::new();
    for event in events {
        keys.clear();
        index.matching(event, &mut keys);
        anyhow::ensure!(
            keys.len() == 1,
            "{} filters pass an event that is for one",
            keys.len()
        );
    }
    Ok(best(events, least, |event| {
        keys.clear();
        index.matching(black_box(event), &mut keys);
        black_box(&keys);
    }))
}

/// Events a second when every filter is asked.
fn one_by_one(filters: &[Arc<Compiled>], events: &[Event], least: Duration) -> f64 {
    best(events, least, |event| {
        let matched = filters.iter().filter(|filter| filter.matches(black_box(event)));
        black_box(matched.count());
    })
}

/// The best rate of five rounds, in events a second.
fn best(events: &[Event], least: Duration, each: impl FnMut(&Event)) -> f64 {
    // Reading the clock takes time too.
    best_between(64, events, least, each)
}

/// The same for events that take so long that reading the clock does not matter.
fn best_of_large(events: &[Event], least: Duration, each: impl FnMut(&Event)) -> f64 {
    best_between(1, events, least, each)
}

/// Reads the clock after so many events.
fn best_between(looks: u32, events: &[Event], least: Duration, mut each: impl FnMut(&Event)) -> f64 {
    let round = |each: &mut dyn FnMut(&Event)| {
        let (begun, mut count) = (processor_time(), 0_u32);
        for event in events.iter().cycle() {
            each(event);
            count += 1;
            if count.is_multiple_of(looks) && processor_time() - begun >= least.as_secs_f64() / 5.0 {
                break;
            }
        }
        f64::from(count) / (processor_time() - begun)
    };
    (0..5).map(|_| round(&mut each)).fold(0.0, f64::max)
}

/// Seconds of processor time of this thread.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn exact_type(n: usize) -> Filter {
    Filter::Exact(vec![("type".to_owned(), format!("com.example.shop.order.{n}"))])
}

fn prefix() -> Filter {
    Filter::Prefix(vec![("source".to_owned(), "/shop/".to_owned())])
}

/// An event of the type of filter `n` that passes everything else that is asked, with half a kibibyte of
/// JSON.
fn event(n: usize) -> anyhow::Result<Event> {
    let data = format!(
        r#"{{"order": [{{"total": 250, "item": "{}"}}, {{"total": 3}}], "n": {n}}}"#,
        "x".repeat(450)
    );
    with_data(n, &data)
}

fn with_data(n: usize, data: &str) -> anyhow::Result<Event> {
    let builder = Event::builder(SpecVersion::V10)
        .attribute("id", &format!("A-{n}"))
        .attribute("source", "/shop/eu/1")
        .attribute("type", &format!("com.example.shop.order.{n}"))
        .attribute("time", "2026-11-22T10:00:00Z")
        .attribute("subject", "order-1234")
        .attribute("datacontenttype", "application/json")
        .attribute("region", "eu")
        .data(DataForm::Bytes, data.as_bytes());
    Ok(builder.build()?)
}
