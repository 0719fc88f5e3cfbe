//! What the benchmark is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The help text.
pub(crate) const USAGE: &str = "\
cargo xtask bench [SCENARIO...] [options]

  --only SCENARIO   the same as SCENARIO: one of compare, triggers, match, dead, backlog, webhooks, filters,
                    explain, access, kafka, neighbours, brokers (all)
  --quick           one short round instead of three long ones, and a tenth of the backlog and of the Brokers
  --seconds N       how long the load of one run lasts (8)
  --against PATH    `compare`, `triggers` and `kafka` measure this binary of Millrace and the one that was built, twelve
                    rounds in turns, and nothing else; and `neighbours` says how the row `one proxy` compares
  --data DIR        where Millrace keeps its data; must be a real disk (target/bench)
  --output FORMAT   table (default) or json

  compare    (a) a bare forwarder, (a') the same on its own connections, (b) millrace, (c) millrace --durability os
  triggers   1, 10, 1 000 and 10 000 triggers of which one matches
  match      1 and 10 triggers that all match
  dead       ten triggers that match; one subscriber refuses connections, or never answers
  explain    millrace as it is shipped, without the attempts' history, and while somebody follows `tail`
  access     with https, with tokens, and with an EventPolicy of 1 000 entries, beside without
  backlog    1 000 000 events while the subscriber is away; a restart; and their delivery once it is back
  webhooks   signed pushes of GitHub into a source, beside events into the Broker
  filters    1 to 10 000 filters in the index, on one core, and asked one by one; and expressions alone
  kafka      records of a topic a second: a bare rdkafka consumer, and a KafkaSource until they are durable. Needs java and
             `cargo xtask peers`
  neighbours an honest producer, its subscriber and /healthz while another tenant attacks, row by row, beside the same while
             the attack goes to another mesh; and one client to many. MILLRACE_LONG=1 for 1 000 dead Triggers and 700 names
  brokers    5 000 Brokers of which 50 are busy: start, stop, threads, descriptors, memory, idle processor time
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Bench(Options),
    /// Be the bare forwarder (this program starts itself so).
    Forward(Forward),
}

/// How to measure.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    pub(crate) run: Duration,
    pub(crate) backlog: u64,
    pub(crate) records: u64,
    /// Brokers of the scenario `brokers`.
    pub(crate) brokers: usize,
    /// How long a process is left alone before it counts as idle.
    pub(crate) settle: Duration,
    pub(crate) data: PathBuf,
    /// Another binary of Millrace to compare with.
    pub(crate) against: Option<PathBuf>,
    pub(crate) json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Compare,
    Triggers,
    Match,
    Dead,
    Backlog,
    Webhooks,
    Filters,
    Explain,
    Access,
    Kafka,
    Neighbours,
    Brokers,
}

/// How the bare forwarder works.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) target: SocketAddr,
    /// hyper-util's pooled client, or a connection of its own for each worker.
    pub(crate) pooled: bool,
}

const ALL: [(&str, Scenario); 12] = [
    ("compare", Scenario::Compare),
    ("triggers", Scenario::Triggers),
    ("match", Scenario::Match),
    ("dead", Scenario::Dead),
    ("backlog", Scenario::Backlog),
    ("explain", Scenario::Explain),
    ("access", Scenario::Access),
    ("webhooks", Scenario::Webhooks),
    ("filters", Scenario::Filters),
    ("kafka", Scenario::Kafka),
    ("neighbours", Scenario::Neighbours),
    ("brokers", Scenario::Brokers),
];

/// Reads the command line.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Command> {
    let mut options = Options {
        scenarios: Vec::new(),
        rounds: 3,
        run: Duration::from_secs(8),
        backlog: 1_000_000,
        records: 1_000_000,
        brokers: 5_000,
        settle: Duration::from_secs(15),
        data: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench"),
        against: None,
        json: false,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--only" => options.scenarios.push(scenario(&value()?)?),
            "--quick" => {
                options.rounds = 1;
                options.run = Duration::from_secs(2);
                options.backlog = 100_000;
                options.records = 100_000;
                options.brokers = 500;
                options.settle = Duration::from_secs(10);
            }
            "--seconds" => options.run = Duration::from_secs(value()?.parse()?),
            "--against" => options.against = Some(binary(&value()?)?),
            "--data" => options.data = PathBuf::from(value()?),
            "--output" => options.json = is_json(&value()?)?,
            "--help" | "-h" => return Ok(Command::Help),
            "forward" => {
                let pooled = value()? == "pooled";
                return Ok(Command::Forward(Forward {
                    pooled,
                    target: value()?.parse()?,
                }));
            }
            option if option.starts_with('-') => bail!("no such option: {option}\n{USAGE}"),
            name => options.scenarios.push(scenario(name)?),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = ALL.iter().map(|(_, scenario)| *scenario).collect();
    }
    Ok(Command::Bench(options))
}

fn scenario(name: &str) -> anyhow::Result<Scenario> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, scenario)| *scenario)
        .with_context(|| format!("no such scenario: {name}"))
}

/// An absolute path: each process under test starts in a folder of its own.
fn binary(path: &str) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| format!("--against {path}"))
}

fn is_json(format: &str) -> anyhow::Result<bool> {
    match format {
        "json" => Ok(true),
        "table" => Ok(false),
        other => bail!("no such output: {other}"),
    }
}
