//! The comparison: a bare forwarder two ways, and Millrace two ways, in turns, on the same load and sink.

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

const KINDS: [Kind; 4] = [Kind::Pooled, Kind::Own, Kind::Millrace, Kind::MillraceOs];

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut runs = [const { Vec::new() }; KINDS.len()];
    for _ in 0..options.rounds {
        for (kind, runs) in KINDS.into_iter().zip(&mut runs) {
            runs.push(one(kind, options)?);
        }
    }
    let medians = runs.map(|runs| measure::median(&runs));
    let [a, own, b, c] = medians.map(|median| median.rate);
    let targets = [
        Target {
            name: "b/a",
            is: b / a,
            should: Should::AtLeast(0.85),
        },
        Target {
            name: "b/a'",
            is: b / own,
            should: Should::Be,
        },
        Target {
            name: "c/a",
            is: c / a,
            should: Should::Be,
        },
        Target {
            name: "a'/a",
            is: own / a,
            should: Should::Be,
        },
    ];
    let rows: Vec<_> = KINDS
        .iter()
        .zip(medians)
        .map(|(kind, median)| (kind.name().to_owned(), median))
        .collect();
    report.add("Beside a bare forwarder, one trigger", &rows, &targets);
    Ok(())
}

fn one(kind: Kind, options: &Options) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(&options.data, &documents::triggers(1, 1, sink.address()))?;
    let contender = Contender::start(kind, &place, sink.address())?;
    measure::run(&contender, &sink, 1, options.run)
}
