//! Signed pushes of GitHub into a GitWebhookSource, beside events of the same size into the Broker, in turns.

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::load::{SECRET, Shape};
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

const SHAPES: [(Shape, &str); 2] = [
    (Shape::Event, "events in binary mode"),
    (Shape::Push, "signed pushes of GitHub"),
];

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut runs = [const { Vec::new() }; SHAPES.len()];
    for _ in 0..options.rounds {
        for ((shape, _), runs) in SHAPES.into_iter().zip(&mut runs) {
            runs.push(one(shape, options)?);
        }
    }
    let medians = runs.map(|runs| measure::median(&runs));
    let [events, pushes] = medians.map(|median| median.rate);
    let ratio = Target {
        name: "pushes to events",
        is: pushes / events,
        should: Should::Be,
    };
    let rows: Vec<_> = SHAPES
        .iter()
        .zip(medians)
        .map(|((_, name), median)| ((*name).to_owned(), median))
        .collect();
    report.add(
        "Git webhooks beside the plain ingress, one trigger",
        &rows,
        &[ratio],
    );
    Ok(())
}

fn one(shape: Shape, options: &Options) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(&options.data, &documents::webhooks(SECRET, sink.address()))?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    measure::run_of(shape, &contender, &sink, 1, options.run)
}
