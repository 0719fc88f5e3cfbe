//! What an honest tenant feels of a hostile one: the rows of the suite `neighbours`, with times.
//!
//! *Quiet* is the same honest traffic while the same attack hits another mesh, so that both measurements
//! include the processor time of the attack. Honest traffic is light and steady, and has a runtime of its
//! own. A request's time counts from when it was due.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use millrace_tests::neighbours::{Honest, Neighbours, Outcome, Row};
use tokio::runtime::{Builder, Runtime};

use crate::measure::{median_of, percentile};
use crate::options::Options;
use crate::process;
use crate::report::{Report, Should, Target};

/// Events before measuring begins.
const WARM_UP: usize = 25;
/// How often the memory is read.
const LOOK: Duration = Duration::from_millis(100);
/// Always fast enough, in milliseconds.
const FAST: f64 = 100.0;
/// How many times the quiet time is fast enough as well.
const TIMES_QUIET: f64 = 3.0;
/// The memory that an attack may take besides the budget, in MiB.
const ROOM_MIB: f64 = 64.0;

const COLUMNS: &str =
    "answer p50 ms   answer p99 ms   arrive p50 ms   arrive p99 ms   healthz p99 ms   RSS MiB";

/// The mesh that is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attacked {
    /// Another mesh.
    Other,
    /// The mesh of the honest traffic.
    This,
}

/// The figures of one run, in the order of the columns.
type Figures = [f64; 6];

/// The runs of one row.
#[derive(Debug, Default)]
struct Runs {
    quiet: Vec<Figures>,
    attacked: Vec<Figures>,
    /// Requests refused, probes of `/healthz` not answered with 200, and runs that did not finish.
    failures: usize,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    for row in Row::ALL {
        let mut runs = Runs::default();
        for _ in 0..options.rounds {
            for attacked in [Attacked::Other, Attacked::This] {
                match one(row, attacked, options) {
                    Ok(Some((figures, failures))) => {
                        runs.failures += failures;
                        match attacked {
                            Attacked::Other => runs.quiet.push(figures),
                            Attacked::This => runs.attacked.push(figures),
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        runs.failures += 1;
                        report.say(&format!("  {}, attacked: {attacked:?}: {error:#}", row.title()));
                    }
                }
            }
        }
        runs.report(row, report);
    }
    Ok(())
}

impl Runs {
    fn report(&self, row: Row, report: &mut Report) {
        let title = format!("Neighbours: {}", row.title());
        let failures = Target {
            name: "refused, unhealthy or without an end",
            is: self.failures as f64,
            should: Should::AtMost(0.0),
        };
        if self.quiet.is_empty() || self.attacked.is_empty() {
            report.add(&title, &[], &[failures]);
            return;
        }
        let (quiet, attacked) = (medians(&self.quiet), medians(&self.attacked));
        let [_, answer, _, arrive, health, rss] = attacked;
        let at_most = |quiet: f64| Should::AtMost((quiet * TIMES_QUIET).max(FAST).round());
        let budget = Row::BUDGET_MIB as f64;
        let targets = [
            Target {
                name: "a producer's answer, p99, ms",
                is: answer,
                should: at_most(quiet[1]),
            },
            Target {
                name: "an event's arrival, p99, ms",
                is: arrive,
                should: at_most(quiet[3]),
            },
            Target {
                name: "/healthz, p99, ms",
                is: health,
                should: Should::AtMost(FAST),
            },
            Target {
                name: "RSS, MiB",
                is: rss,
                should: Should::AtMost((quiet[5] + budget + ROOM_MIB).round()),
            },
            failures,
        ];
        let rows = [
            ("attacked".to_owned(), attacked.to_vec()),
            ("quiet".to_owned(), quiet.to_vec()),
        ];
        report.add_rows(&title, COLUMNS, &rows, &targets);
    }
}

/// One run: the figures, and how many requests failed. `None` if the attack is impossible on this machine.
fn one(row: Row, attacked: Attacked, options: &Options) -> anyhow::Result<Option<(Figures, usize)>> {
    let (honest_side, hostile_side) = (runtime()?, runtime()?);
    std::fs::create_dir_all(&options.data)?;
    let place = tempfile::Builder::new()
        .prefix("neighbours-")
        .tempdir_in(&options.data)?;
    let mesh = |data: PathBuf| -> anyhow::Result<_> {
        let honest = honest_side.block_on(Honest::start())?;
        hostile_side.block_on(Neighbours::start(row, honest, Some(&data)))
    };
    let Some(this) = mesh(place.path().join("this"))? else {
        return Ok(None);
    };
    let other = match attacked {
        Attacked::Other => mesh(place.path().join("other"))?,
        Attacked::This => None,
    };
    let attack = hostile_side.block_on(other.as_ref().unwrap_or(&this).attack())?;
    let traffic = {
        let _entered = honest_side.enter();
        this.traffic()
    };
    honest_side.block_on(traffic.more(WARM_UP))?;
    traffic.forget();
    let rss = most_memory(this.mesh().running().id(), options.run)?;
    let outcome = honest_side.block_on(traffic.stop());
    let arrivals = honest_side.block_on(this.honest().deliveries(&outcome))?;
    hostile_side.block_on(attack.goes_on()).context("after the run")?;
    let failures = outcome.refused() + outcome.unhealthy();
    Ok(Some((figures(&outcome, arrivals, rss), failures)))
}

/// A thread of its own for each side, so that they share nothing but the processor.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// The most memory that a process has within a time, in MiB.
fn most_memory(pid: u32, time: Duration) -> anyhow::Result<f64> {
    let (began, mut most) = (Instant::now(), 0.0_f64);
    while began.elapsed() < time {
        most = most.max(process::rss(pid)?);
        std::thread::sleep(LOOK);
    }
    Ok(most)
}

fn figures(outcome: &Outcome, arrivals: Vec<Duration>, rss: f64) -> Figures {
    let in_order = |times: Vec<Duration>| {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let mut times: Vec<u32> = times.into_iter().map(micros).collect();
        times.sort_unstable();
        times
    };
    let answers = in_order(outcome.answers());
    let arrivals = in_order(arrivals);
    let health = in_order(outcome.healthy.clone());
    [
        percentile(&answers, 50),
        percentile(&answers, 99),
        percentile(&arrivals, 50),
        percentile(&arrivals, 99),
        percentile(&health, 99),
        rss,
    ]
}

fn medians(runs: &[Figures]) -> Figures {
    std::array::from_fn(|column| median_of(runs.iter().map(|figures| figures[column]).collect()))
}
