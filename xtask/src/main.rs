//! The project's own chores, as `cargo xtask <command>`: one place for what people and CI run, so that both
//! run the same.
//!
//! It has few dependencies on purpose: `cargo xtask test` must be at work within seconds of a fresh clone.
//! The benchmark, which needs a web server, is a package of its own beside this one and is built when it is
//! asked for.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks on its streams"
)]

mod bench;
mod fuzz;
mod image;
mod peers;
mod steps;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
cargo xtask <command>

  test [--long]     everything that CI runs, in order, until the first failure
  check             its part that runs no tests, for the moment before a commit
  peers [--long]    the real clients and servers that the suites use, in the user's cache folder
  tidy              the rules of the house that no compiler checks
  bench [options]   Millrace beside a bare forwarder on this machine; `bench --help` says more
  fuzz [seconds]    every fuzz target for so many seconds (60), where nightly and cargo-fuzz are there
  image [options]   the container image as an archive, without Docker; `image --help` says more

MILLRACE_REQUIRE_PEERS=1 makes a missing peer a failure; without it a suite says what it skips and why.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args),
    };
    match (command, rest) {
        ("test", []) => test::run(false),
        ("test", [long]) if long == "--long" => test::run(true),
        ("check", []) => test::check(),
        ("peers", []) => peers::run(false),
        ("peers", [long]) if long == "--long" => peers::run(true),
        ("tidy", []) => tidy::run(),
        ("bench", options) => bench::run(options),
        ("fuzz", []) => fuzz::run(60),
        ("fuzz", [seconds]) => fuzz::run(seconds.parse()?),
        ("image", options) => image::run(options),
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            bail!("no such command: {}", args.join(" "))
        }
    }
}
