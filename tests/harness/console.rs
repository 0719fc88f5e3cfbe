//! The documentation's blocks marked `console`: found on their pages, typed into a shell, and compared with
//! what they show.
//!
//! A block is either a list of commands, which all succeed, or a transcript: lines that begin with `$ ` are
//! commands, and those behind one are what it says. Times, ids and the like may differ ([`redacted`]); `[..]`
//! in a line stands for anything, and a line `...` for any lines. A block that cannot be run has a comment
//! before it: `<!-- not run: why -->`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, binary};
use crate::{redacted, wait_until};

/// What stands before a block that is not run, around the reason.
const NOT_RUN: (&str, &str) = ("<!-- not run: ", " -->");

/// A page of the documentation.
#[derive(Debug)]
pub struct Page {
    /// Its path below the project's folder.
    pub name: String,
    text: String,
}

/// A block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Why it cannot be run here, if it cannot.
    pub not_run: Option<String>,
    /// Its commands in order.
    pub steps: Vec<Step>,
}

/// A command, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command line.
    pub command: String,
    /// The lines that it prints; none where the page does not show them.
    pub says: Vec<String>,
}

/// A shell in a folder of its own, with the binary under test in its PATH. A Millrace that is started in it
/// keeps running, and the commands behind it find it.
#[derive(Debug)]
pub struct Terminal {
    // Before the folder, so that the processes are gone when it is removed.
    running: Vec<Process>,
    folder: TempDir,
    path: String,
    addresses: Option<(String, String)>,
    /// The usual addresses with TLS, and those in use.
    secured: Vec<(&'static str, String)>,
}

/// The folder of the project.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

// === impl Page ===

impl Page {
    /// The page at a path below the project's folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(name: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(project().join(name)).with_context(|| name.to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// Every page there is, in order of name: the README, and all below `docs/`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let mut names = vec!["README.md".to_owned()];
        let mut folders = vec!["docs".to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(project().join(&folder))? {
                let entry = entry?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    folders.push(name);
                } else if name.ends_with(".md") {
                    names.push(name);
                }
            }
        }
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first block of YAML: the documents that the page begins with.
    ///
    /// # Errors
    /// When there is none.
    pub fn documents(&self) -> anyhow::Result<&str> {
        self.yaml().into_iter().next().context("no documents")
    }

    /// The blocks of YAML.
    pub fn yaml(&self) -> Vec<&str> {
        let blocks = self.text.split("```yaml\n").skip(1);
        blocks
            .filter_map(|rest| Some(rest.split_once("```")?.0))
            .collect()
    }

    /// The blocks marked `console`.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        let mut before = "";
        while let Some(line) = lines.next() {
            if line == "```console" {
                let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let reason = before
                    .strip_prefix(NOT_RUN.0)
                    .and_then(|rest| rest.strip_suffix(NOT_RUN.1));
                blocks.push(Block {
                    not_run: reason.map(str::to_owned),
                    steps: steps(&inside),
                });
            }
            before = line;
        }
        blocks
    }
}

fn steps(lines: &[&str]) -> Vec<Step> {
    let step = |command: &str| Step {
        command: command.to_owned(),
        says: Vec::new(),
    };
    if !lines.iter().any(|line| line.starts_with("$ ")) {
        let commands = lines.iter().filter(|line| !line.trim().is_empty());
        return commands.map(|line| step(line)).collect();
    }
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(step(command)),
            (None, Some(last)) => last.says.push((*line).to_owned()),
            (None, None) => {}
        }
    }
    steps
}

// === impl Terminal ===

impl Terminal {
    /// A new one, in an empty folder.
    ///
    /// # Errors
    /// When there is no binary, or no folder can be made.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("millrace-test-").tempdir()?;
        let tools = folder.path().join(".bin");
        fs::create_dir(&tools)?;
        std::os::unix::fs::symlink(fs::canonicalize(binary()?)?, tools.join("millrace"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Self {
            running: Vec::new(),
            path: format!("{}:{path}", tools.display()),
            folder,
            addresses: None,
            secured: Vec::new(),
        })
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.path().join(name), text)?)
    }

    /// Types the commands of a block, and compares what they say with what it shows.
    ///
    /// # Errors
    /// When one fails, or says something else.
    pub async fn types(&mut self, block: &Block) -> anyhow::Result<()> {
        for step in &block.steps {
            self.step(step).await.with_context(|| step.command.clone())?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match step.command.split_whitespace().nth(1) {
            Some("run" | "sources") => self.serves(&step.command).await,
            Some("tail") => self.follow(&step.command).await.map(drop),
            _ => {
                let said = self.run(&step.command).await?;
                let shows = &step.says;
                ensure!(
                    shows.is_empty() || is_shown(shows, &said),
                    "the page shows\n{}\nand it says\n{said}",
                    shows.join("\n")
                );
                Ok(())
            }
        }
    }

    /// Starts a Millrace, and waits until it takes events.
    ///
    /// # Errors
    /// When it ends before that.
    pub async fn serves(&mut self, command: &str) -> anyhow::Result<()> {
        let free = [":8443", ":9443"]
            .iter()
            .fold(command.to_owned(), |command, port| command.replace(port, ":0"));
        let mut process = self.start(&free)?;
        let ready: Value = serde_json::from_str(&process.first_line().await?)?;
        let address = |name: &str| anyhow::Ok(ready[name].as_str().context("no address")?.to_owned());
        self.addresses = Some((address("listen")?, address("admin")?));
        let secured = [("127.0.0.1:8443", "listenTls"), ("127.0.0.1:9443", "adminTls")];
        self.secured = secured
            .into_iter()
            .filter_map(|(usual, name)| Some((usual, address(name).ok()?)))
            .collect();
        self.running.push(process);
        Ok(())
    }

    /// Starts a tail, and waits until it follows; the number tells it from others.
    async fn follow(&mut self, command: &str) -> anyhow::Result<usize> {
        let mut process = self.start(command)?;
        let file = self.stderr();
        process
            .until_ready(|| async {
                let said = fs::read_to_string(&file).unwrap_or_default();
                Ok(said.contains("Following"))
            })
            .await?;
        self.running.push(process);
        Ok(self.running.len() - 1)
    }

    /// Types a tail that shows something, has it happen by `cause`, and ends the tail once it has shown it.
    ///
    /// # Errors
    /// When it does not show that.
    pub async fn follows(
        &mut self,
        block: &Block,
        cause: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let [step] = &block.steps[..] else {
            anyhow::bail!("one command is expected: {block:?}");
        };
        let number = self.follow(&step.command).await?;
        cause(self).await?;
        let tail = &self.running[number];
        wait_until("the tail to show what the page shows", || async {
            Ok(is_shown(&step.says, &tail.stdout().join("\n")).then_some(()))
        })
        .await
        .with_context(|| tail.stdout().join("\n"))?;
        tail.signal(Signal::INT)
    }

    /// Runs a command to its good end; gives what it says.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, command: &str) -> anyhow::Result<String> {
        let mut shell = self.shell(command);
        shell.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output()).await??;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.success(), "{}: {said}", output.status);
        Ok(said)
    }

    /// Runs a command again and again until it says that.
    ///
    /// # Errors
    /// When it fails, or does not say it before the deadline.
    pub async fn until(&self, command: &str, says: &str) -> anyhow::Result<()> {
        wait_until(&format!("{command} to say {says}"), || async {
            Ok(self.run(command).await?.contains(says).then_some(()))
        })
        .await
    }

    fn start(&self, command: &str) -> anyhow::Result<Process> {
        Process::spawn("millrace", self.shell(&format!("exec {command}")), &self.stderr())
    }

    fn stderr(&self) -> PathBuf {
        self.folder.path().join(format!(".stderr-{}", self.running.len()))
    }

    /// The command in a shell. Where it has a usual address of a listener, it gets the one in use. Variables
    /// say where Millrace is until there is a context that does.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("XDG_CONFIG_HOME", self.folder.path().join(".config"))
            .env("MILLRACE_LISTEN", "127.0.0.1:0")
            .env("MILLRACE_ADMIN_LISTEN", "127.0.0.1:0");
        let mut command = command.to_owned();
        if let Some((listen, admin)) = &self.addresses {
            command = command.replace("127.0.0.1:9090", admin);
            for (usual, used) in &self.secured {
                command = command.replace(usual, used);
            }
            if !self.folder.path().join(".config/millrace/contexts.json").exists() {
                shell
                    .env("MILLRACE_URL", format!("http://{listen}"))
                    .env("MILLRACE_ADMIN", format!("http://{admin}"));
            }
        }
        shell.arg("-c").arg(command);
        shell
    }
}

/// Whether a command said what the page shows.
fn is_shown(shows: &[String], said: &str) -> bool {
    let shows = redacted(&shows.join("\n"));
    let said = redacted(said);
    let (shows, said): (Vec<&str>, Vec<&str>) = (shows.lines().collect(), said.lines().collect());
    are_lines(&shows, &said)
}

fn are_lines(shows: &[&str], said: &[&str]) -> bool {
    match (shows, said) {
        ([], []) => true,
        (["...", rest @ ..], said) => (0..=said.len()).any(|skipped| are_lines(rest, &said[skipped..])),
        ([line, shows @ ..], [words, said @ ..]) => is_line(line, words) && are_lines(shows, said),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

fn is_line(shows: &str, said: &str) -> bool {
    let Some((before, behind)) = shows.split_once("[..]") else {
        return shows == said;
    };
    let Some(rest) = said.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, _)| &rest[at..])
        .chain([""])
        .any(|rest| is_line(behind, rest))
}
