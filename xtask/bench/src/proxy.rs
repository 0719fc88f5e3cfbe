//! A single proxy: all connections come from one peer. Shares among peers must cost it nothing.

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::load::Shape;
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// The load of `compare`, from one peer and from a peer of its own on each connection.
const SHAPES: [(Shape, &str); 2] = [
    (Shape::Event, "one proxy"),
    (Shape::EventOfMany, "a peer on each connection"),
];

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let (mut runs, mut old) = ([const { Vec::new() }; SHAPES.len()], Vec::new());
    for _ in 0..options.rounds {
        for ((shape, _), runs) in SHAPES.into_iter().zip(&mut runs) {
            runs.push(one(shape, options, |place, sink| {
                Contender::start(Kind::Millrace, place, sink.address())
            })?);
        }
        if let Some(other) = &options.against {
            old.push(one(Shape::Event, options, |place, _| {
                Contender::start_other(other, place)
            })?);
        }
    }
    let medians = runs.map(|runs| measure::median(&runs));
    let mut targets = vec![Target {
        name: "events/s of one proxy, to those of many peers",
        is: medians[0].rate / medians[1].rate,
        should: Should::AtLeast(0.9),
    }];
    let names = SHAPES.map(|(_, name)| name.to_owned());
    let mut rows: Vec<_> = names.into_iter().zip(medians).collect();
    if !old.is_empty() {
        let old = measure::median(&old);
        targets.push(Target {
            name: "events/s of one proxy, to the other binary's",
            is: medians[0].rate / old.rate,
            should: Should::Be,
        });
        rows.push(("one proxy, the other binary".to_owned(), old));
    }
    report.add("Neighbours: one proxy, one trigger", &rows, &targets);
    Ok(())
}

fn one(
    shape: Shape,
    options: &Options,
    start: impl Fn(&MeshFolder, &Sink) -> anyhow::Result<Contender>,
) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(&options.data, &documents::triggers(1, 1, sink.address()))?;
    let contender = start(&place, &sink)?;
    measure::run_of(shape, &contender, &sink, 1, options.run)
}
