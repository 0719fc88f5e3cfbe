//! Running programs of tests, several at a time.
//!
//! Most tests wait: for a server to start, for a retry to be due, for a connection to time out. So one
//! program at a time leaves processors idle. Those that take long begin first, so that none of them runs
//! alone at the end. What a program prints is shown when it has ended, in one piece.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Seek as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::programs::Program;
use crate::steps::Count;

/// Those that take longest, the longest first. One that is missing here only makes the end a little later.
const LONGEST: &[&str] = &[
    "trigger-dispatcher/schedules",
    "channel-jetstream/nats",
    "channel-kafka/conformance",
    "tests/kafka_channel",
    "tests/access_jwt_keys",
    "tests/kafka_sink",
    "tests/kubernetes_lifecycle",
    "tests/many_brokers",
    "tests/kafka_source",
    "tests/jetstream_replicas",
    "tests/slow_bodies",
    "tests/kubernetes_serves",
    "tests/jetstream_channel",
    "tests/peers",
    "tests/kubernetes_tls",
    "tests/kubernetes_kafka_sink",
    "tests/kubernetes_tokens",
    "tests/neighbours",
    "tests/kafka_skips_nothing",
    "tests/kubernetes_conformance",
    "tests/short_volume",
    "tests/kubernetes_offline",
    "tests/full_disk",
    "tests/kafka_recreated_topics",
    "tests/isolation",
];

/// How each program is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    /// How many programs run at a time. Each runs several tests at a time.
    pub(super) at_once: usize,
    pub(super) args: &'a [&'a str],
    /// Variables beside those of xtask.
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// The longest that a program may take; one that hangs is killed then, and has failed.
    pub(super) longest: Duration,
}

/// What has become of one program.
struct Ended {
    is_success: bool,
    said: String,
    took: Duration,
}

/// Runs all of them, also after one has failed, and adds up what they report.
pub(super) fn run(mut programs: Vec<Program>, order: &Order<'_>, count: &mut Count) -> anyhow::Result<()> {
    programs.sort_by_key(|program| rank(&program.name));
    let waiting = Mutex::new(VecDeque::from(programs));
    let ended = Mutex::new((count, Vec::new()));
    // A function, so that the lock is released before the program runs.
    let next = || locked(&waiting).pop_front();
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while let Some(program) = next() {
                let outcome = one(&program, order)?;
                let mut ended = locked(&ended);
                show(&program.name, &outcome);
                outcome.said.lines().for_each(|line| ended.0.add(line));
                if !outcome.is_success {
                    ended.1.push(program.name);
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..order.at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let worked = worker.join();
            worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let (_, failed) = &*locked(&ended);
    if !failed.is_empty() {
        bail!("tests have failed in: {}", failed.join(", "));
    }
    Ok(())
}

fn rank(name: &str) -> usize {
    let place = LONGEST.iter().position(|known| *known == name);
    place.unwrap_or(LONGEST.len())
}

fn one(program: &Program, order: &Order<'_>) -> anyhow::Result<Ended> {
    let began = Instant::now();
    // Files and no pipes: a server that a killed program leaves behind would keep those open.
    let (mut said, mut beside) = (tempfile::tempfile()?, tempfile::tempfile()?);
    // As cargo runs it.
    let mut running = Command::new(&program.file)
        .args(order.args)
        .envs(order.variables.iter().copied())
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .current_dir(&program.folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(beside.try_clone()?)
        .spawn()
        .with_context(|| format!("starting {}", program.file.display()))?;
    let status = loop {
        let status = running.try_wait()?;
        if status.is_some() || began.elapsed() > order.longest {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // A test program writes what it has to say to its stdout; what else comes is of what it runs.
    let mut told = [read(&mut said)?, read(&mut beside)?].concat();
    if status.is_none() {
        running.kill()?;
        running.wait()?;
        told += &format!("\nkilled: it has not ended within {:?}", order.longest);
    }
    Ok(Ended {
        is_success: status.is_some_and(|status| status.success()),
        said: told,
        took: began.elapsed(),
    })
}

fn read(file: &mut File) -> anyhow::Result<String> {
    let mut octets = Vec::new();
    file.rewind()?;
    std::io::copy(file, &mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn show(name: &str, ended: &Ended) {
    println!(
        "\n--- {name} ({:.1} s)\n{}",
        ended.took.as_secs_f64(),
        ended.said.trim()
    );
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::tree;

    /// A program whose outcome stands in its folder.
    fn program(folders: &std::path::Path, name: &str, said: &str, status: u8) -> Program {
        let folder = folders.join(name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("said"), said).expect("a file");
        fs::write(folder.join("status"), status.to_string()).expect("a file");
        Program {
            name: name.to_owned(),
            folder,
            file: PathBuf::from("/bin/sh"),
        }
    }

    #[test]
    fn all_are_run_and_counted_also_when_one_has_failed() {
        let folders = tempfile::tempdir().expect("a folder");
        let said = "running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";
        let programs: Vec<_> = (0..5)
            .map(|n| program(folders.path(), &format!("p{n}"), said, u8::from(n == 1)))
            .collect();
        let order = Order {
            at_once: 2,
            args: &["-c", "cat said; exit $(cat status)"],
            variables: &[],
            longest: Duration::from_secs(60),
        };
        let mut count = Count::default();
        let failed = run(programs, &order, &mut count).expect_err("one has failed");
        assert_eq!(failed.to_string(), "tests have failed in: p1");
        let mut all = Count::default();
        (0..5).for_each(|_| all.add(said));
        assert_eq!(count, all);
    }

    #[test]
    fn as_many_run_at_a_time_as_are_ordered() {
        let folders = tempfile::tempdir().expect("a folder");
        let programs = ["a", "b"].map(|name| program(folders.path(), name, "", 0));
        // Each ends well only when it has seen the other at work.
        let order = Order {
            at_once: 2,
            args: &[
                "-c",
                "touch here; for try in $(seq 600); do [ -e ../a/here ] && [ -e ../b/here ] && exit 0; sleep 0.1; done; exit 1",
            ],
            variables: &[],
            longest: Duration::from_secs(60),
        };
        run(programs.to_vec(), &order, &mut Count::default()).expect("each has seen the other");
    }

    #[test]
    fn one_that_hangs_is_killed_and_has_failed() {
        let folders = tempfile::tempdir().expect("a folder");
        let hangs = program(folders.path(), "a", "", 0);
        let order = Order {
            at_once: 1,
            args: &["-c", "exec sleep 1000"],
            variables: &[],
            longest: Duration::ZERO,
        };
        let ended = one(&hangs, &order).expect("it was started");
        assert!(!ended.is_success);
        assert_eq!(ended.said, "\nkilled: it has not ended within 0ns");
    }

    #[test]
    fn those_that_take_longest_are_there() {
        let root = tree::root().expect("root");
        for name in LONGEST {
            let (package, target) = name.split_once('/').expect("a package and a target");
            let suite = root.join(format!("{package}/suites/{target}.rs"));
            let of_crate = root.join(format!("{package}/tests"));
            let files = [
                suite,
                of_crate.join(format!("{target}.rs")),
                of_crate.join(target),
            ];
            assert!(files.iter().any(|file| file.exists()), "{name}");
        }
    }
}
