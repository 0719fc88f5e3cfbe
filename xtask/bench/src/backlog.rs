//! A backlog: events go in while the subscriber is away, the process starts again, the subscriber comes back.

use std::time::{Duration, Instant};

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::load::{self, Shape, Until};
use crate::measure;
use crate::options::Options;
use crate::process;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// How long a process is left alone before its memory counts as idle.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut sink = Sink::down()?;
    let place = MeshFolder::new(&options.data, &documents::triggers(1, 1, sink.address()))?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    std::thread::sleep(SETTLE);
    let idle = process::rss(contender.pid())?;
    let loaded = load::run(contender.listen(), Shape::Event, Until::Count(options.backlog), 0)?;
    std::thread::sleep(SETTLE);
    let full = process::rss(contender.pid())?;
    report.say(&format!(
        "\n{} events accepted in {:.1} s while the subscriber was away ({:.0} a second)",
        loaded.accepted,
        loaded.took.as_secs_f64(),
        loaded.accepted as f64 / loaded.took.as_secs_f64()
    ));
    contender.stop()?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    let ready = contender.ready_after();
    std::thread::sleep(SETTLE);
    let reopened = process::rss(contender.pid())?;
    let drained = drain(&mut sink, loaded.accepted)?;
    let repeats = sink.requests() - sink.distinct();
    let live = measure::run(&contender, &sink, 1, options.run)?;
    let targets = [
        Target {
            name: "idle RSS, MiB",
            is: idle,
            should: Should::AtMost(25.0),
        },
        Target {
            name: "RSS with the backlog, MiB",
            is: full,
            should: Should::AtMost(100.0),
        },
        Target {
            name: "RSS with the backlog after a restart, MiB",
            is: reopened,
            should: Should::AtMost(100.0),
        },
        Target {
            name: "ready after opening that data folder, s",
            is: ready.as_secs_f64(),
            should: Should::AtMost(1.0),
        },
        Target {
            name: "drained, events/s",
            is: drained,
            should: Should::Be,
        },
        Target {
            name: "repeats",
            is: repeats as f64,
            should: Should::Be,
        },
        Target {
            name: "drained to live",
            is: drained / live.rate,
            should: Should::AtLeast(0.8),
        },
    ];
    report.add(
        &format!("A backlog of {} events", options.backlog),
        &[("live, afterwards".to_owned(), live)],
        &targets,
    );
    Ok(())
}

/// The subscriber comes back; gives events a second until it has them all. The clock starts with the first
/// delivery, since until then the subscriber's own absence is what is measured.
fn drain(sink: &mut Sink, events: u64) -> anyhow::Result<f64> {
    sink.listen()?;
    sink.wait(1, Sink::distinct)?;
    let began = Instant::now();
    sink.wait(events, Sink::distinct)?;
    Ok(events as f64 / began.elapsed().as_secs_f64())
}
