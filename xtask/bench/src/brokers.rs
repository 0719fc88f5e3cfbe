//! Many Brokers of which few are busy: what the idle ones cost, and how long a start and a stop take.

use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::load::{self, Shape, Until};
use crate::options::Options;
use crate::process;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// Brokers that get events; each has a Trigger. The others have neither.
pub(crate) const BUSY: usize = 50;
/// Bytes that a KiB has.
const KIB: f64 = 1024.0;
/// How often descriptors and threads are counted under load.
const LOOK: Duration = Duration::from_millis(100);

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Descriptors other than connections.
    files: usize,
    threads: usize,
}

/// The process left alone.
#[derive(Clone, Copy, Debug)]
struct Idle {
    held: Held,
    rss: f64,
    /// Percent of one core.
    cpu: f64,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let sink = Sink::up()?;
    let one = MeshFolder::new(&options.data, &documents::brokers(1, 0, sink.address()))?;
    let one = Contender::start(Kind::Millrace, &one, sink.address())?;
    let alone = idle(&one, options)?;
    one.stop()?;

    let place = MeshFolder::new(
        &options.data,
        &documents::brokers(options.brokers, BUSY, sink.address()),
    )?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    let new = contender.ready_after();
    stop(contender)?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    let known = contender.ready_after();
    let calm = idle(&contender, options)?;
    let (busy, rate) = loaded(&contender, &sink, options)?;
    let again = idle(&contender, options)?;
    let stopped = stop(contender)?;

    let others = options.brokers.saturating_sub(1).max(1) as f64;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let at_most = |name, is: f64, most: f64| Target {
        name,
        is,
        should: Should::AtMost(most),
    };
    let targets = [
        at_most("ready on a new data folder, s", new.as_secs_f64(), 10.0),
        at_most("ready on a known data folder, s", known.as_secs_f64(), 3.0),
        at_most("stopped after, s", stopped.as_secs_f64(), 3.0),
        at_most(
            "idle: RSS of a Broker, KiB",
            (calm.rss - alone.rss) * KIB / others,
            50.0,
        ),
        at_most("idle: processor time, % of a core", calm.cpu, 0.5),
        at_most("idle: descriptors", calm.held.files as f64, 32.0),
        at_most("idle: threads", calm.held.threads as f64, (16 * cores) as f64),
        at_most(
            "busy: descriptors but for connections",
            busy.files as f64,
            (32 + 4 * BUSY) as f64,
        ),
        at_most("busy: threads", busy.threads as f64, (64 * cores) as f64),
        at_most("idle again: descriptors", again.held.files as f64, 32.0),
        Target {
            name: "busy: events/s, of all Brokers together",
            is: rate,
            should: Should::Be,
        },
    ];
    let title = format!("{} Brokers of which {BUSY} are busy", options.brokers);
    report.add(&title, &[], &targets);
    Ok(())
}

/// Leaves the process alone, then looks at what it holds and uses.
fn idle(contender: &Contender, options: &Options) -> anyhow::Result<Idle> {
    thread::sleep(options.settle);
    let (before, began) = (process::cpu(contender.pid())?, Instant::now());
    thread::sleep(options.settle);
    let used = process::cpu(contender.pid())? - before;
    Ok(Idle {
        held: held(contender)?,
        rss: process::rss(contender.pid())?,
        cpu: used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0,
    })
}

/// The most that the process holds under load, and the events a second.
fn loaded(contender: &Contender, sink: &Sink, options: &Options) -> anyhow::Result<(Held, f64)> {
    let (address, until) = (contender.listen(), Until::Time(options.run));
    let (mut most, before) = (Held::default(), sink.requests());
    let loaded = thread::scope(|scope| {
        let load = scope.spawn(move || load::run(address, Shape::EventToMany, until, 0));
        while !load.is_finished() {
            let now = held(contender)?;
            most.files = most.files.max(now.files);
            most.threads = most.threads.max(now.threads);
            thread::sleep(LOOK);
        }
        load.join().expect("invariant: the load does not panic")
    })?;
    sink.wait(before + loaded.accepted, Sink::requests)?;
    Ok((most, loaded.accepted as f64 / loaded.took.as_secs_f64()))
}

fn held(contender: &Contender) -> anyhow::Result<Held> {
    Ok(Held {
        files: process::files(contender.pid())?,
        threads: process::threads(contender.pid())?,
    })
}

fn stop(contender: Contender) -> anyhow::Result<Duration> {
    let began = Instant::now();
    contender.stop()?;
    Ok(began.elapsed())
}
