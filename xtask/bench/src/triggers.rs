//! What triggers cost: those that do not match, those that do, and those whose subscriber is dead.

use std::net::{SocketAddr, TcpListener};

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// Many triggers of which one matches.
pub(crate) fn matching_one(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let counts = [1, 10, 1_000, 10_000];
    let medians = in_turns(options, counts, |count| with(options, count, 1))?;
    let [one, .., most] = medians.map(|median| median.rate);
    let targets = [Target {
        name: "10 000 triggers to one",
        is: most / one,
        should: Should::AtLeast(0.9),
    }];
    let rows: Vec<_> = counts
        .iter()
        .zip(medians)
        .map(|(count, median)| (format!("{count} triggers"), median))
        .collect();
    report.add("Triggers of which one matches", &rows, &targets);
    Ok(())
}

/// One and ten triggers that all match.
pub(crate) fn matching_many(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let counts = [1, 10];
    let medians = in_turns(options, counts, |count| with(options, count, count))?;
    let [one, ten] = medians.map(|median| median.rate);
    let targets = [
        Target {
            name: "deliveries a second with ten",
            is: ten * 10.0,
            should: Should::Be,
        },
        Target {
            name: "deliveries with ten to those with one",
            is: ten * 10.0 / one,
            should: Should::Be,
        },
    ];
    let rows: Vec<_> = counts
        .iter()
        .zip(medians)
        .map(|(count, median)| (format!("{count} match"), median))
        .collect();
    report.add("Triggers that match", &rows, &targets);
    Ok(())
}

/// Ten triggers that match: nine with a subscriber, and one whose subscriber is there, refuses, or never
/// answers.
pub(crate) fn dead_among_ten(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [Tenth::Alive, Tenth::Refuses, Tenth::Hangs];
    let medians = in_turns(options, kinds, |kind| with_tenth(options, kind))?;
    let [alive, refuses, hangs] = medians.map(|median| median.rate);
    let targets = [
        Target {
            name: "one that refuses, to all alive",
            is: refuses / alive,
            should: Should::Be,
        },
        Target {
            name: "one that hangs, to all alive",
            is: hangs / alive,
            should: Should::Be,
        },
    ];
    let names = [
        "ten alive",
        "one of ten refuses connections",
        "one of ten never answers",
    ];
    let rows: Vec<_> = names
        .iter()
        .zip(medians)
        .map(|(name, median)| ((*name).to_owned(), median))
        .collect();
    report.add("A dead subscriber among ten", &rows, &targets);
    Ok(())
}

/// What the tenth subscriber does.
#[derive(Clone, Copy)]
enum Tenth {
    Alive,
    Refuses,
    Hangs,
}

/// The median of each case, measured in turns.
fn in_turns<C: Copy, const N: usize>(
    options: &Options,
    cases: [C; N],
    mut measure: impl FnMut(C) -> anyhow::Result<Run>,
) -> anyhow::Result<[Run; N]> {
    let mut runs = [const { Vec::new() }; N];
    for _ in 0..options.rounds {
        for (case, runs) in cases.into_iter().zip(&mut runs) {
            runs.push(measure(case)?);
        }
    }
    Ok(runs.map(|runs| measure::median(&runs)))
}

fn with(options: &Options, count: usize, matching: usize) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(
        &options.data,
        &documents::triggers(count, matching, sink.address()),
    )?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    measure::run(&contender, &sink, matching as u64, options.run)
}

fn with_tenth(options: &Options, tenth: Tenth) -> anyhow::Result<Run> {
    let (sink, refusing) = (Sink::up()?, Sink::down()?);
    // It listens and never accepts: connections stand and stay silent.
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let (subscriber, copies): (SocketAddr, u64) = match tenth {
        Tenth::Alive => (sink.address(), 10),
        Tenth::Refuses => (refusing.address(), 9),
        Tenth::Hangs => (hanging.local_addr()?, 9),
    };
    let mut documents = documents::triggers(9, 9, sink.address());
    documents::add_trigger(&mut documents, 9, 0, subscriber);
    let place = MeshFolder::new(&options.data, &documents)?;
    let contender = Contender::start(Kind::Millrace, &place, sink.address())?;
    measure::run(&contender, &sink, copies, options.run)
}
