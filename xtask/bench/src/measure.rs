//! One run: load on a contender until its end, then until the sink has everything, and what that cost.

use std::time::{Duration, Instant};

use crate::caller::Caller;
use crate::contender::Contender;
use crate::load::{self, Shape, Until};
use crate::process;
use crate::sink::Sink;

/// How long a contender is warmed up before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// What one run gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// Events a second, from the first request until the last delivery.
    pub(crate) rate: f64,
    /// Half of the requests were answered within so many milliseconds.
    pub(crate) p50: f64,
    /// 99 of 100 were.
    pub(crate) p99: f64,
    /// Processor time of the contender for one event, in microseconds.
    pub(crate) cpu: f64,
    /// The same of load generator and sink.
    pub(crate) bench_cpu: f64,
    /// Memory of the contender at the end of the load, in MiB.
    pub(crate) rss: f64,
    /// Requests answered with 503.
    pub(crate) refused: u64,
}

/// Measures one run. Each event is delivered to the sink `copies` times.
pub(crate) fn run(contender: &Contender, sink: &Sink, copies: u64, time: Duration) -> anyhow::Result<Run> {
    run_of(Shape::Event, contender, sink, copies, time)
}

/// The same with a load of another shape.
pub(crate) fn run_of(
    shape: Shape,
    contender: &Contender,
    sink: &Sink,
    copies: u64,
    time: Duration,
) -> anyhow::Result<Run> {
    run_as(&Caller::default(), shape, (contender, sink), copies, time)
}

/// The same by that caller.
pub(crate) fn run_as(
    caller: &Caller,
    shape: Shape,
    (contender, sink): (&Contender, &Sink),
    copies: u64,
    time: Duration,
) -> anyhow::Result<Run> {
    let address = match caller.tls {
        Some(_) => contender.listen_tls()?,
        None => contender.listen(),
    };
    let load = |until| load::run_as(caller.clone(), address, shape, until, 0);
    let had = sink.requests();
    let warm = load(Until::Time(WARM_UP))?;
    sink.wait(had + warm.accepted * copies, Sink::requests)?;
    let before = (
        sink.requests(),
        process::cpu(contender.pid())?,
        process::cpu(std::process::id())?,
    );
    let began = Instant::now();
    let loaded = load(Until::Time(time))?;
    let rss = process::rss(contender.pid())?;
    sink.wait(before.0 + loaded.accepted * copies, Sink::requests)?;
    let took = began.elapsed();
    let events = loaded.accepted.max(1) as f64;
    let micros = |now: Duration, then: Duration| (now - then).as_secs_f64() * 1e6 / events;
    Ok(Run {
        rate: events / took.as_secs_f64(),
        p50: percentile(&loaded.micros, 50),
        p99: percentile(&loaded.micros, 99),
        cpu: micros(process::cpu(contender.pid())?, before.1),
        bench_cpu: micros(process::cpu(std::process::id())?, before.2),
        rss,
        refused: loaded.refused,
    })
}

/// A percentile of what is in order, in milliseconds.
pub(crate) fn percentile(micros: &[u32], percent: usize) -> f64 {
    let at = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
    micros.get(at).map_or(0.0, |micros| f64::from(*micros) / 1e3)
}

/// The median.
pub(crate) fn median_of(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The median of each figure by itself.
pub(crate) fn median(runs: &[Run]) -> Run {
    let of = |figure: fn(&Run) -> f64| median_of(runs.iter().map(figure).collect());
    Run {
        rate: of(|run| run.rate),
        p50: of(|run| run.p50),
        p99: of(|run| run.p99),
        cpu: of(|run| run.cpu),
        bench_cpu: of(|run| run.bench_cpu),
        rss: of(|run| run.rss),
        refused: runs.iter().map(|run| run.refused).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_is_there() {
        assert_eq!(percentile(&[], 99), 0.0);
        assert_eq!(percentile(&[1000], 99), 1.0);
        let hundred: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(
            (percentile(&hundred, 50), percentile(&hundred, 99)),
            (51.0, 100.0)
        );
    }

    #[test]
    fn a_median_is_the_middle_of_each_figure() {
        let run = |rate, cpu| Run {
            rate,
            cpu,
            ..Run::default()
        };
        let median = median(&[run(1.0, 9.0), run(3.0, 7.0), run(2.0, 8.0)]);
        assert_eq!((median.rate, median.cpu), (2.0, 8.0));
    }
}
