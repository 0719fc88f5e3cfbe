//! Steps with a heading and a time each, and the count of tests over all of them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The run of several steps.
#[derive(Debug)]
pub(crate) struct Steps {
    began: Instant,
    /// None before the first step that runs tests.
    tests: Option<Count>,
    broken: bool,
    times: Vec<(String, Duration)>,
}

/// What `cargo test` reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            tests: None,
            broken: false,
            times: Vec::new(),
        }
    }

    /// One step written in Rust.
    pub(crate) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        heading(name);
        let began = Instant::now();
        let outcome = work();
        self.ended(name, began, outcome)
    }

    /// One step that is another program.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        heading(name);
        let began = Instant::now();
        let outcome = succeed(command);
        self.ended(name, began, outcome)
    }

    /// One step that runs tests: what they print passes through, and what they report is counted.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.counted(name, |count| counted(command, count))
    }

    /// One step that runs tests in a way of its own, and counts what they report.
    pub(crate) fn counted(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Count) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        heading(name);
        let began = Instant::now();
        let outcome = work(self.tests.get_or_insert_default());
        self.ended(name, began, outcome)
    }

    /// The times of the steps, and on the last line the count of all tests, if there was a step that runs
    /// tests.
    pub(crate) fn summary(&self) {
        println!();
        for (name, took) in &self.times {
            println!("{:>7.1} s  {name}", took.as_secs_f64());
        }
        let Some(Count {
            passed,
            failed,
            ignored,
        }) = self.tests
        else {
            return;
        };
        let word = if self.broken { "FAILED" } else { "ok" };
        let took = self.began.elapsed().as_secs_f64();
        println!(
            "test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; finished in {took:.0}s"
        );
    }

    fn ended(&mut self, name: &str, began: Instant, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
        let took = began.elapsed();
        self.times.push((name.to_owned(), took));
        if outcome.is_err() {
            self.broken = true;
            self.summary();
        }
        outcome.with_context(|| format!("the step `{name}` failed after {:.1} s", took.as_secs_f64()))
    }
}

fn heading(name: &str) {
    println!("\n=== {name}");
}

/// Runs a program; its failure is an error that shows the command.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

fn counted(command: &mut Command, count: &mut Count) -> anyhow::Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", shown(command)))?;
    let stdout = child.stdout.take().context("invariant: stdout is piped")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        count.add(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

// === impl Count ===

impl Count {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; ...`; any other line counts nothing.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, report)) = line
            .split_once("test result: ")
            .and_then(|(_, rest)| rest.split_once(". "))
        else {
            return;
        };
        for part in report.split("; ") {
            let Some((number, word)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_cargo_test_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 5,
                failed: 1,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_arguments() {
        let error = succeed(Command::new("false").arg("--now")).expect_err("false fails");
        assert!(error.to_string().contains("false --now"), "{error}");
    }
}
