//! Compares two binaries of Millrace in turns: the one that was built, and another one, such as that before a
//! change.

use anyhow::Context as _;

use crate::contender::{Contender, Kind, Place};
use crate::documents;
use crate::measure::{self, Run, median_of};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// How many times the usual number of rounds: the difference sought is smaller than that between consecutive
/// rounds.
const TIMES: usize = 4;
/// How much more processor time an event may take than with the other binary.
const AT_MOST: f64 = 1.03;

/// One trigger, as in `compare`.
pub(crate) fn compare(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    in_turns(options, report, 1)
}

/// The counts of triggers of `triggers`; one is `compare`.
pub(crate) fn triggers(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    [10, 1_000, 10_000]
        .into_iter()
        .try_for_each(|count| in_turns(options, report, count))
}

fn in_turns(options: &Options, report: &mut Report, triggers: usize) -> anyhow::Result<()> {
    let (mut built, mut other) = (Vec::new(), Vec::new());
    for round in 0..options.rounds * TIMES {
        // The order alternates: work that a run leaves behind, as on the disk, then burdens both alike.
        if round % 2 == 0 {
            built.push(one(Binary::Built, options, triggers)?);
            other.push(one(Binary::Other, options, triggers)?);
        } else {
            other.push(one(Binary::Other, options, triggers)?);
            built.push(one(Binary::Built, options, triggers)?);
        }
    }
    // Each run is compared with its neighbour in time, as the load of the machine changes.
    let ratio = |figure: fn(&Run) -> f64| {
        let pairs = built.iter().zip(&other);
        median_of(
            pairs
                .map(|(built, other)| figure(built) / figure(other))
                .collect(),
        )
    };
    let targets = [
        Target {
            name: "CPU an event, to the other binary",
            is: ratio(|run| run.cpu),
            should: Should::AtMost(AT_MOST),
        },
        Target {
            name: "events/s, to the other binary",
            is: ratio(|run| run.rate),
            should: Should::Be,
        },
    ];
    let rows = [
        ("built".to_owned(), measure::median(&built)),
        ("the other binary".to_owned(), measure::median(&other)),
    ];
    let scenario = format!(
        "Two binaries, {} rounds in turns, {triggers} triggers of which one matches",
        built.len()
    );
    report.add(&scenario, &rows, &targets);
    Ok(())
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    Built,
    Other,
}

fn one(binary: Binary, options: &Options, triggers: usize) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = Place::new(&options.data, &documents::triggers(triggers, 1, sink.address()))?;
    let contender = match binary {
        Binary::Built => Contender::start(Kind::Millrace, &place, sink.address())?,
        Binary::Other => {
            let other = options
                .against
                .as_deref()
                .context("invariant: there is another")?;
            Contender::start_other(other, &place)?
        }
    };
    measure::run(&contender, &sink, 1, options.run)
}
