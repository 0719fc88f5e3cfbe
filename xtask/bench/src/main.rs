//! `cargo xtask bench`: Millrace beside a bare forwarder on this machine, under the same load, in one run.
//!
//! Absolute figures say more about a machine than about a program; what is compared is what ran side by side,
//! in turns. Load generator and sink are part of this process and the same for all; they speak plain HTTP/1.1
//! over sockets, so that little of the two cores goes to them. The contenders are processes of their own, so
//! that their processor time and memory can be told apart.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks on its streams"
)]

mod access;
mod against;
mod backlog;
mod brokers;
mod caller;
mod compare;
mod contender;
mod documents;
mod explain;
mod filters;
mod forwarder;
mod issuer;
mod kafka;
mod kafka_broker;
mod load;
mod measure;
mod neighbours;
mod options;
mod process;
mod proxy;
mod queue;
mod report;
mod sink;
mod triggers;
mod webhooks;

use std::process::ExitCode;

use options::{Command, Options, Scenario};
use report::Report;

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            Ok(())
        }
        Ok(Command::Forward(forward)) => forwarder::run(&forward),
        Ok(Command::Bench(options)) => bench(&options),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::new(options);
    for scenario in &options.scenarios {
        match scenario {
            Scenario::Compare if options.against.is_some() => against::compare(options, &mut report)?,
            Scenario::Triggers if options.against.is_some() => against::triggers(options, &mut report)?,
            Scenario::Kafka if options.against.is_some() => kafka::against(options, &mut report)?,
            Scenario::Compare => compare::run(options, &mut report)?,
            Scenario::Triggers => triggers::matching_one(options, &mut report)?,
            Scenario::Match => triggers::matching_many(options, &mut report)?,
            Scenario::Dead => triggers::dead_among_ten(options, &mut report)?,
            Scenario::Backlog => backlog::run(options, &mut report)?,
            Scenario::Brokers => brokers::run(options, &mut report)?,
            Scenario::Access => access::run(options, &mut report)?,
            Scenario::Explain => explain::run(options, &mut report)?,
            Scenario::Webhooks => webhooks::run(options, &mut report)?,
            Scenario::Filters => filters::run(options, &mut report)?,
            Scenario::Kafka => kafka::run(options, &mut report)?,
            Scenario::Neighbours => {
                neighbours::run(options, &mut report)?;
                proxy::run(options, &mut report)?;
            }
        }
    }
    report.finish()
}
