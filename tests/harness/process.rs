//! The binary, or a peer that is a server, as a process: found, started, read, ended.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait_until;

/// A running program. Dropping it kills it; a test that fails shows the end of what it said.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: PathBuf,
}

/// The binary under test: `MILLRACE_BIN`, or the one that cargo built beside the tests or the benchmark.
///
/// # Errors
/// When there is none.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("MILLRACE_BIN") {
        return Ok(PathBuf::from(given));
    }
    let this = std::env::current_exe()?;
    // This is target/debug/deps/<suite>, with the binary one folder up; or target/dist/xtask-bench, with the
    // binary beside it.
    let mut places = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("millrace"));
    places.find(|place| place.is_file()).with_context(|| {
        format!(
            "there is no millrace beside or above {}: run `cargo xtask test`, or `cargo build` first",
            this.display()
        )
    })
}

/// Runs the binary to its end, in `folder`, with `input` on its standard input.
///
/// # Errors
/// When it cannot be started.
pub async fn run<A: AsRef<OsStr>>(folder: &Path, args: &[A], input: &str) -> anyhow::Result<Output> {
    use std::io::Write as _;

    let mut command = Command::new(binary()?);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().context("starting millrace")?;
        let mut stdin = child.stdin.take().context("invariant: stdin is piped")?;
        // It may end without reading; then the pipe is closed, and that is its right.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        anyhow::Ok(child.wait_with_output()?)
    });
    ended.await?
}

// === impl Process ===

impl Process {
    /// Starts the binary. What it says on stderr is added to the file `stderr`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(args: &[A], folder: &Path, stderr: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(args).current_dir(folder);
        Self::spawn("millrace", command, stderr)
    }

    /// Starts any program. What it says on stderr is added to the file `stderr`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &'static str, mut command: Command, stderr: &Path) -> anyhow::Result<Self> {
        let said = fs::OpenOptions::new().create(true).append(true).open(stderr)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stdout.take().context("invariant: stdout is piped")?);
        let kept = stdout.clone();
        // Ends with the process, which closes the pipe.
        std::thread::spawn(move || {
            lines
                .lines()
                .map_while(Result::ok)
                .for_each(|line| kept.lock().push(line))
        });
        Ok(Self {
            name,
            child,
            stdout,
            stderr: stderr.to_path_buf(),
        })
    }

    /// What it has said on stdout so far, line by line.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().clone()
    }

    /// What it (and earlier processes with the same file) has written to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read(&self.stderr)
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .unwrap_or_default()
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it holds now, in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most memory that it has ever held, in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn most_resident(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let line = line.with_context(|| format!("no {what}"))?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes / 1024)
    }

    /// How many file descriptors it has open.
    ///
    /// # Errors
    /// When it is gone.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id()))?.count())
    }

    /// The files below a folder that it has open, some more than once.
    ///
    /// # Errors
    /// When it is gone.
    pub fn files_below(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let folder = folder.canonicalize()?;
        let open = fs::read_dir(format!("/proc/{}/fd", self.id()))?;
        // One that is closed meanwhile leads nowhere.
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(targets.filter(|target| target.starts_with(&folder)).collect())
    }

    /// How often each of its threads, by number, has gone to sleep so far, and so how often it was woken.
    ///
    /// # Errors
    /// When it is gone.
    pub fn sleeps(&self) -> anyhow::Result<BTreeMap<OsString, u64>> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id()))?;
        let sleeps = threads.filter_map(|entry| {
            let thread = entry.ok()?;
            // One that ends meanwhile has no status.
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((thread.file_name(), count.trim().parse().ok()?))
        });
        Ok(sleeps.collect())
    }

    /// How many threads it has.
    ///
    /// # Errors
    /// When it is gone.
    pub fn threads(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.id()))?.count())
    }

    /// Waits for the first line on stdout.
    ///
    /// # Errors
    /// When it ends without one, or says nothing before the deadline.
    pub async fn first_line(&mut self) -> anyhow::Result<String> {
        let (child, stdout) = (&mut self.child, self.stdout.clone());
        let came = wait_until("the first line on stdout", || {
            let ended = child.try_wait();
            // Looked at second: a line that came before the end is not missed.
            let line = stdout.lock().first().cloned();
            async move {
                Ok(match (line, ended?) {
                    (Some(line), _) => Some(Ok(line)),
                    (None, Some(status)) => Some(Err(status)),
                    (None, None) => None,
                })
            }
        });
        match came.await? {
            Ok(line) => Ok(line),
            Err(status) => bail!(
                "millrace ended with {status} before it was ready:\n{}",
                self.stderr()
            ),
        }
    }

    /// Waits until `ready` holds, but no longer than it lives.
    ///
    /// # Errors
    /// When it ends first, with the end of what it said; or when it is not ready before the deadline.
    pub async fn until_ready<F>(&mut self, mut ready: impl FnMut() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let child = &mut self.child;
        let what = format!("{} to be ready", self.name);
        let came = wait_until(&what, || {
            let ended = child.try_wait();
            let ready = ready();
            async move {
                match ended? {
                    Some(status) => Ok(Some(Err(status))),
                    None => Ok(ready.await?.then_some(Ok(()))),
                }
            }
        });
        match came.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!(
                "{} ended with {status} before it was ready:\n{}",
                self.name,
                self.last_words()
            ),
            Err(error) => Err(error.context(self.last_words())),
        }
    }

    /// The end of what it has said on stderr.
    fn last_words(&self) -> String {
        let said = self.stderr();
        let lines: Vec<&str> = said.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("invariant: a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it goes on beyond the deadline.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let child = &mut self.child;
        wait_until("the process to end", || {
            let status = child.try_wait();
            async move { Ok(status?) }
        })
        .await
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.ended().await.map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!(
                "--- the last lines of {} on stderr\n{}",
                self.name,
                self.last_words()
            );
        }
    }
}
