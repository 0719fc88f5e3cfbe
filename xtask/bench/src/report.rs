//! What was measured: a table for people while it runs, or one JSON document at the end.

use serde_json::{Value, json};

use crate::measure::Run;
use crate::options::Options;

/// Collects the results; people see each at once.
pub(crate) struct Report {
    json: bool,
    scenarios: Vec<Value>,
}

/// A figure that has a target.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) name: &'static str,
    /// What was measured.
    pub(crate) is: f64,
    /// What it should be: at least, or at most.
    pub(crate) should: Should,
}

/// Which way a target lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Should {
    AtLeast(f64),
    AtMost(f64),
    /// Reported only.
    Be,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let report = Self {
            json: options.json,
            scenarios: Vec::new(),
        };
        report.say(&format!(
            "{} cores, medians of {} rounds in turns, {} s of load each: 1 KiB events, binary mode, 64 connections.\n\
             CPU and memory are those of the contender; `bench` is load generator and sink together.",
            std::thread::available_parallelism().map_or(0, usize::from),
            options.rounds,
            options.run.as_secs()
        ));
        report
    }

    /// A remark for people.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// The runs of one scenario, and what follows from them.
    pub(crate) fn add(&mut self, scenario: &str, runs: &[(String, Run)], targets: &[Target]) {
        let width = runs.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(24);
        self.say(&format!("\n{scenario}"));
        if !runs.is_empty() {
            let columns = "events/s   p50 ms   p99 ms   CPU us/event   bench   RSS MiB";
            self.say(&format!("  {:width$}   {columns}", ""));
        }
        for (name, run) in runs {
            let Run {
                rate,
                p50,
                p99,
                cpu,
                bench_cpu,
                rss,
                refused,
            } = run;
            let refused = if *refused > 0 {
                format!("   {refused} refused")
            } else {
                String::new()
            };
            self.say(&format!(
                "  {name:width$}   {rate:8.0}   {p50:6.2}   {p99:6.2}   {cpu:12.1}   {bench_cpu:5.1}   {rss:7.1}{refused}"
            ));
        }
        for target in targets {
            self.say(&format!("  {target}"));
        }
        let runs: Vec<Value> = runs.iter().map(|(name, run)| run_json(name, run)).collect();
        let targets: Vec<Value> = targets.iter().map(Target::json).collect();
        self.scenarios
            .push(json!({ "scenario": scenario, "runs": runs, "figures": targets }));
    }

    /// Rows of figures of one's own, and what follows from them.
    pub(crate) fn add_rows(
        &mut self,
        scenario: &str,
        columns: &str,
        rows: &[(String, Vec<f64>)],
        targets: &[Target],
    ) {
        let width = rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        self.say(&format!("\n{scenario}\n  {:width$}   {columns}", ""));
        for (name, figures) in rows {
            let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:14.1}")).collect();
            self.say(&format!("  {name:width$}   {}", figures.join("  ")));
        }
        for target in targets {
            self.say(&format!("  {target}"));
        }
        let row = |(name, figures): &(String, Vec<f64>)| json!({ "name": name, "figures": figures });
        let rows: Vec<Value> = rows.iter().map(row).collect();
        let targets: Vec<Value> = targets.iter().map(Target::json).collect();
        let columns: Vec<&str> = columns.split("   ").collect();
        self.scenarios
            .push(json!({ "scenario": scenario, "columns": columns, "runs": rows, "figures": targets }));
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&Value::Array(self.scenarios))?);
        }
        Ok(())
    }
}

fn run_json(name: &str, run: &Run) -> Value {
    json!({
        "name": name, "events_per_second": run.rate, "p50_ms": run.p50, "p99_ms": run.p99, "cpu_us_per_event": run.cpu,
        "bench_cpu_us_per_event": run.bench_cpu, "rss_mib": run.rss, "refused": run.refused,
    })
}

impl Target {
    fn is_met(&self) -> bool {
        match self.should {
            Should::AtLeast(bound) => self.is >= bound,
            Should::AtMost(bound) => self.is <= bound,
            Should::Be => true,
        }
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "is": self.is, "met": self.is_met() })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let met = if self.is_met() { "met" } else { "MISSED" };
        write!(f, "{:<52} {:>10.2}", self.name, self.is)?;
        match self.should {
            Should::AtLeast(bound) => write!(f, "   at least {bound}: {met}"),
            Should::AtMost(bound) => write!(f, "   at most {bound}: {met}"),
            Should::Be => Ok(()),
        }
    }
}
