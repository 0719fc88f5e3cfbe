//! Compares two binaries of Millrace in turns: the one that was built, and another one, such as that before a
//! change.

use std::net::SocketAddr;

use anyhow::Context as _;

use crate::contender::{Contender, Kind, MeshFolder};
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
    let (built, other) = turns(options, |binary, _| one(binary, options, triggers))?;
    let targets = targets(&built, &other, |run| run.cpu, |run| run.rate);
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
pub(crate) enum Binary {
    Built,
    Other,
}

impl Binary {
    /// Starts it.
    pub(crate) fn start(
        self,
        options: &Options,
        place: &MeshFolder,
        sink: SocketAddr,
    ) -> anyhow::Result<Contender> {
        let Self::Other = self else {
            return Contender::start(Kind::Millrace, place, sink);
        };
        let other = options.against.as_deref();
        Contender::start_other(other.context("invariant: there is another")?, place)
    }
}

/// The runs of the binary that was built, and of the other one. `one` gets the number of the round.
pub(crate) fn turns<T>(
    options: &Options,
    mut one: impl FnMut(Binary, usize) -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<T>, Vec<T>)> {
    let (mut built, mut other) = (Vec::new(), Vec::new());
    for round in 0..options.rounds * TIMES {
        // The order alternates: work that a run leaves behind, as on the disk, then burdens both alike.
        if round % 2 == 0 {
            built.push(one(Binary::Built, round)?);
            other.push(one(Binary::Other, round)?);
        } else {
            other.push(one(Binary::Other, round)?);
            built.push(one(Binary::Built, round)?);
        }
    }
    Ok((built, other))
}

/// Compares two figures of each run with those of its neighbour in time, as the load of the machine changes.
pub(crate) fn targets<T>(
    built: &[T],
    other: &[T],
    cpu: impl Fn(&T) -> f64,
    rate: impl Fn(&T) -> f64,
) -> [Target; 2] {
    let ratio = |figure: &dyn Fn(&T) -> f64| {
        let pairs = built.iter().zip(other);
        median_of(
            pairs
                .map(|(built, other)| figure(built) / figure(other))
                .collect(),
        )
    };
    [
        Target {
            name: "CPU an event, to the other binary",
            is: ratio(&cpu),
            should: Should::AtMost(AT_MOST),
        },
        Target {
            name: "events/s, to the other binary",
            is: ratio(&rate),
            should: Should::Be,
        },
    ]
}

fn one(binary: Binary, options: &Options, triggers: usize) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(&options.data, &documents::triggers(triggers, 1, sink.address()))?;
    let contender = binary.start(options, &place, sink.address())?;
    measure::run(&contender, &sink, 1, options.run)
}
