//! The cost of explaining everything: the history of attempts, and a client that follows `tail`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

use crate::contender::{Contender, Kind, MeshFolder};
use crate::documents;
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// The kinds of runs: which program runs, and whether a client follows.
const CASES: [(&str, Kind, bool); 3] = [
    ("without the history", Kind::MillraceForgets, false),
    ("as shipped", Kind::Millrace, false),
    ("as shipped, one follows", Kind::Millrace, true),
];

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut runs = [const { Vec::new() }; CASES.len()];
    for _ in 0..options.rounds {
        for ((_, kind, followed), runs) in CASES.into_iter().zip(&mut runs) {
            runs.push(one(kind, followed, options)?);
        }
    }
    let medians = runs.map(|runs| measure::median(&runs));
    let [without, shipped, followed] = medians;
    let targets = [
        Target {
            name: "as shipped, to without the history",
            is: shipped.rate / without.rate,
            should: Should::AtLeast(0.95),
        },
        Target {
            name: "processor time of the history, us/event",
            is: shipped.cpu - without.cpu,
            should: Should::Be,
        },
        Target {
            name: "one follows, to nobody follows",
            is: followed.rate / shipped.rate,
            should: Should::Be,
        },
    ];
    let rows: Vec<_> = CASES
        .iter()
        .zip(medians)
        .map(|((name, ..), median)| ((*name).to_owned(), median))
        .collect();
    report.add("What explanations cost, one trigger", &rows, &targets);
    Ok(())
}

fn one(kind: Kind, followed: bool, options: &Options) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let place = MeshFolder::new(&options.data, &documents::triggers(1, 1, sink.address()))?;
    let contender = Contender::start(kind, &place, sink.address())?;
    let follower = match contender.admin().filter(|_| followed) {
        Some(admin) => Some(Follower::begin(admin)?),
        None => None,
    };
    let run = measure::run(&contender, &sink, 1, options.run);
    if let Some(follower) = follower {
        follower.end();
    }
    run
}

/// Reads the tail and throws it away.
struct Follower {
    stream: TcpStream,
    reader: JoinHandle<()>,
}

impl Follower {
    fn begin(admin: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(admin).context("following")?;
        write!(stream, "GET /api/v1/tail HTTP/1.1\r\nhost: {admin}\r\n\r\n")?;
        let mut lines = stream.try_clone()?;
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while lines.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        Ok(Self { stream, reader })
    }

    fn end(self) {
        // The reader sees the end, and ends.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.reader.join();
    }
}
